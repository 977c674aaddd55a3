/** The images of the open project, window by window: a project may have a hundred thousand. */

import { signal } from '@preact/signals'
import { images as imageApi } from '../api/client'
import { isGone } from '../api/problems'
import type { Hint, Id, ImageInfo } from '../api/types'
import { report } from './notices'
import { whenHinted } from './project'

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
    // A project that is gone has a page that says so.
    if (!isGone(error)) report(error)
  }
}

const REFRESH_MS = 400

/** Load the first images and keep them fresh until the returned function is called; many hints at once ask once. */
export function watchImages(projectId: Id, matters: (kind: Hint['kind']) => boolean): () => void {
  void loadFirstImages(projectId)
  let timer: ReturnType<typeof setTimeout> | undefined
  const refreshSoon = () => {
    timer ??= setTimeout(() => {
      timer = undefined
      void loadFirstImages(projectId)
    }, REFRESH_MS)
  }
  const stop = whenHinted((hint) => {
    if (matters(hint.kind)) refreshSoon()
  }, refreshSoon)
  return () => {
    clearTimeout(timer)
    stop()
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

/** Whether the window reaches the project's first and last image. */
let reach = { isStart: false, isEnd: false }
const NEAR_EDGE = 4

let loadingNeighbours: Promise<void> = Promise.resolve()

/** Load the window around an image unless it is there already. */
export function loadNeighbours(projectId: Id, image: ImageInfo): Promise<void> {
  loadingNeighbours = loadingNeighbours.then(() => loadWindow(projectId, image))
  return loadingNeighbours
}

async function loadWindow(projectId: Id, image: ImageInfo): Promise<void> {
  const at = neighbours.value.findIndex((one) => one.image_id === image.image_id)
  const known = neighbours.value[at]
  if (known !== undefined && known.sha256 !== image.sha256) {
    neighbours.value = neighbours.value.map((one) => (one === known ? image : one))
  }
  const hasBefore = reach.isStart || at > NEAR_EDGE
  const hasAfter = reach.isEnd || at < neighbours.value.length - 1 - NEAR_EDGE
  if (at >= 0 && hasBefore && hasAfter) return
  try {
    const after = image.position > BEFORE ? image.position - BEFORE : null
    const page = await imageApi.page(projectId, after, AROUND)
    neighbours.value = page.images
    reach = { isStart: after === null, isEnd: page.next_after === null }
  } catch (error) {
    report(error)
  }
}

export function forgetNeighbours(): void {
  neighbours.value = []
  reach = { isStart: false, isEnd: false }
}

/** Images came: there may be more behind the window's end. */
export function expectMoreNeighbours(): void {
  reach = { ...reach, isEnd: false }
}

/** The strip shows what was just done without asking the server again. */
export function setLabelCount(imageId: Id, count: number): void {
  const known = neighbours.value.find((one) => one.image_id === imageId)
  if (known === undefined || known.label_count === count) return
  neighbours.value = neighbours.value.map((one) => (one === known ? { ...one, label_count: count } : one))
}

/** The image `step` places away in the filmstrip, or null at the ends. */
export async function neighbourOf(imageId: Id, step: 1 | -1): Promise<ImageInfo | null> {
  await loadingNeighbours
  const at = neighbours.value.findIndex((one) => one.image_id === imageId)
  return at < 0 ? null : (neighbours.value[at + step] ?? null)
}
