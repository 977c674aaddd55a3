import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Pixel, Question } from '../api/types'
import {
  forgetAllQuestions,
  leaveQuestions,
  leaveUnlessAbout,
  leaveUnlessAsked,
  nextQuestion,
  question,
  stillOpen,
} from './questions'

const asked = (id: string, imageId = 'meadow') => ({ question_id: id, image_id: imageId, guess: null }) as Question

const fetched = vi.fn<typeof fetch>()
beforeEach(() => vi.stubGlobal('fetch', fetched))
afterEach(() => {
  forgetAllQuestions()
  fetched.mockReset()
  vi.unstubAllGlobals()
})

test('an answered or skipped question is not asked again', () => {
  expect(stillOpen([asked('a'), asked('b')], new Set(['a']))).toEqual([asked('b')])
})

test.each([
  ['meadow', true, 'the jump that the question made itself'],
  ['lake', false, 'a hand on the filmstrip'],
])('a question about the meadow, once the image "%s" is opened, stays: %s (%s)', (imageId, stays) => {
  question.value = asked('a', 'meadow')

  leaveUnlessAbout(imageId)

  expect(question.value !== null).toBe(stays)
})

test.each<[string, Pixel | null, boolean, string]>([
  ['meadow', { x: 3, y: 4 }, true, 'the asked pixel itself'],
  ['meadow', { x: 4, y: 4 }, false, 'a pixel beside it'],
  ['lake', { x: 3, y: 4 }, false, 'the same place of another image'],
  ['meadow', null, false, 'a brush stroke'],
])('a question about the meadow, after a gesture at %s %j, stays: %s (%s)', (imageId, pixel, stays, _remark) => {
  question.value = { ...asked('a', 'meadow'), pixel: { x: 3, y: 4 } }

  leaveUnlessAsked(imageId, pixel)

  expect(question.value !== null).toBe(stays)
})

test('a question that arrives after the questions were left is not shown, and is asked at the next wish', async () => {
  fetched.mockImplementation(async () => Response.json({ questions: [asked('a')], note: null }))
  const first = nextQuestion('p', 'meadow')
  leaveQuestions()

  expect(await first).toBeNull()
  expect(question.value).toBeNull()

  expect(await nextQuestion('p', 'meadow')).toEqual(asked('a'))
})
