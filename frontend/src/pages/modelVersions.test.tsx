import { cleanup, render, screen, waitFor } from '@testing-library/preact'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Job, ModelVersion, Project } from '../api/types'
import { isListLoaded } from '../state/imageList'
import { jobs, modelVersions, project } from '../state/project'
import { ModelsPage } from './modelVersions'

let uncertainties: (number | null)[] = []
const page = () => ({
  images: uncertainties.map((uncertainty, i) => ({ image_id: `i${i}`, project_id: 'p', uncertainty })),
  total: uncertainties.length,
  next_after: null,
})

const training = {
  job_id: 'j',
  kind: 'train',
  state: 'running',
  attempt: 1,
  spec: { kind: 'train' },
  progress: { done: 40, total: 200, stage: 'training', losses: null, eta_seconds: null },
} as Job

beforeEach(() => {
  project.value = { project_id: 'p', name: 'Street', classes: [], newest_version: null } as unknown as Project
  vi.stubGlobal('fetch', async () => Response.json(page()))
})

afterEach(() => {
  cleanup()
  isListLoaded.value = false
  project.value = null
  jobs.value = []
  modelVersions.value = []
  vi.unstubAllGlobals()
})

const words = (testId: string) => screen.getByTestId(testId).textContent
const isDisabled = (testId: string) => screen.getByTestId(testId).hasAttribute('disabled')

test('while the first training runs the page shows how far it is, and does not ask for one', () => {
  jobs.value = [training]
  render(<ModelsPage projectId="p" />)

  expect(words('no-version')).toContain('A training runs')
  expect(words('no-version')).toContain('step 40 of 200')
  expect(words('no-version')).not.toContain('press Train')
})

test.each<[string, (number | null)[], Job[], string, boolean]>([
  ['nothing is trained', [null, null], [], 'No image has a prediction yet; they come with the first training.', true],
  [
    'a training runs',
    [null],
    [training],
    'No image has a prediction yet; they come with the training under way.',
    true,
  ],
  ['some are drawn', [0.2, null, 0], [], 'predictions: 2 of 3 images so far', false],
  ['all are drawn', [0.2, 0.1], [], 'predictions: all of 2 images', false],
])('when %s the exports of predictions say so', async (_, drawn, active, sentence, isShut) => {
  uncertainties = drawn
  jobs.value = active
  render(<ModelsPage projectId="p" />)

  await waitFor(() => expect(words('predicted')).toBe(sentence))
  expect(['merged', 'predictions', 'labels'].map((content) => isDisabled(`export-masks-${content}`))).toEqual([
    isShut,
    isShut,
    false,
  ])
})

test('beside the files of a version stands how to take them all', async () => {
  const spec = { method: 'classmix', use_reco: true, seed: 1 }
  const metrics = { seconds: 9, steps: 5, chosen: 'deep', accuracy: null, held_out_pixels: 0 }
  const artifacts = { 'model.safetensors': 9, 'config.json': 1, 'README.md': 1, 'labelmap.txt': 1 }
  const made = { version: 1, label_seq: 3, label_count: 3, parent: null, created_at: '2026-01-01T00:00:00Z' }
  modelVersions.value = [{ ...made, project_id: 'p', spec, metrics, artifacts } as unknown as ModelVersion]
  render(<ModelsPage projectId="p" />)

  expect(words('version-row')).toContain('Download all four into one folder, or use recolabel export-model.')
})

const versionNumbered = (version: number) => {
  const spec = { method: 'classmix', use_reco: true, seed: 1 }
  const metrics = { seconds: 9, steps: 37, chosen: 'deep', accuracy: null, held_out_pixels: 0 }
  const config = { training: { steps: 60 }, format: 'recolabel-model' }
  const made = { label_seq: 3, label_count: 3, parent: null, created_at: '2026-01-01T00:00:00Z', code_version: '0.1' }
  return { ...made, version, project_id: 'p', spec, metrics, config, artifacts: {} } as unknown as ModelVersion
}

test('an older version can be rolled back to, and the page then says what that means and how it ends', async () => {
  const sent: [string, unknown][] = []
  vi.stubGlobal('fetch', async (url: string, init?: RequestInit) => {
    if (!url.endsWith('/pinned-version')) return Response.json(page())
    const { version } = JSON.parse(String(init?.body)) as { version: number | null }
    sent.push([init?.method ?? 'GET', version])
    return Response.json({ ...project.value, pinned_version: version })
  })
  project.value = { ...(project.value as Project), newest_version: 2, pinned_version: null }
  modelVersions.value = [versionNumbered(2), versionNumbered(1)]
  render(<ModelsPage projectId="p" />)

  screen.getByTestId('roll-back').click()
  await waitFor(() => expect(words('pinned')).toContain('You work with version 1.'))
  expect(words('pinned')).toContain('Follow the newest again (version 2)')
  screen.getByTestId('follow-newest').click()

  await waitFor(() => expect(screen.queryByTestId('pinned')).toBeNull())
  expect(sent).toEqual([
    ['PUT', 1],
    ['PUT', null],
  ])
})

test('a version tells everything it came from, also where a person stopped it', () => {
  modelVersions.value = [versionNumbered(1)]
  render(<ModelsPage projectId="p" />)

  for (const fact of ['37 of 60 steps', 'label position3', 'random seed1', 'code0.1', 'general image features']) {
    expect(words('version-row')).toContain(fact)
  }
  expect(words('version-config')).toContain('"format": "recolabel-model"')
  expect(words('version-config')).toContain('recolabel train "Street" --reproduce 1')
})
