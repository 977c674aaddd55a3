/** An image as chosen versions see it: asked of the server, which may have to draw it first. */

import { versionMaps as api } from '../api/client'
import { sentenceOf } from '../api/problems'
import type { Hint, Id, ImageMap, Job } from '../api/types'
import { isActive, whenHinted } from './project'

export type VersionView =
  | { readonly kind: 'asking' }
  /** A small job draws it; `isQueued`: the worker does something else still. */
  | { readonly kind: 'drawing'; readonly isQueued: boolean }
  | { readonly kind: 'ready'; readonly map: ImageMap; readonly prediction: Uint8Array }
  | { readonly kind: 'failed'; readonly sentence: string }

const GAVE_UP = 'This version could not draw the picture.'

/** Ask for an image as a version sees it and tell each change, until the returned function is called. */
export function watchVersionMap(imageId: Id, version: number, take: (view: VersionView) => void): () => void {
  const aborter = new AbortController()
  let awaited: Id | null = null
  let isAsking = false
  let isAskedAgain = false

  const ask = async () => {
    if (isAsking) {
      isAskedAgain = true
      return
    }
    isAsking = true
    do {
      isAskedAgain = false
      try {
        const { map, job } = await api.ask(imageId, version)
        if (aborter.signal.aborted) return
        awaited = job?.job_id ?? null
        if (map !== null) {
          const prediction = await api.prediction(imageId, version, aborter.signal)
          if (prediction.length !== map.width * map.height) throw new Error(GAVE_UP)
          take({ kind: 'ready', map, prediction })
        } else if (job !== null) take({ kind: 'drawing', isQueued: job.state === 'queued' })
      } catch (error) {
        if (aborter.signal.aborted) return
        take({ kind: 'failed', sentence: sentenceOf(error) })
      }
    } while (isAskedAgain)
    isAsking = false
  }

  const follow = (job: Job) => {
    if (isActive(job)) take({ kind: 'drawing', isQueued: job.state === 'queued' })
    else if (job.state === 'succeeded') void ask()
    else {
      awaited = null
      take({ kind: 'failed', sentence: job.error ?? GAVE_UP })
    }
  }

  take({ kind: 'asking' })
  void ask()
  const stopHints = whenHinted(
    (hint: Hint) => {
      // Hints of a job may come before the answer that names it; asking again costs little.
      if (hint.kind !== 'job' || hint.job.spec.kind !== 'predict') return
      const { spec } = hint.job
      if (spec.image_id !== imageId || spec.model_version !== version) return
      if (hint.job.job_id === awaited) follow(hint.job)
      else if (isAsking) isAskedAgain = true
    },
    () => {
      if (awaited !== null) void ask()
    },
  )
  return () => {
    aborter.abort()
    stopHints()
  }
}

/** Share of the pixels, 0..1, where two maps of one image name different classes; null when they do not fit. */
export function differenceOf(
  a: { map: ImageMap; prediction: Uint8Array },
  b: { map: ImageMap; prediction: Uint8Array },
): number | null {
  const count = a.prediction.length
  if (count === 0 || count !== b.prediction.length) return null
  const inA = b.map.class_uids.map((uid) => a.map.class_uids.indexOf(uid))
  let different = 0
  for (let i = 0; i < count; i++) if (inA[b.prediction[i] as number] !== a.prediction[i]) different += 1
  return different / count
}
