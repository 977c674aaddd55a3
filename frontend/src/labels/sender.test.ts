import { describe, expect, test } from 'vitest'
import { Problem, ServerAway } from '../api/problems'
import type { LabelAcks, LabelEvent } from '../api/types'
import { MemoryOutbox } from './outbox'
import { MAX_BATCH, Sender, type SenderWorld, type SendingState, waitAfter } from './sender'

const click = (id: string): LabelEvent => ({
  kind: 'click',
  event_id: id,
  image_id: 'image',
  image_sha256: 'a'.repeat(64),
  client_id: 'tab',
  client_seq: 0,
  client_time: '2026-01-01T00:00:00Z',
  class_uid: 'road',
  pixel: { x: 1, y: 2 },
})

const stored = (events: LabelEvent[]): LabelAcks => ({
  acks: events.map((event, index) => ({
    event_id: event.event_id,
    fate: 'stored',
    seq: index + 1,
    code: null,
    reason: null,
  })),
  label_seq: events.length,
})

/** A sender whose clock is a list of waits; it stops by itself when the outbox is empty. */
function rig(post: (events: LabelEvent[]) => LabelAcks) {
  const outbox = new MemoryOutbox()
  const batches: string[][] = []
  const waits: number[] = []
  const states: SendingState[] = []
  const world: SenderWorld = {
    random: () => 1,
    post: async (_, events) => {
      batches.push(events.map((event) => event.event_id))
      return post(events)
    },
    wait: async (millis) => {
      waits.push(millis)
      if ((await outbox.pending('one')).length === 0) sender.stop()
    },
    alone: async (_name, _signal, work) => work(),
  }
  const sender = new Sender('one', outbox, world, {
    state: (state) => states.push(state),
    acknowledged: () => undefined,
  })
  return { outbox, sender, batches, waits, states }
}

test('events leave the outbox when the server has them', async () => {
  const { outbox, sender, batches, states } = rig(stored)
  for (const id of ['a', 'b']) await outbox.put('one', click(id))

  await sender.run()

  expect(batches).toEqual([['a', 'b']])
  expect(await outbox.pending('one')).toEqual([])
  expect(states).toEqual(['sending', 'resting'])
})

test('a batch holds no more events than the server takes', async () => {
  const { outbox, sender, batches } = rig(stored)
  for (let index = 0; index < MAX_BATCH + 3; index += 1) await outbox.put('one', click(`e${index}`))

  await sender.run()

  expect(batches.map((batch) => batch.length)).toEqual([MAX_BATCH, 3])
})

describe('while the server is away', () => {
  test('the same events are sent again, each time after a longer wait, without end', async () => {
    let failures = 12
    const { outbox, sender, batches, waits, states } = rig((events) => {
      failures -= 1
      if (failures >= 0) throw new ServerAway()
      return stored(events)
    })
    await outbox.put('one', click('a'))

    await sender.run()

    expect(new Set(batches.flat())).toEqual(new Set(['a']))
    expect(waits.slice(0, 12)).toEqual([500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000, 30000, 30000, 30000])
    expect(states).toContain('waiting')
    expect(await outbox.pending('one')).toEqual([])
  })

  test('waits are spread, so that many browsers do not come back at the same moment', () => {
    expect(waitAfter(1, 0)).toBe(250)
    expect(waitAfter(1, 1)).toBe(500)
    expect(waitAfter(40, 0)).toBe(15_000)
  })
})

const KEPT: [number, string, string][] = [
  [401, 'not_logged_in', 'a login is wanted'],
  [403, 'foreign_origin', 'the address is not right'],
  [404, '', 'something between us and the server has no such page'],
  [429, 'too_many', 'the server is busy'],
  [500, 'internal', 'the server has a fault'],
  [507, 'storage_full', 'the disk is full'],
]

test.each(KEPT)('a %i (%s) keeps every event: %s', async (status, code) => {
  const { outbox, sender, states } = rig(() => {
    sender.stop()
    throw new Problem(status, code, 'No.')
  })
  await outbox.put('one', click('a'))

  await sender.run()

  expect(await outbox.pending('one')).toHaveLength(1)
  expect(states.at(-1)).toBe(status === 401 ? 'locked out' : 'waiting')
})

test('one event that the server cannot read blocks no other and keeps its reason', async () => {
  const { outbox, sender } = rig((events) => {
    if (events.some((event) => event.event_id === 'bad'))
      throw new Problem(422, 'invalid', 'pixel.x must be at least 0.')
    return stored(events)
  })
  for (const id of ['a', 'b', 'bad', 'c', 'd']) await outbox.put('one', click(id))

  await sender.run()

  expect(await outbox.pending('one')).toEqual([])
  expect(await outbox.refused('one')).toMatchObject([
    { event: { event_id: 'bad' }, reason: 'pixel.x must be at least 0.' },
  ])
})

test('a click made while a batch is on its way is sent without a rest', async () => {
  const { outbox, sender, batches, waits } = rig((events) => {
    if (events[0]?.event_id === 'a') {
      void outbox.put('one', click('b'))
      sender.wake()
    }
    return stored(events)
  })
  await outbox.put('one', click('a'))

  await sender.run()

  expect(batches).toEqual([['a'], ['b']])
  expect(waits).toHaveLength(1)
})
