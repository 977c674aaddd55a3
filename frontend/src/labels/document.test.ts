import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { LabelEvent, StoredEvent } from '../api/types'
import {
  countByClass,
  type Entry,
  entriesOf,
  eraseTargets,
  foldEntries,
  labelMap,
  redoTarget,
  undoTarget,
} from './document'

interface GoldenCase {
  name: string
  width: number
  height: number
  classes: string[]
  image_sha256: string
  events: StoredEvent[]
  label_map: number[][]
  holding: string[]
}

const golden = JSON.parse(readFileSync('../tests/golden/fold.json', 'utf8')) as GoldenCase[]

describe('the fold gives what the server gives', () => {
  test.each(golden)('$name', ({ width, height, classes, image_sha256, events, label_map, holding }) => {
    const labels = foldEntries(entriesOf(events, [], 'ann', image_sha256))

    const indices = new Map(classes.map((classUid, index) => [classUid, index]))
    expect([...labelMap(labels, { width, height }, indices)]).toEqual(label_map.flat())
    expect(labels.map((label) => label.event.event_id)).toEqual(holding)
  })
})

const SIZE = { width: 8, height: 8 }
const SHA = 'a'.repeat(64)
let made = 0

function entry(event: Partial<LabelEvent> & Pick<LabelEvent, 'kind'>, annotatorId = 'ann'): Entry {
  made += 1
  const base = {
    event_id: `e${made}`,
    image_id: 'i',
    image_sha256: SHA,
    client_id: 'c',
    client_seq: made,
    client_time: '',
  }
  return { event: { ...base, ...event } as LabelEvent, annotatorId }
}

const clickAt = (x: number, y = 0, annotatorId = 'ann') =>
  entry({ kind: 'click', class_uid: 'road', pixel: { x, y } }, annotatorId)
const takeBack = (id: string | null, annotatorId = 'ann') =>
  entry({ kind: 'undo', targets: id === null ? [] : [id] }, annotatorId)

describe('undo and redo', () => {
  test('undo walks back label by label, redo walks forward again', () => {
    const [a, b] = [clickAt(0), clickAt(1)]
    const log = [a, b]

    log.push(takeBack(undoTarget(log, 'ann')))
    expect(foldEntries(log).map((label) => label.event)).toEqual([a.event])
    log.push(takeBack(undoTarget(log, 'ann')))
    expect(foldEntries(log)).toEqual([])
    expect(undoTarget(log, 'ann')).toBeNull()

    log.push(takeBack(redoTarget(log, 'ann')))
    expect(foldEntries(log).map((label) => label.event)).toEqual([a.event])
    log.push(takeBack(redoTarget(log, 'ann')))
    expect(foldEntries(log).map((label) => label.event)).toEqual([a.event, b.event])
    expect(redoTarget(log, 'ann')).toBeNull()
  })

  test('a label made after an undo ends what redo could bring back', () => {
    const log = [clickAt(0)]
    log.push(takeBack(undoTarget(log, 'ann')))
    log.push(clickAt(1))

    expect(redoTarget(log, 'ann')).toBeNull()
  })

  test('nobody undoes what another annotator said', () => {
    const log = [clickAt(0), clickAt(1, 0, 'bob')]

    expect(undoTarget(log, 'ann')).toBe(log[0]?.event.event_id)
    expect(undoTarget([log[1] as Entry], 'ann')).toBeNull()
  })

  test('an erasure is undone like a label', () => {
    const label = clickAt(0)
    const erasure = entry({ kind: 'erase', points: [{ x: 8, y: 8 }], radius: 8, targets: [label.event.event_id] })

    expect(undoTarget([label, erasure], 'ann')).toBe(erasure.event.event_id)
  })
})

describe('erasing', () => {
  test('only labels under the eraser become targets', () => {
    const [near, far] = [clickAt(1, 1), clickAt(6, 6)]
    const labels = foldEntries([near, far])

    expect(eraseTargets(labels, { points: [{ x: 24, y: 24 }], radius: 8 }, SIZE)).toEqual([near.event.event_id])
  })

  test('a pixel that is erased already is not touched again', () => {
    const label = clickAt(1, 1)
    const eraser = { points: [{ x: 24, y: 24 }], radius: 8 }
    const erasure = entry({ kind: 'erase', ...eraser, targets: [label.event.event_id] })

    expect(eraseTargets(foldEntries([label, erasure]), eraser, SIZE)).toEqual([])
    expect(countByClass(foldEntries([label, erasure]), SIZE).size).toBe(0)
  })
})

test('an unsent event that the log has already is shown once', () => {
  const { event } = clickAt(3)
  const stored: StoredEvent = { seq: 1, annotator_id: 'ann', server_time: '', event }

  expect(entriesOf([stored], [event], 'ann', SHA)).toHaveLength(1)
})

test('labels made on other pixels of a replaced image are left out', () => {
  const { event } = clickAt(3)

  expect(entriesOf([], [event], 'ann', 'b'.repeat(64))).toEqual([])
})
