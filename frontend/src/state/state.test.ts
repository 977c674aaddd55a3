import { describe, expect, test } from 'vitest'
import type { Job, StoredEvent } from '../api/types'
import { mergeStored } from './annotation'
import { type Place, pathOf, placeOf } from './location'
import { DEFAULTS, readPreferences } from './preferences'
import { mergeJob } from './project'

describe('addresses', () => {
  const places: [string, Place][] = [
    ['/', { page: 'projects' }],
    ['/projects/p', { page: 'images', projectId: 'p' }],
    ['/projects/p/annotate/i', { page: 'annotate', projectId: 'p', imageId: 'i' }],
    ['/projects/p/models', { page: 'models', projectId: 'p' }],
    ['/projects/p/evaluation', { page: 'evaluation', projectId: 'p' }],
  ]
  test.each(places)('%s can be read and written', (path, place) => {
    expect(placeOf(path)).toEqual(place)
    expect(pathOf(place)).toBe(path)
  })

  test.each(['/nothing', '/projects/p/annotate', '/projects/p/models/3', '/projects/p/x/y/z'])(
    '%s is nowhere',
    (path) => {
      expect(placeOf(path)).toEqual({ page: 'nowhere' })
    },
  )
})

describe('preferences', () => {
  test('come back as they were left', () => {
    expect(readPreferences(JSON.stringify({ ...DEFAULTS, brushRadius: 12, theme: 'dark' }))).toEqual({
      ...DEFAULTS,
      brushRadius: 12,
      theme: 'dark',
    })
  })

  test.each([
    ['nothing', null],
    ['no JSON', '{'],
    ['another kind of JSON', '[1, 2]'],
    ['a value of a wrong kind', '{"brushRadius": "large"}'],
    ['a name from another version', '{"colourOfTheSky": 1}'],
  ])('%s gives the defaults', (_, text) => {
    expect(readPreferences(text)).toEqual(DEFAULTS)
  })
})

describe('jobs', () => {
  const job = (id: string, state: Job['state']) => ({ job_id: id, state }) as Job

  test('a new job comes first', () => {
    expect(mergeJob([job('a', 'succeeded')], job('b', 'queued')).map((one) => one.job_id)).toEqual(['b', 'a'])
  })

  test('a late hint does not bring a finished job back to life', () => {
    expect(mergeJob([job('a', 'succeeded')], job('a', 'running'))).toEqual([job('a', 'succeeded')])
  })
})

test('events that are fetched and acknowledged stand once, in the order of the log', () => {
  const row = (seq: number) => ({ seq }) as StoredEvent

  expect(mergeStored([row(5), row(7)], [row(6), row(7)]).map((one) => one.seq)).toEqual([5, 6, 7])
})
