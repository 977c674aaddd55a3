/** Short sentences at the edge of the window: what went wrong, what was done. */

import { signal } from '@preact/signals'
import { Problem, ServerAway, sentenceOf } from '../api/problems'
import { needsLogin } from './login'

export interface Notice {
  id: number
  tone: 'error' | 'done'
  sentence: string
  /** To be found in the server's log. */
  requestId: string | null
}

/** The server does not answer: a banner says so. */
export const isServerAway = signal(false)
export const notices = signal<readonly Notice[]>([])

const SHOWN_MS = { error: 12_000, done: 4_000 }
let nextId = 1

export function notify(tone: Notice['tone'], sentence: string, requestId: string | null = null): void {
  const isShown = notices.value.some((notice) => notice.sentence === sentence)
  if (isShown) return
  const id = nextId
  nextId += 1
  notices.value = [...notices.value, { id, tone, sentence, requestId }]
  setTimeout(() => dismiss(id), SHOWN_MS[tone])
}

export function dismiss(id: number): void {
  notices.value = notices.value.filter((notice) => notice.id !== id)
}

/** Show what was thrown. A missing login has a page of its own; an absent server has its banner. */
export function report(error: unknown): void {
  if (error instanceof Problem && error.status === 401) {
    needsLogin.value = true
    return
  }
  if (error instanceof ServerAway && isServerAway.value) return
  if (error instanceof DOMException && error.name === 'AbortError') return
  notify('error', sentenceOf(error), error instanceof Problem ? error.requestId : null)
}
