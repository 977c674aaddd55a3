import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/preact'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Evaluation, Figure, Project, VersionEvaluation } from '../api/types'
import { project } from '../state/project'
import { ticksUpTo } from '../ui/curve'
import { EvaluationPage } from './evaluation'

const MISSING = '5 more random clicks that meet this class are needed for a number.'
const none = (missing = MISSING): Figure => ({ value: null, low: null, high: null, clicks: 3, missing })
const figure = (value: number, half = 0.05): Figure => ({
  value,
  low: value - half,
  high: value + half,
  clicks: 40,
  missing: null,
})
const unseen = { guided: figure(0.5), random: figure(0.8), free: none('10 more clicks are needed for a number.') }

const version = (number: number, changes: Partial<VersionEvaluation> = {}): VersionEvaluation => ({
  version: number,
  label_seq: 100 * number,
  label_count: 100 * number,
  active_minutes: 4 * number,
  created_at: '2026-01-01T00:00:00Z',
  accuracy: figure(0.9),
  mean_iou: figure(0.5 + number / 10),
  mean_over: ['road'],
  classes: [
    { class_uid: 'road', iou: figure(0.8), true_iou: null },
    { class_uid: 'car', iou: none(), true_iou: null },
  ],
  confusion: {
    class_uids: ['road', 'car'],
    counts: [
      [30, 2],
      [1, 3],
    ],
  },
  calibration: {
    bins: [],
    error: none('9 more random clicks are needed for a number.'),
    error_by_chance: null,
    overconfidence: none(),
  },
  after: unseen,
  on_screen: unseen,
  truth: null,
  ...changes,
})

let answer: Evaluation

beforeEach(() => {
  const named = (class_uid: string, position: number) => ({
    class_uid,
    name: class_uid,
    colour: '#0072b2',
    key: null,
    position,
    retired: false,
  })
  project.value = {
    project_id: 'p',
    name: 'Street',
    classes: [named('road', 0), named('car', 1)],
  } as unknown as Project
  answer = {
    project_id: 'p',
    label_seq: 200,
    label_count: 200,
    label_counts: [
      { class_uid: 'road', labels: 150, held_out: 12 },
      { class_uid: 'car', labels: 50, held_out: 4 },
    ],
    versions: [],
    on_screen: [],
    guidance: {
      guided: none(),
      random: none(),
      ratio: none(),
      said: 'What guided questions are worth here cannot be told yet.',
    },
    work: {
      answers: 3,
      active_minutes: 1,
      seconds_per_answer: null,
      answers_per_minute: null,
      missing: '7 more clicks are needed.',
    },
    next_class: { class_uid: 'car', why: 'car is found worst.' },
    stop: { stop: false, why: 'It takes 3 more versions to see whether the curve is flat.' },
  }
  vi.stubGlobal('fetch', async (address: string) =>
    Response.json(String(address).includes('/evaluation') ? answer : { images: [], total: 0, next_after: null }),
  )
})

afterEach(() => {
  cleanup()
  project.value = null
  vi.unstubAllGlobals()
})

async function open(...versions: VersionEvaluation[]): Promise<void> {
  answer = { ...answer, versions }
  render(<EvaluationPage projectId="p" />)
  await waitFor(() => screen.getByTestId('advice'))
}

const words = (testId: string) => screen.getByTestId(testId).textContent

test('a project without a version says what is missing instead of numbers', async () => {
  await open()

  expect(words('curve-missing')).toContain('There is no model version yet')
  expect(words('stop-signal')).toContain('3 more versions')
  expect(words('pace')).toContain('7 more clicks are needed.')
  expect(screen.queryByRole('img')).toBeNull()
})

test('the curve ends in the newest value, which stands beside it with its interval', async () => {
  await open(version(1), version(2))

  expect(words('curve-value')).toBe('0.70')
  expect(words('curve-interval')).toBe('(0.65 to 0.75)')
  const curve = screen.getByRole('img')
  expect(curve.getAttribute('aria-label')).toContain('version 2: 0.70, 0.65 to 0.75')
  expect(curve.querySelectorAll('circle')).toHaveLength(2)
  expect(curve.querySelectorAll('polygon')).toHaveLength(1)
})

test('the curve can be drawn over minutes of work, and for right pixels', async () => {
  await open(version(1), version(2))

  fireEvent.click(screen.getByTestId('show-minutes'))
  fireEvent.click(screen.getByTestId('show-right'))

  expect(screen.getByRole('img').getAttribute('aria-label')).toContain('Curve over minutes')
  expect(words('curve-value')).toBe('90 %')
  expect(words('curve-interval')).toBe('(85 to 95 %)')
  fireEvent.click(screen.getByTestId('show-labels'))
  fireEvent.click(screen.getByTestId('show-overlap'))
})

test('a class with too few clicks has a sentence where its number would be', async () => {
  await open(version(1))

  const [road, car] = screen.getAllByTestId('class-figures')
  expect(road?.textContent).toContain('0.80 (0.75 to 0.85)')
  expect(road?.textContent).toContain('150')
  expect(car?.textContent).toContain(MISSING)
  expect(words('curve')).not.toContain('NaN')
})

test('true masks stand beside the estimate where the project has them', async () => {
  const classes = [{ class_uid: 'road', iou: figure(0.8), true_iou: 0.77 }]
  await open(version(1, { classes, truth: { images: 20, mean_iou: figure(0.44), accuracy: 0.8, same_classes: 0.77 } }))

  expect(words('curve-true-value')).toBe('0.44')
  expect(words('curve-true-interval')).toBe('(0.39 to 0.49)')
  expect(words('class-figures')).toContain('0.77')
})

test('an older version can be looked at', async () => {
  const before = version(1, {
    confusion: {
      class_uids: ['road', 'car'],
      counts: [
        [7, 0],
        [0, 0],
      ],
    },
  })
  await open(before, version(2))

  fireEvent.change(screen.getByTestId('evaluated-version'), { target: { value: '1' } })

  await waitFor(() => expect(words('confusion')).toContain('7'))
  expect(words('classes')).toContain('overlap by version 1')
})

test('without a judging click the tables say so', async () => {
  const counts = [
    [0, 0],
    [0, 0],
  ]
  await open(version(1, { mean_iou: none(), confusion: { class_uids: ['road', 'car'], counts } }))

  expect(words('curve-missing')).toBe(MISSING)
  expect(screen.queryByTestId('confusion')).toBeNull()
  expect(words('calibration')).toContain('9 more random clicks are needed for a number.')
})

test.each([
  [0, [0]],
  [7, [0, 2, 4, 6]],
  [200, [0, 50, 100, 150, 200]],
  [1204, [0, 500, 1000]],
])('the axis up to %s has round steps', (largest, ticks) => {
  expect(ticksUpTo(largest)).toEqual(ticks)
})
