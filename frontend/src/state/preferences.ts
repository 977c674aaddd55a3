/** How this person likes to see things; kept in this browser. */

import { effect, signal } from '@preact/signals'

export interface Preferences {
  theme: 'system' | 'light' | 'dark'
  /** 0..1 */
  predictionOpacity: number
  showLabels: boolean
  showPrediction: boolean
  showUncertainty: boolean
  showImage: boolean
  uncertaintyMode: 'heat' | 'hard'
  /** Confidence below which a pixel counts as hard, 0..1. */
  threshold: number
  /** In image pixels. */
  brushRadius: number
}

export const DEFAULTS: Preferences = {
  theme: 'system',
  predictionOpacity: 0.5,
  showLabels: true,
  showPrediction: true,
  showUncertainty: false,
  showImage: true,
  uncertaintyMode: 'hard',
  threshold: 0.7,
  brushRadius: 6,
}

const KEY = 'recolabel-preferences'

/** Read what an earlier visit left; values of a wrong kind fall back to their default. */
export function readPreferences(text: string | null): Preferences {
  let kept: unknown = null
  try {
    kept = JSON.parse(text ?? '{}')
  } catch {
    return { ...DEFAULTS }
  }
  const result: Record<string, unknown> = { ...DEFAULTS }
  if (typeof kept === 'object' && kept !== null) {
    for (const [name, value] of Object.entries(kept)) {
      if (name in result && typeof value === typeof result[name]) result[name] = value
    }
  }
  return result as unknown as Preferences
}

function stored(): string | null {
  try {
    return window.localStorage.getItem(KEY)
  } catch {
    return null
  }
}

export const preferences = signal<Preferences>(readPreferences(stored()))

export function prefer(change: Partial<Preferences>): void {
  preferences.value = { ...preferences.value, ...change }
}

effect(() => {
  const { theme } = preferences.value
  if (theme === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme
  try {
    window.localStorage.setItem(KEY, JSON.stringify(preferences.value))
  } catch {
    // A private window may refuse; the preferences then last as long as the page.
  }
})
