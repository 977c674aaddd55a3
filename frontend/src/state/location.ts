/** Which page is shown: the address bar as a signal. */

import { computed, signal } from '@preact/signals'
import type { Id } from '../api/types'

export type Place =
  | { page: 'projects' }
  | { page: 'images'; projectId: Id }
  | { page: 'annotate'; projectId: Id; imageId: Id }
  | { page: 'models'; projectId: Id }
  | { page: 'evaluation'; projectId: Id }
  | { page: 'nowhere' }

/** Read a path. */
export function placeOf(path: string): Place {
  const parts = path.split('/').filter((part) => part !== '')
  const [root, projectId, page, imageId] = parts
  if (root === undefined) return { page: 'projects' }
  if (root !== 'projects' || parts.length > 4) return { page: 'nowhere' }
  if (projectId === undefined) return { page: 'projects' }
  if (page === undefined) return { page: 'images', projectId }
  if (page === 'models' && imageId === undefined) return { page: 'models', projectId }
  if (page === 'evaluation' && imageId === undefined) return { page: 'evaluation', projectId }
  if (page === 'annotate' && imageId !== undefined) return { page: 'annotate', projectId, imageId }
  return { page: 'nowhere' }
}

/** Write a path. */
export function pathOf(place: Place): string {
  switch (place.page) {
    case 'images':
      return `/projects/${place.projectId}`
    case 'annotate':
      return `/projects/${place.projectId}/annotate/${place.imageId}`
    case 'evaluation':
      return `/projects/${place.projectId}/evaluation`
    case 'models':
      return `/projects/${place.projectId}/models`
    default:
      return '/'
  }
}

const path = signal(window.location.pathname)
window.addEventListener('popstate', () => {
  path.value = window.location.pathname
})

export const place = computed(() => placeOf(path.value))

export function go(to: Place, how: 'push' | 'replace' = 'push'): void {
  const next = pathOf(to)
  if (next === path.value) return
  if (how === 'push') window.history.pushState(null, '', next)
  else window.history.replaceState(null, '', next)
  path.value = next
}
