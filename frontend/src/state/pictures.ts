/** Pictures kept ready, decoded and with their labels: those just left and those that come next. */

import { images as imageApi, labels as labelApi } from '../api/client'
import type { Id, ImageInfo, StoredEvent } from '../api/types'

export interface ReadyPicture {
  info: ImageInfo
  bitmap: ImageBitmap
  /** The image's part of the label log, up to `lastSeq`. */
  events: readonly StoredEvent[]
  lastSeq: number
}

/** Oldest first. */
const ready = new Map<Id, ReadyPicture>()
const coming = new Map<Id, Promise<ReadyPicture>>()
/** The picture on the stage is never let go. */
let heldId: Id | null = null
/** How often all was forgotten: what was on its way then may be an old picture. */
let forgettings = 0
const KEPT = 6
/** Beyond so many pixels only the picture on the stage is kept; a decoded pixel takes four bytes. */
const KEPT_PIXELS = 32_000_000

/** The picture, if it is here already. */
export function readyPicture(imageId: Id): ReadyPicture | null {
  return ready.get(imageId) ?? null
}

/** Bring a picture here, or wait for the one that is on its way. `signal` gives up waiting. */
export async function fetchPicture(imageId: Id, signal?: AbortSignal): Promise<ReadyPicture> {
  const onItsWay = coming.get(imageId)
  if (onItsWay !== undefined) {
    try {
      return await onItsWay
    } catch {
      // Whoever asked ahead was out of luck; the one who needs it hears about it.
    }
  }
  return download(imageId, signal)
}

/** Bring a picture here before it is needed. Failing is no harm: it is fetched again when it is needed. */
export function preparePicture(imageId: Id): void {
  if (ready.has(imageId) || coming.has(imageId)) return
  const forgettingsBefore = forgettings
  const whole = download(imageId)
  coming.set(imageId, whole)
  whole
    .then((picture) => {
      if (forgettings === forgettingsBefore && !ready.has(imageId)) keepPicture(picture)
    })
    .catch(() => undefined)
    .finally(() => {
      if (coming.get(imageId) === whole) coming.delete(imageId)
    })
}

async function download(imageId: Id, signal?: AbortSignal): Promise<ReadyPicture> {
  const labelsComing = labelApi.ofImage(imageId, 0)
  // Awaited below; until then a failure of the picture comes first.
  labelsComing.catch(() => undefined)
  const info = await imageApi.get(imageId)
  const bitmap = await createImageBitmap(await imageApi.fetchFile(info, signal))
  const { events, last_seq } = await labelsComing
  return { info, bitmap, events, lastSeq: last_seq }
}

/** Keep a picture, and let go what is too much. */
export function keepPicture(picture: ReadyPicture): void {
  const { image_id } = picture.info
  const known = ready.get(image_id)
  if (known !== undefined && known.bitmap !== picture.bitmap) known.bitmap.close()
  ready.delete(image_id)
  ready.set(image_id, picture)
  let pixels = 0
  let count = 0
  for (const [id, { bitmap }] of [...ready].reverse()) {
    pixels += bitmap.width * bitmap.height
    count += 1
    const isTooMuch = count > KEPT || (count > 1 && pixels > KEPT_PIXELS)
    if (isTooMuch && id !== heldId) letGo(id)
  }
}

/** Name the picture on the stage; null when there is none. */
export function holdPicture(imageId: Id | null): void {
  heldId = imageId
}

/** Pictures may have been replaced: all but the one on the stage are fetched anew. */
export function forgetPictures(): void {
  forgettings += 1
  coming.clear()
  for (const id of [...ready.keys()]) if (id !== heldId) letGo(id)
}

function letGo(imageId: Id): void {
  ready.get(imageId)?.bitmap.close()
  ready.delete(imageId)
}
