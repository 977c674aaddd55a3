/** The pixels that the app asks about: the one shown, those skipped, and the next ones fetched ahead. */

import { signal } from '@preact/signals'
import { questions as questionApi } from '../api/client'
import type { Id, Pixel, Question } from '../api/types'
import { notify, report } from './notices'

export const question = signal<Question | null>(null)
/** How many questions were shown since the first one, this one included. */
export const questionNumber = signal(0)
export const isAsking = signal(false)

const AHEAD = 8
const LOW = 3

let queue: Question[] = []
let shown: Question[] = []
const settledIds = new Set<Id>()
let fetching: Promise<string | null> | null = null
/** How often the questions were left: who waits for one may have left them in the meantime. */
let leavings = 0

/** Questions that are neither answered, skipped nor shown already. */
export function stillOpen(list: readonly Question[], settled: ReadonlySet<Id>): Question[] {
  return list.filter((one) => !settled.has(one.question_id))
}

/** Show the next question; says so when there is none. `imageId`: questions of this image come first. */
export async function nextQuestion(projectId: Id, imageId: Id | null): Promise<Question | null> {
  const leavingsBefore = leavings
  isAsking.value = true
  try {
    queue = stillOpen(queue, settledIds).filter((one) => one.question_id !== question.value?.question_id)
    let note: string | null = null
    if (queue.length === 0) note = await fetchAhead(projectId, imageId)
    if (leavings !== leavingsBefore) return null
    const next = queue.shift() ?? null
    if (next === null) {
      question.value = null
      notify('done', note ?? 'Nothing to ask just now. New questions come with the next map of the model.')
      return null
    }
    settledIds.add(next.question_id)
    shown = [...shown.slice(-50), next]
    question.value = next
    questionNumber.value += 1
    if (queue.length < LOW) void fetchAhead(projectId, next.image_id)
    return next
  } catch (error) {
    report(error)
    return null
  } finally {
    isAsking.value = false
  }
}

/** Back to the question before this one, answered or not. */
export function previousQuestion(): Question | null {
  const at = shown.findIndex((one) => one.question_id === question.value?.question_id)
  const earlier = at > 0 ? shown[at - 1] : undefined
  if (earlier === undefined) return null
  if (question.value !== null) queue.unshift(question.value)
  shown = shown.slice(0, at)
  if (queue[0] !== undefined) settledIds.delete(queue[0].question_id)
  questionNumber.value = Math.max(1, questionNumber.value - 1)
  question.value = earlier
  return earlier
}

export function leaveQuestions(): void {
  leavings += 1
  question.value = null
  questionNumber.value = 0
}

/** Another image was opened: only a question about that one goes on, because it was the question that opened it. */
export function leaveUnlessAbout(imageId: Id): void {
  if (question.value?.image_id !== imageId) leaveQuestions()
}

/** Something was drawn: on another pixel than the asked one it ends the questions, so that digits choose classes again. */
export function leaveUnlessAsked(imageId: Id | null, pixel: Pixel | null): void {
  const asked = question.value
  const isAsked =
    asked !== null && asked.image_id === imageId && asked.pixel.x === pixel?.x && asked.pixel.y === pixel.y
  if (!isAsked) leaveQuestions()
}

/** A new map makes the guesses fetched ahead old; the one on screen stays. */
export function forgetAhead(): void {
  queue = []
}

export function forgetAllQuestions(): void {
  queue = []
  shown = []
  settledIds.clear()
  leaveQuestions()
}

function fetchAhead(projectId: Id, imageId: Id | null): Promise<string | null> {
  if (fetching !== null) return fetching
  const coming = questionApi
    .next(projectId, imageId, AHEAD)
    .then((page) => {
      const waiting = new Set(queue.map((one) => one.question_id))
      for (const one of stillOpen(page.questions, settledIds)) if (!waiting.has(one.question_id)) queue.push(one)
      return page.note ?? null
    })
    .finally(() => {
      fetching = null
    })
  fetching = coming
  return coming
}
