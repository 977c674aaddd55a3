/** What the next questions need is here before they are asked: pictures decoded, maps fetched. */

import { effect } from '@preact/signals'
import type { Id } from '../api/types'
import { image, isReady } from './annotation'
import { watchMaps } from './maps'
import { preparePicture } from './pictures'
import { upcoming } from './questions'

const QUESTIONS_AHEAD = 3

/** Keep the next questions' images at hand until the returned function is called. */
export function keepAhead(): () => void {
  const watched = new Map<Id, () => void>()
  const stop = effect(() => {
    // The image that was asked for first has the road to itself.
    if (!isReady.value) return
    const here = image.value?.image_id
    const wanted = new Set(upcoming.value.slice(0, QUESTIONS_AHEAD).map((one) => one.image_id))
    if (here !== undefined) wanted.delete(here)
    for (const [imageId, unwatch] of watched) {
      if (wanted.has(imageId)) continue
      unwatch()
      watched.delete(imageId)
    }
    for (const imageId of wanted) {
      preparePicture(imageId)
      if (!watched.has(imageId)) watched.set(imageId, watchMaps(imageId, 'ahead'))
    }
  })
  return () => {
    stop()
    for (const unwatch of watched.values()) unwatch()
    watched.clear()
  }
}
