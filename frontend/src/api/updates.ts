/** The server's feed of hints. It resumes where it stopped; what was missed while away is asked for again. */

import { address } from './client'
import type { Hint, Id, Update } from './types'

export interface UpdateListener {
  hint(hint: Hint): void
  /** The feed is open again after it was away: hints may have been missed. */
  resumed(): void
  away(): void
}

const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 10_000

/** Listen to one project's updates until the returned function is called. */
export function listenToUpdates(projectId: Id, listener: UpdateListener): () => void {
  let newest: number | null = null
  let source: EventSource | null = null
  let timer: ReturnType<typeof setTimeout> | undefined
  let failures = 0
  let stopped = false

  const open = () => {
    source = new EventSource(address('/updates', { project_id: projectId, after: newest }))
    source.onopen = () => {
      const wasAway = failures > 0
      failures = 0
      if (wasAway) listener.resumed()
    }
    source.onmessage = (message) => {
      const update = JSON.parse(message.data as string) as Update
      newest = Math.max(newest ?? 0, update.update_id)
      listener.hint(update.hint)
    }
    source.onerror = () => {
      // The browser's own reconnection gives up for good on an HTTP error, so the waiting is done here.
      source?.close()
      if (stopped) return
      failures += 1
      listener.away()
      timer = setTimeout(open, Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (failures - 1)))
    }
  }

  open()
  return () => {
    stopped = true
    clearTimeout(timer)
    source?.close()
  }
}
