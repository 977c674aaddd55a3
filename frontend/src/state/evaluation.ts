/** How good the open project's model is, kept fresh while somebody looks at it. */

import { signal } from '@preact/signals'
import { evaluations } from '../api/client'
import { isGone } from '../api/problems'
import type { Evaluation, Id } from '../api/types'
import { report } from './notices'
import { whenHinted } from './project'

export const evaluation = signal<Evaluation | null>(null)

/** Numbers move slowly: not at every click, but soon after a version or a map. */
const PAUSE_MS = 2_000

/** Keep `evaluation` fresh until the returned function is called. */
export function watchEvaluation(projectId: Id): () => void {
  let isOver = false
  let soon: ReturnType<typeof setTimeout> | undefined
  const refresh = async () => {
    soon = undefined
    try {
      const fresh = await evaluations.get(projectId)
      if (!isOver) evaluation.value = fresh
    } catch (error) {
      if (!isOver && !isGone(error)) report(error)
    }
  }
  const refreshSoon = () => {
    soon ??= setTimeout(() => void refresh(), PAUSE_MS)
  }
  evaluation.value = null
  void refresh()
  const stop = whenHinted(
    (hint) => {
      if (hint.kind !== 'job') refreshSoon()
    },
    () => void refresh(),
  )
  return () => {
    isOver = true
    clearTimeout(soon)
    stop()
  }
}
