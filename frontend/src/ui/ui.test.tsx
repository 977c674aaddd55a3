import { cleanup, fireEvent, render, screen } from '@testing-library/preact'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { LabelClass, Project, Question } from '../api/types'
import { project } from '../state/project'
import { guess, guessFor, question } from '../state/questions'
import { unsentCount } from '../state/sync'
import { mistakeIn, namesIn, withNames } from './classChips'
import { ClassPanel } from './classPanel'
import { duration, fileSize, percent } from './format'
import { Header } from './header'
import { QuestionBar } from './questionBar'

const labelClass = (name: string, position: number): LabelClass => ({
  class_uid: `uid-${name}`,
  name,
  colour: '#0072b2',
  key: null,
  position,
  retired: false,
})

beforeEach(() => {
  project.value = {
    project_id: 'p',
    name: 'Street',
    created_at: '2026-01-01T00:00:00Z',
    classes: [labelClass('road', 0), labelClass('car', 1), { ...labelClass('gone', 2), retired: true }],
    settings: { auto_train: true, strategy: 'reco', random_share: 0.1, held_out_share: 0.5 },
    image_count: 0,
    label_count: 0,
    label_seq: 0,
    newest_version: null,
    pinned_version: null,
  } satisfies Project
})

afterEach(() => {
  cleanup()
  project.value = null
  question.value = null
  guess.value = null
  unsentCount.value = 0
})

test('several names at once become several classes with different colours', () => {
  const drafts = withNames([], namesIn('road, car'))

  expect(drafts.map((draft) => draft.name)).toEqual(['road', 'car'])
  expect(new Set(drafts.map((draft) => draft.colour)).size).toBe(2)
})

test.each([
  ['', 'Type a name first.'],
  ['ROAD', '“ROAD” is in the list already.'],
  ['sky, Sky', '“Sky” is in the list already.'],
  ['void', '“void” is there already: it stands for pixels that fit no class.'],
])('the class names %j are refused', (text, sentence) => {
  expect(mistakeIn(namesIn(text), [{ name: 'road', colour: '#0072b2' }])).toBe(sentence)
})

test('the class list shows every class but the retired ones, and void', () => {
  render(<ClassPanel />)

  expect(screen.getAllByTestId('class-row').map((row) => row.dataset.name)).toEqual(['road', 'car', 'void'])
})

describe('the question', () => {
  const asked: Question = {
    question_id: 'q',
    image_id: 'i',
    image_name: 'a.png',
    pixel: { x: 1, y: 2 },
    guess: 'uid-road',
    second_guess: 'uid-car',
    confidence: 0.54,
    model_version: 1,
    asked: 'guided',
    why: 'The model wavers between road and car.',
  }
  const show = () => {
    guess.value = question.value === null ? null : guessFor(question.value)
    const heard = { onAccept: vi.fn(), onVoid: vi.fn(), onNext: vi.fn(), onLeave: vi.fn() }
    render(<QuestionBar {...heard} />)
    return heard
  }

  test('says what the model guesses, and how sure it is', () => {
    question.value = asked
    show()

    expect(screen.getByTestId('guess').textContent).toBe('road (54 %)')
  })

  test('without a model there is no guess to accept, but a reason', () => {
    question.value = { ...asked, guess: null, confidence: null, why: 'Nobody looked at this image yet.' }
    show()

    expect(screen.queryByTestId('accept-guess')).toBeNull()
    expect(screen.getByText('Nobody looked at this image yet.')).toBeTruthy()
  })

  test('says which digits answer, and how to stop', () => {
    question.value = asked
    show()

    expect(screen.getByTestId('question-keys').textContent).toMatch(/^1-2 answers, Esc stops/)
  })

  test('its buttons accept and skip', () => {
    question.value = asked
    const heard = show()
    fireEvent.click(screen.getByTestId('accept-guess'))
    fireEvent.click(screen.getByTestId('skip-question'))

    expect(heard.onAccept).toHaveBeenCalledOnce()
    expect(heard.onNext).toHaveBeenCalledOnce()
  })
})

test.each([
  [0, 'all saved'],
  [3, '3 unsent'],
])('with %i labels on their way the header says "%s"', (count, words) => {
  unsentCount.value = count
  render(<Header project={{ name: 'Street', projectId: 'p' }} page="images" />)

  expect(screen.getByTestId('unsent').textContent).toBe(words)
})

test('numbers are written as people read them', () => {
  expect([4, 59.4, 65, 3900].map(duration)).toEqual(['4 s', '59 s', '1 min', '1 h 05 min'])
  expect([500, 2048, 5 * 1024 ** 2].map(fileSize)).toEqual(['500 B', '2 kB', '5.0 MB'])
  expect(percent(0.543)).toBe('54 %')
})
