import { cleanup, fireEvent, render, screen } from '@testing-library/preact'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { LabelClass, Project, Question } from '../api/types'
import { answerNote, isAnswering } from '../state/answering'
import { project } from '../state/project'
import { guess, guessFor, question, whyNone } from '../state/questions'
import { AnswerPrompt, AnswerVoice } from './answerPrompt'
import { AnswerLegend } from './answerSide'

const labelClass = (name: string, position: number, key: string | null = null) =>
  ({ class_uid: name, name, colour: '#0072b2', key, position, retired: false }) as LabelClass
const asked: Question = {
  question_id: 'q',
  image_id: 'i',
  image_name: 'a.png',
  pixel: { x: 1, y: 2 },
  guess: 'road',
  second_guess: null,
  confidence: 0.54,
  model_version: 1,
  asked: 'guided',
  why: 'The model wavers between road and car.',
}
const ask = (one: Question | null) => {
  question.value = one
  guess.value = one === null ? null : guessFor(one)
}

beforeEach(() => {
  const many = Array.from({ length: 10 }, (_, i) => labelClass(`c${i}`, i + 2))
  const classes = [labelClass('road', 0), labelClass('car', 1, 'q'), ...many]
  project.value = { project_id: 'p', classes } as unknown as Project
  isAnswering.value = true
})
afterEach(() => {
  cleanup()
  ask(null)
  isAnswering.value = false
  answerNote.value = null
  whyNone.value = null
  project.value = null
})

test('the prompt names the guess, and so does the voice', () => {
  ask(asked)
  render(<AnswerPrompt />)
  render(<AnswerVoice />)

  expect(screen.getByTestId('guess').textContent).toBe('road')
  expect(screen.getByTestId('answer-spoken').textContent).toBe('pixel 1 of 10, guess: road')
})

test('a pixel drawn at random has no guess to accept, and the prompt says why', () => {
  ask({ ...asked, asked: 'random' })
  render(<AnswerPrompt />)

  expect(screen.queryByTestId('accept-guess')).toBeNull()
  expect(screen.getByTestId('answer-prompt').textContent).toContain('Which class is this pixel?')
})

test('without a question it says why, and offers neither skip nor void', () => {
  whyNone.value = 'Nothing is left to ask.'
  render(<AnswerPrompt />)

  expect(screen.getByTestId('answer-empty').textContent).toBe('No question just now')
  expect(screen.getByTestId('answer-note').textContent).toBe('Nothing is left to ask.')
  expect(screen.queryByTestId('answer-skip')).toBeNull()
})

test('the legend shows both keys of a class; past the tenth only the letter', () => {
  ask(asked)
  render(<AnswerLegend />)

  const rows = screen.getAllByTestId('answer-class').map(({ dataset }) => [dataset.name, dataset.digit, dataset.letter])
  expect(rows.slice(0, 2)).toEqual([
    ['road', '1', 'r'],
    ['car', '2', 'q'],
  ])
  expect(rows[11]?.[1]).toBeUndefined()
})

test('a button does what its key does', () => {
  ask(asked)
  render(<AnswerPrompt />)

  fireEvent.click(screen.getByTestId('accept-guess'))

  // The image is not on the stage here, and nothing is answered unseen.
  expect(answerNote.value).toBe('The image is still on its way.')
})
