import { expect, test } from 'vitest'
import { EventMaker, uuidv7 } from './events'

const CONTRACT_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

test('an id is a UUIDv7 of its moment', () => {
  const id = uuidv7(0x0123_4567_89ab, new Uint8Array(10).fill(0xff))

  expect(id).toBe('01234567-89ab-7fff-bfff-ffffffffffff')
  expect(id).toMatch(CONTRACT_ID)
})

test('ids of later moments sort later', () => {
  const ids = [0, 1, 255, 256, 1_700_000_000_000, 1_700_000_000_001].map((millis) => uuidv7(millis, new Uint8Array(10)))

  expect([...ids].sort()).toEqual(ids)
})

test('events of one tab are numbered without gaps and carry the pixels that were seen', () => {
  const maker = new EventMaker('tab', () => new Date(0))
  const image = { image_id: 'image', sha256: 'b'.repeat(64) }
  const events = [0, 1, 2].map((x) => maker.make({ kind: 'click', class_uid: 'road', pixel: { x, y: 0 } }, image))

  expect(events.map((event) => event.client_seq)).toEqual([0, 1, 2])
  expect(new Set(events.map((event) => event.event_id)).size).toBe(3)
  expect(events[0]).toMatchObject({
    image_sha256: 'b'.repeat(64),
    client_id: 'tab',
    client_time: '1970-01-01T00:00:00.000Z',
  })
})
