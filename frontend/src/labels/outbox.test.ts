import { IDBDatabase as FDBDatabase, IDBFactory } from 'fake-indexeddb'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { Ack, LabelEvent } from '../api/types'
import { MemoryOutbox, type Outbox, openOutbox } from './outbox'

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
const ack = (id: string, fate: Ack['fate'], reason: string | null = null): Ack => ({
  event_id: id,
  fate,
  seq: fate === 'refused' ? null : 1,
  code: fate === 'refused' ? 'outside_image' : null,
  reason,
})
const idsOf = (events: LabelEvent[]) => events.map((event) => event.event_id)

const KINDS: [string, () => Promise<Outbox>][] = [
  ['on disk', () => openOutbox(new IDBFactory())],
  ['in memory', async () => new MemoryOutbox()],
]

describe.each(KINDS)('an outbox %s', (_, open) => {
  let outbox: Outbox
  beforeEach(async () => {
    outbox = await open()
  })

  test('gives events back in the order in which they were put, to their own project only', async () => {
    for (const id of ['c', 'a', 'b']) await outbox.put('one', click(id))
    await outbox.put('two', click('d'))

    expect(idsOf(await outbox.pending('one'))).toEqual(['c', 'a', 'b'])
    expect(idsOf(await outbox.pending('one', 2))).toEqual(['c', 'a'])
  })

  test('names the projects that have something unsent', async () => {
    for (const id of ['a', 'b']) await outbox.put('one', click(id))
    await outbox.put('two', click('c'))
    await outbox.acknowledge('two', [ack('c', 'stored')])

    expect(await outbox.projects()).toEqual(['one'])
  })

  test('keeps an event that is put twice once', async () => {
    await outbox.put('one', click('a'))
    await outbox.put('one', click('a'))

    expect(idsOf(await outbox.pending('one'))).toEqual(['a'])
  })

  test('lets an event go when it is acknowledged, and no other', async () => {
    for (const id of ['a', 'b', 'c']) await outbox.put('one', click(id))
    await outbox.acknowledge('one', [ack('a', 'stored'), ack('b', 'duplicate'), ack('stranger', 'stored')])

    expect(idsOf(await outbox.pending('one'))).toEqual(['c'])
  })

  test('moves a refused event aside with its reason, where it can be sent again or let go', async () => {
    await outbox.put('one', click('a'))
    await outbox.acknowledge('one', [ack('a', 'refused', 'The label lies outside the image.')])

    expect(await outbox.pending('one')).toEqual([])
    const [refused] = await outbox.refused('one')
    expect(refused).toMatchObject({ code: 'outside_image', reason: 'The label lies outside the image.' })

    await outbox.retry('one')
    expect(idsOf(await outbox.pending('one'))).toEqual(['a'])
    expect(await outbox.refused('one')).toEqual([])

    await outbox.acknowledge('one', [ack('a', 'refused')])
    await outbox.discardRefused('one')
    expect(await outbox.refused('one')).toEqual([])
  })
})

test('what was put is there after the page was closed', async () => {
  const disk = new IDBFactory()
  await (await openOutbox(disk)).put('one', click('a'))

  const later = await openOutbox(disk)

  expect(later.durable).toBe(true)
  expect(idsOf(await later.pending('one'))).toEqual(['a'])
})

test('writes wait for the disk, not for its cache', async () => {
  const disk = new IDBFactory()
  const outbox = await openOutbox(disk)
  const transactions = vi.spyOn(FDBDatabase.prototype, 'transaction')

  await outbox.put('one', click('a'))

  expect(transactions).toHaveBeenCalledWith(expect.anything(), 'readwrite', { durability: 'strict' })
})

test('a browser without storage says so and still keeps events for the time being', async () => {
  const noStorage = {
    open: () => {
      throw new DOMException('denied', 'SecurityError')
    },
  } as unknown as IDBFactory
  const outbox = await openOutbox(noStorage)
  await outbox.put('one', click('a'))

  expect(outbox.durable).toBe(false)
  expect(idsOf(await outbox.pending('one'))).toEqual(['a'])
})

test('an event that the disk does not take is kept in memory, sent with the others, and said to be in danger', async () => {
  const outbox = await openOutbox(new IDBFactory())
  await outbox.put('one', click('a'))
  vi.spyOn(FDBDatabase.prototype, 'transaction').mockImplementationOnce(() => {
    throw new DOMException('the disk is full', 'QuotaExceededError')
  })

  await outbox.put('one', click('b'))

  expect(outbox.durable).toBe(false)
  expect(idsOf(await outbox.pending('one'))).toEqual(['a', 'b'])
  await outbox.acknowledge('one', [ack('a', 'stored'), ack('b', 'stored')])
  expect(await outbox.pending('one')).toEqual([])
})
