import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ImageInfo, ImageMap } from '../api/types'
import { image } from './annotation'
import { isLate, isOlder, missingSentence, overlay, overlaySource, sourceOf, watchMaps } from './maps'
import { openProject } from './project'
import { newestSeq } from './sync'

const drawn = (id: string, labelSeq: number, more: Partial<ImageMap> = {}): ImageMap => ({
  map_id: id,
  image_id: 'meadow',
  job_id: 'j',
  drawn_by: 'fast head',
  model_version: null,
  label_count: 3,
  step: 0,
  label_seq: labelSeq,
  width: 2,
  height: 1,
  class_uids: ['a', 'b'],
  stale: false,
  created_at: `2026-01-01T00:00:${String(labelSeq).padStart(2, '0')}Z`,
  ...more,
})

test.each<[Partial<ImageMap>, string]>([
  [{ drawn_by: 'fast head', label_count: 37 }, 'fast head, 37 clicks'],
  [{ drawn_by: 'fast head', label_count: 1 }, 'fast head, 1 click'],
  [{ drawn_by: 'fast head', model_version: 7, label_count: 1210 }, 'fast head on version 7, 1,210 clicks'],
  [{ drawn_by: 'version', model_version: 7, label_count: 1204 }, 'version 7, 1,204 clicks'],
  [{ drawn_by: 'training', step: 40 }, 'training, step 40'],
  [{ drawn_by: 'training', step: 0 }, 'training'],
])('what %j has drawn is named "%s"', (map, words) => {
  expect(sourceOf(drawn('m', 1, map))).toBe(words)
})

test.each([
  [3, 0, false, 'No class has a click yet. Click a pixel of one class, then of a second one, and the picture answers.'],
  [3, 0, true, 'Void alone teaches nothing: click pixels of two classes, and the picture answers.'],
  [3, 1, false, 'Click a pixel of a second class, and the picture answers.'],
  [3, 2, false, null],
  [1, 1, false, 'Two classes are needed: add one in the list on the left.'],
])('of %i classes %i labelled (void: %s): %s', (classCount, labelledCount, hasVoid, sentence) => {
  expect(missingSentence(classCount, labelledCount, hasVoid)).toBe(sentence)
})

test.each<[string, ImageMap, ImageMap, boolean]>([
  ['made before', drawn('a', 5, { created_at: '2026-01-01T00:00:01Z' }), drawn('b', 5), true],
  ['made after', drawn('a', 5, { created_at: '2026-01-01T00:00:09Z' }), drawn('b', 5), false],
  ['made in the same moment', drawn('a', 5), drawn('b', 5), false],
  ['of a roll back, of fewer labels', drawn('a', 4, { created_at: '2026-01-01T00:00:09Z' }), drawn('b', 5), false],
])('a map %s is older: %s', (_, map, known, isIt) => {
  expect(isOlder(map, known)).toBe(isIt)
})

describe('the overlay of the image on the stage', () => {
  let requests: string[]
  let release: (() => void)[]
  let hint: (map: ImageMap) => void
  let stop: () => void

  beforeEach(async () => {
    requests = []
    release = []
    newestSeq.value = 0
    image.value = { image_id: 'meadow', sha256: 'before', width: 2, height: 1 } as ImageInfo
    vi.stubGlobal('EventSource', FakeSource)
    vi.stubGlobal('fetch', async (url: string) => {
      if (!url.includes('/maps')) return new Response('[]')
      requests.push(url.replace('/api/v1/images/meadow/', ''))
      if (url.endsWith('/maps')) return new Response('[]')
      return new Promise((resolve) => release.push(() => resolve(new Response(new Uint8Array([0, 1])))))
    })
    const close = openProject('p')
    const unwatch = watchMaps('meadow')
    await vi.waitFor(() => expect(requests).toEqual(['maps']))
    await settled()
    requests.length = 0
    hint = (map) => FakeSource.say({ kind: 'map', image_id: map.image_id, map })
    stop = () => {
      unwatch()
      close()
    }
  })
  afterEach(() => {
    stop()
    image.value = null
    vi.unstubAllGlobals()
    vi.useRealTimers()
  })
  const settled = () => new Promise((resolve) => setTimeout(resolve, 0))
  const arrive = async () => {
    for (const each of release.splice(0)) each()
    await settled()
  }

  test('comes by its planes alone, both at once, for the hint carries the rest', async () => {
    hint(drawn('m1', 1))

    expect(requests).toEqual(['maps/m1/prediction', 'maps/m1/confidence'])
    await arrive()
    expect(overlaySource.value).toBe('fast head, 3 clicks')
  })

  test('is the newest wish after a fetch that is under way, and skips those between', async () => {
    hint(drawn('m2', 2))
    hint(drawn('m3', 3))
    hint(drawn('m4', 4))
    expect(overlay.value?.map.map_id).not.toBe('m4')

    await arrive()
    await arrive()

    expect(requests.map((path) => path.split('/')[1])).toEqual(['m2', 'm2', 'm4', 'm4'])
    expect(overlay.value?.map.map_id).toBe('m4')
  })

  test('never gives way to an older map that arrives late', async () => {
    hint(drawn('m6', 6))
    await arrive()
    hint(drawn('m5', 5))
    await arrive()

    expect(overlay.value?.map.map_id).toBe('m6')
  })

  test('gives way to what an earlier version draws after a roll back, though that knows fewer labels', async () => {
    hint(drawn('m7', 7))
    await arrive()
    hint(drawn('v1', 2, { drawn_by: 'version', model_version: 1, created_at: '2026-01-01T00:00:59Z' }))
    await arrive()

    expect(overlaySource.value).toBe('version 1, 3 clicks')
  })

  test('goes with the pixels that it was drawn for, even when it was on its way', async () => {
    hint(drawn('m9', 9))
    image.value = { ...(image.value as ImageInfo), sha256: 'after' }
    await arrive()

    expect(overlay.value).toBeNull()
  })

  test('is late once the fast head owes an answer for five seconds, and no longer when it answers', async () => {
    hint(drawn('m10', 10))
    await arrive()
    vi.useFakeTimers()
    newestSeq.value = 11
    vi.advanceTimersByTime(4900)
    expect(isLate.value).toBe(false)
    vi.advanceTimersByTime(200)
    expect(isLate.value).toBe(true)

    newestSeq.value = 10

    expect(isLate.value).toBe(false)
  })
})

class FakeSource {
  static newest: FakeSource
  onmessage: ((message: { data: string }) => void) | null = null
  constructor() {
    FakeSource.newest = this
  }
  static say(hint: unknown): void {
    FakeSource.newest.onmessage?.({ data: JSON.stringify({ update_id: 1, project_id: 'p', hint }) })
  }
  close(): void {}
}
