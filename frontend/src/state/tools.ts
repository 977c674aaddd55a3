/** The tool in hand, the pixel under the pointer, and the editor that is mounted. */

import { computed, signal } from '@preact/signals'
import type { Editor, ToolId } from '../canvas/editor'
import { saidAt } from './annotation'
import { overlay } from './maps'
import { prefer, preferences } from './preferences'
import { isBlind } from './questions'

export const tool = signal<ToolId>('click')
/** The tool before the eyedropper, which is given back after one pick. */
let toolBefore: ToolId = 'click'
export const editor = signal<Editor | null>(null)
/** The pixel under the pointer; null outside the image. */
export const pointer = signal<{ x: number; y: number } | null>(null)
/** CSS pixels per image pixel. */
export const scale = signal(1)
export const isPeeking = signal(false)

export function takeTool(id: ToolId): void {
  if (tool.value !== 'eyedropper') toolBefore = tool.value
  tool.value = id
}

export function giveBackTool(): void {
  tool.value = toolBefore
}

export const MIN_RADIUS = 0.5
export const MAX_RADIUS = 128

/** Make the brush larger (+) or smaller (-): by half a pixel when small, by a tenth when large. */
export function resizeBrush(steps: number): void {
  const { brushRadius } = preferences.value
  const wanted = brushRadius + steps * Math.max(0.5, brushRadius * 0.1)
  prefer({ brushRadius: Math.min(MAX_RADIUS, Math.max(MIN_RADIUS, Math.round(wanted * 2) / 2)) })
}

/** Make the prediction stronger (+) or weaker (-) by tenths. */
export function changeOpacity(steps: number): void {
  const wanted = Math.round(preferences.value.predictionOpacity * 10 + steps) / 10
  prefer({ predictionOpacity: Math.min(1, Math.max(0, wanted)) })
}

/** What the model says about a pixel; null without a map. */
export function predictedAt(pixel: { x: number; y: number }): { classUid: string; confidence: number } | null {
  const shown = overlay.value
  if (shown === null || pixel.x >= shown.map.width || pixel.y >= shown.map.height) return null
  const at = pixel.y * shown.map.width + pixel.x
  const classUid = shown.map.class_uids[shown.prediction[at] ?? -1]
  return classUid === undefined ? null : { classUid, confidence: (shown.confidence[at] ?? 0) / 255 }
}

/** Everything known about the pixel under the pointer. */
export const readOut = computed(() => {
  const pixel = pointer.value
  if (pixel === null) return null
  return { pixel, said: saidAt(pixel), predicted: isBlind.value ? null : predictedAt(pixel) }
})
