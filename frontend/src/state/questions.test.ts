import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Question } from '../api/types'
import { forgetAllQuestions, leaveQuestions, leaveUnlessAbout, nextQuestion, question, stillOpen } from './questions'

const asked = (id: string, imageId = 'meadow') => ({ question_id: id, image_id: imageId }) as Question

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

test('a question that arrives after the questions were left is not shown, and is asked at the next wish', async () => {
  fetched.mockImplementation(async () => Response.json({ questions: [asked('a')], note: null }))
  const first = nextQuestion('p', 'meadow')
  leaveQuestions()

  expect(await first).toBeNull()
  expect(question.value).toBeNull()

  expect(await nextQuestion('p', 'meadow')).toEqual(asked('a'))
})
