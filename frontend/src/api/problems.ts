/** What a request can end in besides an answer. Every message is a sentence that can be shown as it is. */

/** The server answered, and the answer is no. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    /** Stable and made for machines, e.g. `nothing_to_train`; "" when the answer was not problem+json. */
    readonly code: string,
    sentence: string,
    /** Names the request in the server's log; null when the server gave none. */
    readonly requestId: string | null = null,
  ) {
    super(sentence)
    this.name = 'Problem'
  }
}

/** No answer came: the server is away, or the network is. */
export class ServerAway extends Error {
  constructor() {
    super('The server does not answer. Your labels stay in this browser and are sent as soon as it is back.')
    this.name = 'ServerAway'
  }
}

/** The thing asked for is not there (any more). */
export function isGone(error: unknown): boolean {
  return error instanceof Problem && error.status === 404
}

/** Read a refusal. Anything that is not problem+json becomes a sentence with the status in it. */
export async function problemOf(response: Response): Promise<Problem> {
  const requestId = response.headers.get('x-request-id')
  const type = response.headers.get('content-type') ?? ''
  if (type.includes('json')) {
    const body: unknown = await response.json().catch(() => null)
    if (typeof body === 'object' && body !== null) {
      const fields = body as Record<string, unknown>
      const detail = typeof fields.detail === 'string' ? fields.detail : null
      const title = typeof fields.title === 'string' ? fields.title : null
      const code = typeof fields.code === 'string' ? fields.code : ''
      return new Problem(response.status, code, detail ?? title ?? unexplained(response.status), requestId)
    }
  }
  return new Problem(response.status, '', unexplained(response.status), requestId)
}

function unexplained(status: number): string {
  return `The server answered ${status} without a reason. Nothing was changed here; try again.`
}

/** A sentence for whatever was thrown. */
export function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
