/** The pixels that the app asks about: the one shown, those before it, and the next ones fetched ahead. */

import { computed, effect, signal } from '@preact/signals'
import { questions as questionApi } from '../api/client'
import type { ClassOrVoid, Id, Pixel, Question } from '../api/types'
import { image } from './annotation'
import { overlayOf } from './maps'
import { report } from './notices'
import { classesByUid } from './project'

export interface Guess {
  classUid: ClassOrVoid
  /** 0..1; null when nobody says. */
  confidence: number | null
}

export const question = signal<Question | null>(null)
/** What the model says about the asked pixel, held while it is asked: Enter means what was read. */
export const guess = signal<Guess | null>(null)
/** How many questions were shown since the first one, this one included. */
export const questionNumber = signal(0)
export const isAsking = signal(false)
/** Why there is no question; null while there is one. */
export const whyNone = signal<string | null>(null)
/** The next questions, known already. */
export const upcoming = signal<readonly Question[]>([])

/** A pixel drawn at random is on the stage: it measures the model, so what the model says there is not shown. */
export const isBlind = computed(
  () => question.value?.asked === 'random' && question.value.image_id === image.value?.image_id,
)

/** So many are asked for at once. */
const AHEAD = 6
/** With no more than so many left, the next ones are fetched; so many also stay when the model has learned. */
const LOW = 3
/** The way to the overlay that answers the last label comes first. */
const TOP_UP_MS = 500

let shown: Question[] = []
const settledIds = new Set<Id>()
let fetching: Promise<string | null> | null = null
let topUpTimer: ReturnType<typeof setTimeout> | undefined
/** How often the questions were left: who waits for one may have left them in the meantime. */
let leavings = 0

/** Questions that are neither answered, skipped nor shown already. */
export function stillOpen(list: readonly Question[], settled: ReadonlySet<Id>): Question[] {
  return list.filter((one) => !settled.has(one.question_id))
}

/**
 * What the model says about a question's pixel: the overlay if it is here, for it is newer; else what came with the
 * question. Nothing for a pixel drawn at random: people accept suggestions, and its answer has to measure the model.
 */
export function guessFor(asked: Question): Guess | null {
  if (asked.asked === 'random') return null
  const seen = overlayGuess(asked)
  const { classUid, confidence } = seen ?? { classUid: asked.guess, confidence: asked.confidence }
  const isOffered = classUid !== null && classesByUid.peek().get(classUid)?.retired === false
  return isOffered ? { classUid, confidence } : null
}

// A guess that was shown stays, but one may come where there was none.
effect(() => {
  const asked = question.value
  if (asked !== null && overlayOf(asked.image_id) !== null && guess.peek() === null) guess.value = guessFor(asked)
})

function overlayGuess({ image_id, pixel }: Question): Guess | null {
  const drawn = overlayOf(image_id)
  if (drawn === null || pixel.x >= drawn.map.width || pixel.y >= drawn.map.height) return null
  const at = pixel.y * drawn.map.width + pixel.x
  const classUid = drawn.map.class_uids[drawn.prediction[at] ?? -1]
  return classUid === undefined ? null : { classUid, confidence: (drawn.confidence[at] ?? 0) / 255 }
}

function show(next: Question): void {
  settledIds.add(next.question_id)
  question.value = next
  guess.value = guessFor(next)
  whyNone.value = null
}

/** Show the next question; `whyNone` says why there is none. `imageId`: questions of this image come first. */
export async function nextQuestion(projectId: Id, imageId: Id | null): Promise<Question | null> {
  const leavingsBefore = leavings
  isAsking.value = true
  try {
    upcoming.value = stillOpen(upcoming.value, settledIds)
    let note: string | null = null
    if (upcoming.value.length === 0) note = await fetchAhead(projectId, imageId)
    if (leavings !== leavingsBefore) return null
    const [next, ...rest] = upcoming.value
    if (next === undefined) {
      question.value = null
      guess.value = null
      whyNone.value = note ?? 'Nothing to ask just now. New questions come with the next map of the model.'
      return null
    }
    upcoming.value = rest
    shown = [...shown.slice(-60), next]
    show(next)
    questionNumber.value += 1
    // Where a random question leads is no reason to ask more about that image.
    if (rest.length <= LOW) topUpSoon(projectId, imageId === null || next.asked === 'random' ? null : next.image_id)
    return next
  } catch (error) {
    whyNone.value = 'The server does not answer; the questions go on when it does.'
    report(error)
    return null
  } finally {
    isAsking.value = false
  }
}

/** Back to the question before this one, answered or not; null when this is the first. */
export function previousQuestion(): Question | null {
  const at =
    question.value === null ? shown.length : shown.findIndex((one) => one.question_id === question.value?.question_id)
  const earlier = at > 0 ? shown[at - 1] : undefined
  if (earlier === undefined) return null
  returnTo(earlier)
  return earlier
}

/** Ask an earlier question again; the present one comes after it. */
export function returnTo(earlier: Question): void {
  const left = question.value
  if (left !== null) {
    settledIds.delete(left.question_id)
    upcoming.value = [left, ...upcoming.value]
  }
  const at = shown.findIndex((one) => one.question_id === earlier.question_id)
  shown = [...(at < 0 ? [] : shown.slice(0, at)), earlier]
  questionNumber.value = Math.max(1, questionNumber.value - 1)
  show(earlier)
}

export function leaveQuestions(): void {
  leavings += 1
  clearTimeout(topUpTimer)
  topUpTimer = undefined
  question.value = null
  guess.value = null
  whyNone.value = null
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

/** The model has learned: the questions after the next few are asked anew, and will be better ones. */
export function forgetFarAhead(): void {
  upcoming.value = upcoming.value.slice(0, LOW)
}

/** Pictures came or were replaced: what is known ahead may be about pixels that are gone. */
export function forgetAhead(): void {
  upcoming.value = []
}

export function forgetAllQuestions(): void {
  upcoming.value = []
  shown = []
  settledIds.clear()
  leaveQuestions()
}

function topUpSoon(projectId: Id, imageId: Id | null): void {
  // A hand that is quicker than this must not put it off for ever.
  topUpTimer ??= setTimeout(() => {
    topUpTimer = undefined
    // Nobody waits for these; when they are needed and missing, the asking itself reports.
    fetchAhead(projectId, imageId).catch(() => undefined)
  }, TOP_UP_MS)
}

function fetchAhead(projectId: Id, imageId: Id | null): Promise<string | null> {
  if (fetching !== null) return fetching
  const here = [...shown.slice(-60), ...upcoming.value].map((one) => one.question_id)
  const coming = questionApi
    .next(projectId, imageId, AHEAD, here)
    .then((page) => {
      const waiting = new Set(upcoming.value.map((one) => one.question_id))
      const fresh = stillOpen(page.questions, settledIds).filter((one) => !waiting.has(one.question_id))
      upcoming.value = [...upcoming.value, ...fresh]
      return page.note ?? null
    })
    .finally(() => {
      fetching = null
    })
  fetching = coming
  return coming
}
