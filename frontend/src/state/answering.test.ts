import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ImageInfo, LabelClass, LabelEvent, Project, Question } from '../api/types'
import { image } from './annotation'
import {
  acceptGuess,
  answerCount,
  answerNote,
  answersPerMinute,
  answerWith,
  enterAnswering,
  isAnswering,
  leaveAnswering,
  placeInBatch,
  RANDOM_NOTE,
  skip,
  spoken,
  takeBack,
} from './answering'
import { project } from './project'
import { forgetAllQuestions, guess, question } from './questions'

const said: LabelEvent[] = []
vi.mock('./sync', async (original) => {
  const sync = await original<typeof import('./sync')>()
  return {
    ...sync,
    keep: vi.fn(async () => undefined),
    makeEvent: vi.fn((statement, about) => {
      const event = sync.makeEvent(statement, about)
      said.push(event)
      return event
    }),
  }
})
// The picture and its labels are there; how they come is told elsewhere.
vi.mock('./annotation', async (original) => ({
  ...(await original<typeof import('./annotation')>()),
  isReady: { value: true, peek: () => true },
}))

const labelClass = (name: string, position: number, retired = false) =>
  ({ class_uid: name, name, colour: '#0072b2', key: null, position, retired }) as LabelClass
const asked = (id: string, more: Partial<Question> = {}): Question => ({
  question_id: id,
  image_id: 'meadow',
  image_name: 'meadow.png',
  pixel: { x: 3, y: 4 },
  guess: 'road',
  second_guess: null,
  confidence: 0.5,
  model_version: 1,
  asked: 'guided',
  why: 'because',
  ...more,
})

let requests: string[]
let coming: Question[]
beforeEach(() => {
  requests = []
  said.length = 0
  coming = [asked('a'), asked('b'), asked('c'), asked('d'), asked('e')]
  project.value = { project_id: 'p', classes: [labelClass('road', 0), labelClass('car', 1)] } as unknown as Project
  image.value = { image_id: 'meadow', sha256: 's', width: 9, height: 9 } as ImageInfo
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    requests.push(`${init.method} ${url.split('?')[0]?.replace('/api/v1/projects/p/', '')}`)
    if (init.method !== 'GET') return new Response(null, { status: 204 })
    return Response.json({ questions: coming, note: coming.length === 0 ? 'Nothing is left to ask.' : null })
  })
})
afterEach(() => {
  leaveAnswering()
  forgetAllQuestions()
  project.value = null
  image.value = null
  vi.unstubAllGlobals()
})

test('Enter agrees with the guess, and the click repeats which question it answers and how that was chosen', async () => {
  await enterAnswering('p')
  expect(spoken.value).toBe('pixel 1 of 10, guess: road')

  acceptGuess()

  expect(said).toMatchObject([
    { kind: 'click', class_uid: 'road', pixel: { x: 3, y: 4 }, question_id: 'a', asked: 'guided' },
  ])
  expect(question.value?.question_id).toBe('b')
  expect(spoken.value).toBe('pixel 2 of 10, guess: road')
})

test('a pixel drawn at random shows no guess, and Enter does not answer it', async () => {
  coming = [asked('a', { asked: 'random' }), asked('b')]
  await enterAnswering('p')
  expect(guess.value).toBeNull()
  expect(spoken.value).toBe('pixel 1 of 10, no guess: drawn at random')

  acceptGuess()
  expect(answerNote.value).toBe(RANDOM_NOTE)
  expect(question.value?.question_id).toBe('a')

  answerWith('car')
  expect(said).toMatchObject([{ class_uid: 'car', question_id: 'a', asked: 'random' }])
  expect(answerNote.value).toBeNull()
})

test('before the first model there is no guess to accept', async () => {
  coming = [asked('a', { guess: null, confidence: null })]
  await enterAnswering('p')

  acceptGuess()

  expect(answerNote.value).toBe('There is no guess yet: choose a class.')
  expect(said).toEqual([])
})

test('the guess of a retired class is none', async () => {
  coming = [asked('a', { guess: 'gone' })]
  const open = project.value as Project
  project.value = { ...open, classes: [...open.classes, labelClass('gone', 2, true)] }
  await enterAnswering('p')

  acceptGuess()

  expect(said).toEqual([])
})

test('a skip is told to the server and is no answer', async () => {
  await enterAnswering('p')

  skip()

  expect(question.value?.question_id).toBe('b')
  expect(requests).toContain('POST questions/a/skip')
  expect([said.length, answerCount.value, placeInBatch.value]).toEqual([0, 0, 2])
})

test('the last answer is taken back by an undo event and asked again, and then the one before it', async () => {
  await enterAnswering('p')
  answerWith('car')
  answerWith('road')
  const [first, second] = said.map((event) => event.event_id)

  takeBack()
  expect(said.at(-1)).toMatchObject({ kind: 'undo', targets: [second], image_id: 'meadow' })
  expect(question.value?.question_id).toBe('b')
  takeBack()
  expect(said.at(-1)).toMatchObject({ kind: 'undo', targets: [first] })
  expect(question.value?.question_id).toBe('a')
  expect(placeInBatch.value).toBe(1)

  answerWith('road')
  expect(question.value?.question_id).toBe('b')
  expect(answerCount.value).toBe(1)
})

test('a skip is taken back where it was told', async () => {
  await enterAnswering('p')
  skip()

  takeBack()
  await vi.waitFor(() => expect(requests).toContain('DELETE questions/a/skip'))

  expect(said).toEqual([])
  expect(question.value?.question_id).toBe('a')
})

test('with nothing said yet there is nothing to take back', async () => {
  await enterAnswering('p')

  takeBack()

  expect(answerNote.value).toBe('Nothing to take back.')
  expect(question.value?.question_id).toBe('a')
})

test('nothing is answered while the image is on its way', async () => {
  coming = [asked('a', { image_id: 'lake' })]
  await enterAnswering('p')

  acceptGuess()

  expect(answerNote.value).toBe('The image is still on its way.')
  expect(said).toEqual([])
})

test('with no question left it stays, and says why', async () => {
  coming = []
  await enterAnswering('p')

  expect(isAnswering.value).toBe(true)
  expect(spoken.value).toBe('Nothing is left to ask.')
})

test('a batch has ten pixels, then the next one begins', async () => {
  coming = Array.from({ length: 12 }, (_, i) => asked(`q${i}`))
  await enterAnswering('p')

  for (let i = 0; i < 10; i += 1) answerWith('car')

  expect(placeInBatch.value).toBe(1)
  expect(spoken.value).toBe('pixel 1 of 10, guess: road')
})

describe('the pace', () => {
  test.each<[string, number[], number | null]>([
    ['nothing yet', [], null],
    ['two answers say too little', [0, 2000], null],
    ['an answer each two seconds', [0, 2000, 4000, 6000], 30],
    ['a pause is not counted', [0, 2000, 4000, 600_000, 602_000], 30],
    ['only the last twenty count', [...Array.from({ length: 20 }, (_, i) => i * 20_000), 381_000, 382_000], 3.3],
  ])('%s', (_, times, perMinute) => {
    const found = answersPerMinute(times)
    expect(found === null ? null : Math.round(found * 10) / 10).toBe(perMinute)
  })
})
