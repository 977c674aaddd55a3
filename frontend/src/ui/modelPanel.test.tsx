import { cleanup, render, screen } from '@testing-library/preact'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Job, ModelVersion, Project } from '../api/types'
import { classCounts, jobs, modelVersions, project } from '../state/project'
import { ModelPanel } from './modelPanel'

const street = (autoTrain: boolean) =>
  ({
    project_id: 'p',
    classes: ['road', 'car', 'sky'].map((name, position) => ({ class_uid: name, name, position, retired: false })),
    settings: { auto_train: autoTrain },
    newest_version: null,
  }) as unknown as Project

const job = (kind: Job['kind'], state: Job['state'], progress: Partial<Job['progress']> = {}) =>
  ({
    job_id: `${kind} ${state}`,
    kind,
    state,
    attempt: 1,
    cancel_requested: false,
    progress: { done: 0, total: 0, stage: '', losses: null, eta_seconds: null, ...progress },
  }) as Job

beforeEach(() => {
  project.value = street(true)
  classCounts.value = new Map([['road', 3]])
})

afterEach(() => {
  cleanup()
  project.value = null
  classCounts.value = new Map()
  modelVersions.value = []
  jobs.value = []
})

describe('while a class has no label', () => {
  const FIRST = 'Training starts by itself once all 3 classes have a label; T starts it now (two classes suffice).'
  const BY_HAND = 'T starts a training (two classes suffice).'
  test.each<[string, boolean, number, string]>([
    ['before the first version', true, 0, FIRST],
    ['with automatic training off', false, 0, BY_HAND],
    ['with a version, when new labels and not classes count', true, 1, BY_HAND],
  ])('the panel says what starts a training %s', (_, autoTrain, versionCount, sentence) => {
    project.value = street(autoTrain)
    modelVersions.value = Array.from(
      { length: versionCount },
      () => ({ version: 1, label_seq: 0, label_count: 2 }) as ModelVersion,
    )
    render(<ModelPanel />)

    const words = screen.getByTestId('checklist').querySelector('p')?.textContent
    expect(words).toBe(`1 of 3 classes have a label. ${sentence} Not in this image? F shows the next.`)
  })
})

test.each<[string, Job[], string]>([
  ['nothing of ours is at work', [job('train', 'queued')], 'waiting: another project is training'],
  ['our own predictions are drawn', [job('train', 'queued'), job('predict', 'running')], 'waiting'],
  ['it begins again', [job('train', 'queued', { done: 5, total: 9, stage: 'training' })], 'waiting'],
  ['it is at work', [job('train', 'running', { done: 5, total: 9, stage: 'training' })], 'training'],
])('a training says what it waits for when %s', (_, list, words) => {
  jobs.value = list
  render(<ModelPanel />)

  expect(screen.getByTestId('progress').querySelector('.cut')?.textContent).toBe(words)
})
