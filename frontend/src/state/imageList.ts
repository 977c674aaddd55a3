/** The images of the open project, window by window: a project may have a hundred thousand. */

import { signal } from '@preact/signals'
import { images as imageApi } from '../api/client'
import type { Id, ImageInfo } from '../api/types'
import { report } from './notices'

export interface ImageList {
  images: readonly ImageInfo[]
  total: number
  /** Where the next window begins; null at the end. */
  nextAfter: number | null
}

const EMPTY: ImageList = { images: [], total: 0, nextAfter: null }
export const imageList = signal<ImageList>(EMPTY)
export const isListLoaded = signal(false)

const WINDOW = 120
let listOf: Id | null = null
let isLoading = false

/** Begin at the first image. */
export async function loadFirstImages(projectId: Id): Promise<void> {
  if (listOf !== projectId) {
    imageList.value = EMPTY
    isListLoaded.value = false
  }
  listOf = projectId
  try {
    const wanted = Math.min(500, Math.max(WINDOW, imageList.value.images.length))
    const page = await imageApi.page(projectId, null, wanted)
    if (listOf !== projectId) return
    imageList.value = { images: page.images, total: page.total, nextAfter: page.next_after }
    isListLoaded.value = true
  } catch (error) {
    report(error)
  }
}

export async function loadMoreImages(projectId: Id): Promise<void> {
  const { nextAfter } = imageList.value
  if (nextAfter === null || isLoading || listOf !== projectId) return
  isLoading = true
  try {
    const page = await imageApi.page(projectId, nextAfter, WINDOW)
    if (listOf !== projectId) return
    const known = new Set(imageList.value.images.map((one) => one.image_id))
    const fresh = page.images.filter((one) => !known.has(one.image_id))
    imageList.value = { images: [...imageList.value.images, ...fresh], total: page.total, nextAfter: page.next_after }
  } catch (error) {
    report(error)
  } finally {
    isLoading = false
  }
}

/** The filmstrip: images around the open one, in order of import. */
export const neighbours = signal<readonly ImageInfo[]>([])

const BEFORE = 24
const AROUND = 64

/** Load the window around an image unless it is there already. */
export async function loadNeighbours(projectId: Id, image: ImageInfo): Promise<void> {
  const at = neighbours.value.findIndex((one) => one.image_id === image.image_id)
  const isWellInside = at > 4 && at < neighbours.value.length - 5
  if (isWellInside) return
  try {
    const after = image.position - BEFORE
    const page = await imageApi.page(projectId, after > 0 ? after : null, AROUND)
    neighbours.value = page.images
  } catch (error) {
    report(error)
  }
}

/** The image `step` places away in the filmstrip, or null at the ends. */
export function neighbourOf(imageId: Id, step: 1 | -1): ImageInfo | null {
  const at = neighbours.value.findIndex((one) => one.image_id === imageId)
  return at < 0 ? null : (neighbours.value[at + step] ?? null)
}
