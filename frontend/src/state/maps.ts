/** What the model thinks of the open image. The old map stays until the new one is complete: nothing flashes. */

import { computed, effect, signal } from '@preact/signals'
import { maps as mapApi } from '../api/client'
import { isGone, Problem } from '../api/problems'
import type { Hint, Id, ImageMap } from '../api/types'
import { VOID } from '../labels/events'
import { countsHere, image } from './annotation'
import { report } from './notices'
import { classCounts, classes, whenHinted } from './project'
import { newestSeq } from './sync'
import { mark } from './timing'

export interface Overlay {
  map: ImageMap
  /** Class indices into `map.class_uids`, row by row. */
  prediction: Uint8Array
  /** round(255 * confidence), row by row. */
  confidence: Uint8Array
}

/** Newest maps of the image on the stage and of those that may come to it next, newest first. */
const overlays = signal<readonly Overlay[]>([])
const KEPT = 6
/** Beyond so many bytes only the image on the stage and the newest one are kept: a plane may be 100 megapixels. */
const KEPT_BYTES = 128 * 1024 ** 2
export const overlayOf = (imageId: Id | undefined): Overlay | null =>
  overlays.value.find((one) => one.map.image_id === imageId) ?? null

function keepOverlay(fresh: Overlay): void {
  const onStage = image.peek()?.image_id
  let bytes = 0
  overlays.value = [fresh, ...overlays.value.filter((one) => one.map.image_id !== fresh.map.image_id)].filter(
    (one, index) => {
      bytes += 2 * one.prediction.length
      return index === 0 || one.map.image_id === onStage || (index < KEPT && bytes <= KEPT_BYTES)
    },
  )
}

function forgetOverlay(imageId: Id): void {
  overlays.value = overlays.value.filter((one) => one.map.image_id !== imageId)
}

/**
 * Whether the server had `map` before `known`. It keeps one map an image and decides which may replace it: after a roll
 * back that is one that knows fewer labels.
 */
export const isOlder = (map: ImageMap, known: ImageMap): boolean =>
  Date.parse(map.created_at) < Date.parse(known.created_at)

/** What the model thinks of the image on the stage. */
export const overlay = computed(() => overlayOf(image.value?.image_id))
/** Labels came that the network or head which drew this does not know. */
export const isStale = computed(() => overlay.value !== null && overlay.value.map.label_seq < newestSeq.value)

/** Who drew the overlay, for people. */
export const overlaySource = computed(() => (overlay.value === null ? null : sourceOf(overlay.value.map)))

export function sourceOf(map: ImageMap): string {
  const clicks = `${map.label_count.toLocaleString('en')} ${map.label_count === 1 ? 'click' : 'clicks'}`
  if (map.drawn_by === 'training') return map.step > 0 ? `training, step ${map.step.toLocaleString('en')}` : 'training'
  if (map.drawn_by === 'version') return `version ${map.model_version}, ${clicks}`
  return map.model_version === null ? `fast head, ${clicks}` : `fast head on version ${map.model_version}, ${clicks}`
}

/** What is wanted before anything can be drawn; null when nothing is. */
export const whatIsMissing = computed(() => {
  if (overlay.value !== null) return null
  const labelled = classes.value.filter(
    ({ class_uid }) => (classCounts.value.get(class_uid) ?? 0) > 0 || (countsHere.value.get(class_uid) ?? 0) > 0,
  )
  return missingSentence(classes.value.length, labelled.length, (countsHere.value.get(VOID) ?? 0) > 0)
})

/** @param hasVoid something was said here, but only that no class fits */
export function missingSentence(classCount: number, labelledCount: number, hasVoid: boolean): string | null {
  if (classCount < 2) return 'Two classes are needed: add one in the list on the left.'
  if (labelledCount === 1) return 'Click a pixel of a second class, and the picture answers.'
  if (labelledCount > 1) return null
  if (hasVoid) return 'Void alone teaches nothing: click pixels of two classes, and the picture answers.'
  return 'No class has a click yet. Click a pixel of one class, then of a second one, and the picture answers.'
}

const LATE_MS = 5000
/** The map that the fast head owes a newer one; null when it owes nothing. */
const overdue = computed(() => {
  const map = overlay.value?.map
  return map?.drawn_by === 'fast head' && isStale.value ? map.map_id : null
})
/** The fast head has left labels unanswered for a while. */
export const isLate = signal(false)

effect(() => {
  isLate.value = false
  if (overdue.value === null) return
  const timer = setTimeout(() => {
    isLate.value = true
  }, LATE_MS)
  return () => clearTimeout(timer)
})

/**
 * Keep the overlay of an image fresh until the returned function is called.
 *
 * @param urgency `ahead` for an image that is not looked at yet: its bytes leave the way to the others.
 */
export function watchMaps(imageId: Id, urgency: 'now' | 'ahead' = 'now'): () => void {
  const aborter = new AbortController()
  const priority = urgency === 'now' ? 'high' : 'low'
  let isFetching = false
  let wanted: ImageMap | 'newest' | null = null
  /** How often the image got other pixels: a map of the pixels before is worth nothing. */
  let replacements = 0

  const get = async (wish: ImageMap | 'newest'): Promise<Overlay | null> => {
    const { signal } = aborter
    if (wish !== 'newest') {
      const fresh = await withPlanes(wish, signal, priority)
      // Null: a newer map took its place between the hint and the request.
      if (fresh !== null) return fresh
    }
    const [newest] = await mapApi.of(imageId, signal)
    return newest === undefined || !isNews(newest) ? null : withPlanes(newest, signal, priority)
  }

  // One fetch at a time, then the newest wish: hints that come faster than planes must not starve the picture.
  const fetchNewest = async (wish: ImageMap | 'newest') => {
    if (wish !== 'newest' && wanted !== null && wanted !== 'newest' && isOlder(wish, wanted)) return
    wanted = wish
    if (isFetching) return
    isFetching = true
    while (wanted !== null && !aborter.signal.aborted) {
      const next: ImageMap | 'newest' = wanted
      wanted = null
      const replacementsBefore = replacements
      try {
        const fresh = await get(next)
        if (aborter.signal.aborted || fresh === null || replacements !== replacementsBefore) continue
        if (!isNews(fresh.map)) continue
        if (urgency === 'now') mark('fetched', { mapId: fresh.map.map_id, labelSeq: fresh.map.label_seq })
        keepOverlay(fresh)
      } catch (error) {
        // An image that is gone says so on the stage.
        if (!aborter.signal.aborted && !isGone(error) && urgency === 'now') report(error)
      }
    }
    isFetching = false
  }

  void fetchNewest('newest')
  const stopHints = whenHinted(
    (hint: Hint) => {
      if (hint.kind !== 'map' || hint.image_id !== imageId || !isNews(hint.map)) return
      if (urgency === 'now') mark('hinted', { mapId: hint.map.map_id, labelSeq: hint.map.label_seq })
      void fetchNewest(hint.map)
    },
    () => void fetchNewest('newest'),
  )
  let pixels: string | null = null
  const stopLooking = effect(() => {
    if (image.value?.image_id !== imageId) return
    const { sha256 } = image.value
    if (pixels !== null && pixels !== sha256) {
      replacements += 1
      forgetOverlay(imageId)
    }
    pixels = sha256
  })
  return () => {
    aborter.abort()
    stopHints()
    stopLooking()
  }
}

/** A map that arrives late never takes the place of a newer one. */
function isNews(map: ImageMap): boolean {
  const known = overlays.peek().find((one) => one.map.image_id === map.image_id)?.map
  return known === undefined || (known.map_id !== map.map_id && !isOlder(map, known))
}

/** The map with its planes; null when it is gone. A map never changes, so its planes are fetched without asking. */
async function withPlanes(map: ImageMap, signal: AbortSignal, priority: RequestPriority): Promise<Overlay | null> {
  try {
    const [prediction, confidence] = await Promise.all([
      mapApi.plane(map.image_id, map.map_id, 'prediction', signal, priority),
      mapApi.plane(map.image_id, map.map_id, 'confidence', signal, priority),
    ])
    const pixels = map.width * map.height
    return prediction.length === pixels && confidence.length === pixels ? { map, prediction, confidence } : null
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null
    throw error
  }
}
