/** What the model thinks of the open image. The old map stays until the new one is complete: nothing flashes. */

import { computed, signal } from '@preact/signals'
import { maps as mapApi } from '../api/client'
import { isGone, Problem } from '../api/problems'
import type { Hint, Id, ImageMap } from '../api/types'
import { image } from './annotation'
import { report } from './notices'
import { modelVersions, whenHinted } from './project'
import { newestSeq } from './sync'

export interface Overlay {
  map: ImageMap
  /** Class indices into `map.class_uids`, row by row. */
  prediction: Uint8Array
  /** round(255 * confidence), row by row. */
  confidence: Uint8Array
}

/** Newest maps of the image on the stage and of the one on its way to it, newest first. */
const overlays = signal<readonly Overlay[]>([])
const KEPT = 2
const overlayOfImage = (imageId: Id | undefined) => overlays.value.find((one) => one.map.image_id === imageId) ?? null

function keepOverlay(fresh: Overlay): void {
  const others = overlays.value.filter((one) => one.map.image_id !== fresh.map.image_id)
  overlays.value = [fresh, ...others].slice(0, KEPT)
}

/** What the model thinks of the image on the stage. */
export const overlay = computed(() => overlayOfImage(image.value?.image_id))
/** Labels came since the network that drew this was trained. */
export const isStale = computed(() => overlay.value !== null && overlay.value.map.label_seq < newestSeq.value)

/** Who drew the overlay, for people. */
export const overlaySource = computed(() => {
  const map = overlay.value?.map
  if (map === undefined) return null
  if (map.model_version === null) return map.step > 0 ? `early look, step ${map.step}` : 'early look'
  const version = modelVersions.value.find((one) => one.version === map.model_version)
  const labels =
    version === undefined ? '' : `, ${version.label_count} ${version.label_count === 1 ? 'label' : 'labels'}`
  return `version ${map.model_version}${labels}`
})

/** Keep the overlay of an image fresh until the returned function is called. */
export function watchMaps(imageId: Id): () => void {
  const aborter = new AbortController()
  let isFetching = false
  let wanted: Id | 'newest' | null = null

  // One fetch at a time, then the newest wish: hints that come faster than planes must not starve the picture.
  const fetchNewest = async (mapId: Id | 'newest') => {
    wanted = mapId
    if (isFetching) return
    isFetching = true
    while (wanted !== null && !aborter.signal.aborted) {
      const next: Id | 'newest' = wanted
      wanted = null
      try {
        const fresh =
          next === 'newest'
            ? await newestOverlay(imageId, aborter.signal)
            : await overlayOf(imageId, next, aborter.signal)
        if (!aborter.signal.aborted && fresh !== null) keepOverlay(fresh)
      } catch (error) {
        // An image that is gone says so on the stage.
        if (!aborter.signal.aborted && !isGone(error)) report(error)
      }
    }
    isFetching = false
  }

  void fetchNewest('newest')
  const stopHints = whenHinted(
    (hint: Hint) => {
      if (hint.kind === 'map' && hint.image_id === imageId) void fetchNewest(hint.map.map_id)
      else if (hint.kind === 'version') void fetchNewest('newest')
    },
    () => void fetchNewest('newest'),
  )
  return () => {
    aborter.abort()
    stopHints()
  }
}

async function newestOverlay(imageId: Id, signal: AbortSignal): Promise<Overlay | null> {
  const [map] = await mapApi.of(imageId, signal)
  if (map === undefined || map.map_id === overlayOfImage(imageId)?.map.map_id) return null
  return withPlanes(map, signal)
}

/** The hint names the map, so that its planes come at the same time as what is said about it. */
async function overlayOf(imageId: Id, mapId: Id, signal: AbortSignal): Promise<Overlay | null> {
  try {
    const [maps, prediction, confidence] = await Promise.all([
      mapApi.of(imageId, signal),
      mapApi.plane(imageId, mapId, 'prediction', signal),
      mapApi.plane(imageId, mapId, 'confidence', signal),
    ])
    const map = maps.find((one) => one.map_id === mapId)
    if (map !== undefined) return complete({ map, prediction, confidence })
  } catch (error) {
    // A newer map took its place between the hint and the request.
    if (!(error instanceof Problem) || error.status !== 404) throw error
  }
  return newestOverlay(imageId, signal)
}

async function withPlanes(map: ImageMap, signal: AbortSignal): Promise<Overlay | null> {
  try {
    const [prediction, confidence] = await Promise.all([
      mapApi.plane(map.image_id, map.map_id, 'prediction', signal),
      mapApi.plane(map.image_id, map.map_id, 'confidence', signal),
    ])
    return complete({ map, prediction, confidence })
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null
    throw error
  }
}

function complete(fresh: Overlay): Overlay | null {
  const pixels = fresh.map.width * fresh.map.height
  return fresh.prediction.length === pixels && fresh.confidence.length === pixels ? fresh : null
}
