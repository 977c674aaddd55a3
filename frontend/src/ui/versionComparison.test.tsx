import { act, cleanup, fireEvent, render, screen, waitFor } from '@testing-library/preact'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { ImageInfo, Job, ModelVersion, Project } from '../api/types'
import { imageList } from '../state/imageList'
import { jobs, mergeJob, predicting, project } from '../state/project'
import { differenceOf } from '../state/versionMaps'
import { positionAfter, VersionComparison } from './versionComparison'

const picture = (image_id: string, uncertainty: number) =>
  ({
    image_id,
    project_id: 'p',
    name: `${image_id}.png`,
    width: 2,
    height: 2,
    sha256: image_id,
    uncertainty,
  }) as ImageInfo
const version = (number: number, accuracy: number | null) =>
  ({
    version: number,
    project_id: 'p',
    label_count: 10 * number,
    metrics: { accuracy, held_out_pixels: accuracy === null ? 0 : 40 },
  }) as ModelVersion
const mapBy = (model_version: number) => ({
  map_id: `m${model_version}`,
  image_id: 'hard',
  model_version,
  width: 2,
  height: 2,
  class_uids: ['road', 'car'],
})
const drawing = {
  job_id: 'j',
  kind: 'predict',
  state: 'running',
  spec: { kind: 'predict', model_version: 1, image_id: 'hard' },
} as Job

/** What the server answers to the wish for version 1; version 2 is at hand. */
let older: { map: object | null; job: object | null } = { map: null, job: drawing }
const asked: string[] = []

beforeEach(() => {
  older = { map: null, job: drawing }
  asked.length = 0
  project.value = { project_id: 'p', name: 'Street', classes: [], newest_version: 2 } as unknown as Project
  imageList.value = { images: [picture('easy', 0.1), picture('hard', 0.9)], total: 2, nextAfter: null }
  vi.stubGlobal('createImageBitmap', async () => ({ close: () => undefined }))
  vi.stubGlobal('fetch', async (url: string) => {
    asked.push(url)
    if (url.endsWith('/version-maps/2')) return Response.json({ map: mapBy(2), job: null })
    if (url.endsWith('/version-maps/1')) return Response.json(older)
    if (url.endsWith('/prediction')) return new Response(new Uint8Array([0, 0, 1, 1]))
    return new Response(new Uint8Array(1))
  })
})

afterEach(() => {
  cleanup()
  imageList.value = { images: [], total: 0, nextAfter: null }
  project.value = null
  jobs.value = []
  vi.unstubAllGlobals()
})

const words = (testId: string) => screen.getByTestId(testId).textContent

test('the newest two versions stand on the picture that the model is least sure of, each with its facts', async () => {
  render(<VersionComparison versions={[version(2, 0.81), version(1, null)]} />)

  expect((screen.getByTestId('compare-image') as HTMLSelectElement).value).toBe('hard')
  expect(words('comparison-name-left')).toBe('Version 110 labels · accuracy not measured: too few labels')
  expect(words('comparison-name-right')).toBe('Version 220 labels · accuracy 81 % of 40 pixels')
  await waitFor(() => expect(screen.getByTestId('comparison-right').dataset['state']).toBe('ready'))
})

test('a side that is still drawn says so, and a failed one says why', async () => {
  render(<VersionComparison versions={[version(2, null), version(1, null)]} />)
  await waitFor(() => expect(screen.getByTestId('comparison-left').dataset['state']).toBe('drawing'))
  expect(words('comparison-waiting-left')).toBe('Version 1 draws this picture…')
  cleanup()

  vi.stubGlobal('fetch', async () =>
    Response.json(
      { title: 'gone', detail: 'There is no such model version.', code: 'model_version_not_found' },
      { status: 404 },
    ),
  )
  render(<VersionComparison versions={[version(2, null), version(1, null)]} />)

  await waitFor(() => expect(screen.getByTestId('comparison-left').dataset['state']).toBe('failed'))
  expect(words('comparison-waiting-left')).toBe('There is no such model version.')
})

test('the arrow keys move the line, and its position is said', () => {
  render(<VersionComparison versions={[version(2, null), version(1, null)]} />)
  const line = screen.getByRole('slider')
  expect(line.getAttribute('aria-valuenow')).toBe('50')

  act(() => {
    fireEvent.keyDown(line, { key: 'ArrowLeft' })
  })

  expect(line.getAttribute('aria-valuenow')).toBe('48')
  expect(line.getAttribute('aria-valuetext')).toBe('version 1 on 48 % of the width')
})

test.each<[string, boolean, number, number | null]>([
  ['ArrowRight', false, 50, 52],
  ['ArrowRight', true, 50, 60],
  ['ArrowRight', true, 95, 100],
  ['ArrowLeft', false, 1, 0],
  ['Home', false, 50, 0],
  ['End', false, 50, 100],
  ['a', false, 50, null],
])('%s (Shift: %s) moves the line from %d to %s', (key, isShift, from, to) => {
  expect(positionAfter(key, isShift, from)).toBe(to)
})

test('the difference is counted by class, whatever place a class has in either list', () => {
  const a = { map: mapBy(1) as never, prediction: new Uint8Array([0, 0, 1, 1]) }
  const b = { map: { ...mapBy(2), class_uids: ['car', 'road'] } as never, prediction: new Uint8Array([1, 1, 0, 1]) }

  expect(differenceOf(a, b)).toBe(0.25)
})

test('a job for a single picture is not shown as the drawing of all', () => {
  jobs.value = mergeJob([], drawing)

  expect(predicting.value).toBeNull()
})
