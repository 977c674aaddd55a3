/** From a gesture to a label event. Ids are made here, so that sending an event twice stores it once. */

import type { Asked, ClassOrVoid, FixedPoint, Id, LabelEvent, Pixel } from '../api/types'

export const VOID = 'void'

/** What the annotator means, before it has an id and a time. */
export type Statement =
  | { kind: 'click'; class_uid: ClassOrVoid; pixel: Pixel; question_id?: Id; asked?: Asked }
  | { kind: 'stroke'; class_uid: ClassOrVoid; points: FixedPoint[]; radius: number }
  | { kind: 'erase'; points: FixedPoint[]; radius: number; targets: Id[] }
  | { kind: 'undo'; targets: Id[] }

/** The pixels that a statement is about. */
export interface OpenedImage {
  image_id: Id
  sha256: string
}

/** A UUIDv7: 48 bits of milliseconds, then 74 random bits.
 *
 * @param millis since 1970.
 * @param randomBytes at least 10 random bytes.
 */
export function uuidv7(millis: number, randomBytes: Uint8Array): Id {
  const bytes = new Uint8Array(16)
  let rest = Math.floor(millis)
  for (let index = 5; index >= 0; index -= 1) {
    bytes[index] = rest % 256
    rest = Math.floor(rest / 256)
  }
  bytes.set(randomBytes.subarray(0, 10), 6)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x70
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** A new id of this moment. */
export function newId(): Id {
  return uuidv7(Date.now(), crypto.getRandomValues(new Uint8Array(10)))
}

/** Gives statements of one browser tab their ids, times and running numbers. */
export class EventMaker {
  private nextSeq = 0

  constructor(
    readonly clientId: Id,
    private readonly now: () => Date = () => new Date(),
    private readonly makeId: () => Id = newId,
  ) {}

  make(statement: Statement, image: OpenedImage): LabelEvent {
    const clientSeq = this.nextSeq
    this.nextSeq += 1
    return {
      ...statement,
      event_id: this.makeId(),
      image_id: image.image_id,
      image_sha256: image.sha256,
      client_id: this.clientId,
      client_seq: clientSeq,
      client_time: this.now().toISOString(),
    }
  }
}
