import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { ImageInfo } from '../api/types'
import {
  fetchPicture,
  forgetPictures,
  holdPicture,
  keepPicture,
  preparePicture,
  type ReadyPicture,
  readyPicture,
} from './pictures'

let closed: string[]
let requests: string[]

const picture = (id: string, width = 10): ReadyPicture => ({
  info: { image_id: id, sha256: id } as ImageInfo,
  bitmap: { width, height: 10, close: () => closed.push(id) } as unknown as ImageBitmap,
  events: [],
  lastSeq: 0,
})

beforeEach(() => {
  closed = []
  requests = []
  vi.stubGlobal('createImageBitmap', async () => picture('lake').bitmap)
  vi.stubGlobal('fetch', async (url: string) => {
    requests.push(url.replace('/api/v1/images/', ''))
    if (url.includes('/labels')) return Response.json({ events: [], last_seq: 7 })
    return url.includes('/file') ? new Response('pixels') : Response.json({ image_id: 'lake', sha256: 's' })
  })
})
afterEach(() => {
  holdPicture(null)
  forgetPictures()
  vi.unstubAllGlobals()
})

test('the oldest picture goes when there are too many, but never the one on the stage', () => {
  holdPicture('p0')
  for (let i = 0; i < 8; i += 1) keepPicture(picture(`p${i}`))

  expect(closed).toEqual(['p1'])
  expect(readyPicture('p0')).not.toBeNull()
})

test('large pictures take the place of many', () => {
  keepPicture(picture('meadow'))
  keepPicture(picture('map', 4_000_000))

  expect(closed).toEqual(['meadow'])
  expect(readyPicture('map')).not.toBeNull()
})

test('what is prepared is here when it is needed, and was fetched once', async () => {
  preparePicture('lake')
  preparePicture('lake')

  expect((await fetchPicture('lake')).lastSeq).toBe(7)
  await vi.waitFor(() => expect(readyPicture('lake')).not.toBeNull())
  expect(requests.filter((url) => url.includes('/file'))).toHaveLength(1)
})

test('a picture that was on its way when all was forgotten is not kept', async () => {
  preparePicture('lake')
  forgetPictures()
  await fetchPicture('lake')
  await Promise.resolve()

  expect(readyPicture('lake')).toBeNull()
})

test('keeping the same picture with newer labels does not close it', () => {
  const meadow = picture('meadow')
  keepPicture(meadow)
  keepPicture({ ...meadow, lastSeq: 3 })

  expect(closed).toEqual([])
  expect(readyPicture('meadow')?.lastSeq).toBe(3)
})
