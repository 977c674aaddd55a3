/** How many images of the project have a prediction. */

import { computed } from '@preact/signals'
import type { Id, Job } from '../api/types'
import { type ImageList, imageList, isListLoaded } from './imageList'
import { jobs, workingVersion } from './project'

export interface Predicted {
  count: number
  total: number
  /** Not all images were looked at: the count is the least that it can be. */
  isAtLeast: boolean
}

/**
 * Count the images that have a map.
 *
 * The list's images say it themselves. A long list is loaded in part; then what the predict jobs of the version
 * that the project works with have drawn counts as well, whichever images those are.
 */
export function countPredicted(list: ImageList, ofProject: readonly Job[], workingVersion: number | null): Predicted {
  const seen = list.images.filter((one) => one.uncertainty !== null).length
  if (list.nextAfter === null) return { count: seen, total: list.total, isAtLeast: false }
  const drawn = ofProject
    .filter(({ spec }) => spec.kind === 'predict' && spec.model_version === workingVersion && spec.image_id == null)
    .map((job) => job.progress.done)
  const count = Math.min(list.total, Math.max(seen, ...drawn))
  return { count, total: list.total, isAtLeast: count < list.total }
}

/** Null until the images are known. `projectId`: the list may still be that of the project before. */
export function predictedOf(projectId: Id): Predicted | null {
  const isOther = imageList.value.images.some((one) => one.project_id !== projectId)
  return isListLoaded.value && !isOther ? predicted.value : null
}

const predicted = computed(() => countPredicted(imageList.value, jobs.value, workingVersion.value))
