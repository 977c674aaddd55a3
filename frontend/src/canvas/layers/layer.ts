import type { Size } from '../geometry'
import type { Viewport } from '../viewport'

/** What a layer needs to know about the frame that it draws. */
export interface Frame {
  readonly viewport: Viewport
  /** The stage in CSS pixels. */
  readonly stage: Size
  /** Device pixels per CSS pixel. */
  readonly pixelRatio: number
}

/**
 * One thing that is seen on the stage. It draws from values given to it and never fetches.
 *
 * `draw` gets a context whose unit is the CSS pixel; the stage has set `globalAlpha` to the layer's opacity and
 * restores everything else afterwards.
 */
export interface Layer {
  readonly id: string
  visible: boolean
  /** 0 to 1. */
  opacity: number
  draw(context: CanvasRenderingContext2D, frame: Frame): void
}

/** A canvas that is never shown, for pictures that a layer keeps ready; null where there is no 2D drawing. */
export function offscreen(size: Size): { canvas: HTMLCanvasElement; context: CanvasRenderingContext2D } | null {
  const canvas = document.createElement('canvas')
  canvas.width = Math.max(1, Math.round(size.width))
  canvas.height = Math.max(1, Math.round(size.height))
  const context = canvas.getContext('2d')
  return context === null ? null : { canvas, context }
}
