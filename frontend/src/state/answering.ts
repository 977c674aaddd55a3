/** Answer mode: one pixel after another, from the keyboard. The questions themselves are those of `questions`. */

import { batch, computed, effect, signal, untracked } from '@preact/signals'
import { questions as questionApi } from '../api/client'
import { isGone, ServerAway } from '../api/problems'
import type { ClassOrVoid, Id, Question } from '../api/types'
import type { OpenedImage } from '../labels/events'
import { lettersOf } from '../labels/letters'
import { answer, image, imageProblem, isReady, takeBackEvent } from './annotation'
import { go } from './location'
import { report } from './notices'
import { classes, nameOfClass, whenHinted } from './project'
import { guess, isAsking, leaveQuestions, nextQuestion, question, returnTo, whyNone } from './questions'

export const isAnswering = signal(false)
/** So many pixels make a batch: a stretch with an end in sight. */
export const BATCH = 10

/** What was said about a shown question: an answer, or that nobody can tell. */
interface Said {
  question: Question
  about: OpenedImage
  /** The click that answers; null for a skip. */
  eventId: Id | null
  /** Milliseconds since 1970. */
  at: number
}

const said = signal<readonly Said[]>([])
/** Place of the question on screen in its batch, from 1. */
export const placeInBatch = computed(() => (said.value.length % BATCH) + 1)
export const leftInBatch = computed(() => BATCH - (said.value.length % BATCH))
export const answerCount = computed(() => said.value.filter((one) => one.eventId !== null).length)
export const canTakeBack = computed(() => said.value.length > 0)
/** Answers per minute; null when there are too few to say. */
export const pace = computed(() => answersPerMinute(said.value.map((one) => one.at)))
/** What the last key could not do; null when all went well. */
export const answerNote = signal<string | null>(null)
/** The asked pixel is on the stage, and keys answer it. */
export const isAnswerable = computed(() => isReady.value && question.value?.image_id === image.value?.image_id)

/** class_uid -> its letter in Answer mode. */
export const letters = computed(() => lettersOf(classes.value))

/** CSS pixels per image pixel around the asked pixel: the cross-hair then spans three image pixels. */
export const USUAL_SCALE = 10
export const contextScale = signal(USUAL_SCALE)

/** Show more (-) or less (+) around the pixel. */
export function changeContext(steps: number): void {
  contextScale.value = Math.min(64, Math.max(1, contextScale.value * 1.25 ** steps))
}

const PACE_OVER = 20
const FEWEST = 3
const PAUSE_MS = 60_000

/**
 * Answers per minute over the last twenty; a pause of a minute or more is not counted.
 *
 * @param times of the answers in milliseconds, rising
 */
export function answersPerMinute(times: readonly number[]): number | null {
  const recent = times.slice(-PACE_OVER)
  const gaps = recent.slice(1).map((time, index) => time - (recent[index] ?? time))
  const counted = gaps.filter((gap) => gap < PAUSE_MS)
  const millis = counted.reduce((sum, gap) => sum + gap, 0)
  return counted.length < FEWEST - 1 || millis === 0 ? null : (60_000 * counted.length) / millis
}

let projectId: Id | null = null

export async function enterAnswering(ofProject: Id): Promise<void> {
  if (isAnswering.peek()) return
  const begun = question.peek()
  projectId = ofProject
  batch(() => {
    isAnswering.value = true
    said.value = []
    answerNote.value = null
  })
  // A question that is on screen already is the first one.
  if (begun === null) await showNext()
}

export function leaveAnswering(): void {
  batch(() => {
    isAnswering.value = false
    answerNote.value = null
    leaveQuestions()
  })
}

async function showNext(): Promise<void> {
  if (projectId === null) return
  follow(await nextQuestion(projectId, null))
}

function follow(next: Question | null): void {
  // The way back leads out of Answer mode, not through its pixels.
  if (next !== null && projectId !== null) go({ page: 'annotate', projectId, imageId: next.image_id }, 'replace')
}

/** The asked question, if its pixel can be seen. */
function askedNow(): Question | null {
  if (question.peek() === null) return null
  if (isAnswerable.peek()) return question.peek()
  answerNote.value = 'The image is still on its way.'
  return null
}

function settle(asked: Question, eventId: Id | null): void {
  const open = image.peek()
  if (open === null) return
  const about = { image_id: open.image_id, sha256: open.sha256 }
  batch(() => {
    answerNote.value = null
    said.value = [...said.value, { question: asked, about, eventId, at: Date.now() }]
    void showNext()
  })
}

export function answerWith(classUid: ClassOrVoid): void {
  const asked = askedNow()
  if (asked !== null) settle(asked, answer(asked, classUid))
}

export function acceptGuess(): void {
  const asked = askedNow()
  if (asked === null) return
  const guessed = guess.peek()
  const isRetired = guessed !== null && !classes.peek().some((one) => one.class_uid === guessed.classUid)
  if (isRetired) answerNote.value = 'That class was retired: choose another one.'
  else if (guessed !== null) answerWith(guessed.classUid)
  else answerNote.value = asked.asked === 'random' ? RANDOM_NOTE : 'There is no guess yet: choose a class.'
}

export const RANDOM_NOTE = 'Choose a class: this pixel is drawn at random and measures the model.'

/** Cannot tell: the pixel is not asked about again. */
export function skip(): void {
  // An image that cannot be shown must not stop everything; its pixel may be asked about another time.
  if (imageProblem.peek() !== null) return void showNext()
  const asked = askedNow()
  if (asked === null) return
  const ofProject = projectId ?? ''
  settle(asked, null)
  tellServer(() => questionApi.skip(ofProject, asked))
}

/** Take the last answer or skip back, and ask it again. */
export function takeBack(): void {
  const last = said.peek().at(-1)
  if (last === undefined) {
    answerNote.value = 'Nothing to take back.'
    return
  }
  const ofProject = projectId ?? ''
  if (last.eventId !== null) takeBackEvent(last.eventId, last.about)
  else tellServer(() => questionApi.unskip(ofProject, last.question))
  batch(() => {
    answerNote.value = null
    said.value = said.value.slice(0, -1)
    returnTo(last.question)
    follow(last.question)
  })
}

/** Skips wait here until the server has them, in their order. */
const untold: (() => Promise<void>)[] = []
const TELL_AGAIN_MS = 3000
let isTelling = false

function tellServer(word: () => Promise<void>): void {
  untold.push(word)
  void tellUntold()
}

async function tellUntold(): Promise<void> {
  if (isTelling) return
  isTelling = true
  try {
    for (let next = untold[0]; next !== undefined; next = untold[0]) {
      try {
        await next()
      } catch (error) {
        if (error instanceof ServerAway) {
          setTimeout(() => void tellUntold(), TELL_AGAIN_MS)
          return
        }
        // The image or project is gone, and the question with it.
        if (!isGone(error)) report(error)
      }
      untold.shift()
    }
  } finally {
    isTelling = false
  }
}

const ASK_AGAIN_MS = 1000

/** Go on by itself when there is something to ask again, until the returned function is called. */
export function keepAnswering(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined
  const askAgainSoon = () => {
    if (!isAnswering.peek() || question.peek() !== null || isAsking.peek()) return
    clearTimeout(timer)
    timer = setTimeout(() => {
      if (isAnswering.peek() && question.peek() === null && !isAsking.peek()) void showNext()
    }, ASK_AGAIN_MS)
  }
  const stopHints = whenHinted((hint) => {
    if (hint.kind === 'map' || hint.kind === 'images' || hint.kind === 'version') askAgainSoon()
  }, askAgainSoon)
  let pixels: OpenedImage | null = null
  const stopLooking = effect(() => {
    const open = image.value
    const isReplaced = pixels !== null && pixels.image_id === open?.image_id && pixels.sha256 !== open.sha256
    pixels = open
    // The question was about the picture before.
    if (isReplaced) untracked(() => void (isAnswering.peek() ? showNext() : leaveQuestions()))
  })
  return () => {
    clearTimeout(timer)
    stopHints()
    stopLooking()
    leaveAnswering()
  }
}

/** What a screen reader says: where we are and what the model guesses. */
export const spoken = computed(() => {
  if (!isAnswering.value) return ''
  const asked = question.value
  if (asked === null) return isAsking.value ? '' : (whyNone.value ?? '')
  const place = `pixel ${placeInBatch.value} of ${BATCH}`
  if (asked.asked === 'random') return `${place}, no guess: drawn at random`
  return guess.value === null ? `${place}, no guess yet` : `${place}, guess: ${nameOfClass(guess.value.classUid)}`
})
