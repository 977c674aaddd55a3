import { type ImagePoint, imagePoint, type Pixel } from '../geometry'
import type { Frame, Layer } from './layer'

/** A stroke that is being drawn. */
export interface Draft {
  readonly kind: 'stroke' | 'erase'
  readonly points: readonly ImagePoint[]
  /** In image pixels. */
  readonly radius: number
}

/** What follows the hand: brush outline, pixel under the cursor, stroke in progress; and the pixel in question. */
export class CursorLayer implements Layer {
  readonly id = 'cursor'
  visible = true
  opacity = 1
  /** Where the pointer is; null when it is not over the stage. */
  pointer: ImagePoint | null = null
  /** Brush radius in image pixels; null for tools that take one pixel. */
  radius: number | null = null
  /** "#rrggbb" of the class in hand; null = void. */
  colour: string | null = null
  draft: Draft | null = null
  question: Pixel | null = null

  draw(context: CanvasRenderingContext2D, frame: Frame): void {
    if (this.draft !== null) this.drawDraft(context, frame, this.draft)
    if (this.question !== null) drawQuestion(context, frame, this.question)
    if (this.pointer === null) return
    if (this.radius !== null) this.drawBrush(context, frame, this.pointer, this.radius)
    else if (frame.viewport.scale >= 6) drawCell(context, frame, this.pointer)
  }

  private drawDraft(context: CanvasRenderingContext2D, frame: Frame, draft: Draft): void {
    const first = draft.points[0]
    if (first === undefined) return
    context.save()
    context.beginPath()
    const start = frame.viewport.toScreen(first)
    context.moveTo(start.x, start.y)
    // A tap has no length; a hair of a line makes the round cap appear.
    if (draft.points.length === 1) context.lineTo(start.x + 0.01, start.y)
    for (const point of draft.points.slice(1)) {
      const next = frame.viewport.toScreen(point)
      context.lineTo(next.x, next.y)
    }
    context.lineCap = 'round'
    context.lineJoin = 'round'
    context.lineWidth = Math.max(1.5, 2 * draft.radius * frame.viewport.scale)
    context.globalAlpha = draft.kind === 'erase' ? 0.4 : 0.55
    context.strokeStyle = draft.kind === 'erase' ? '#ffffff' : (this.colour ?? '#8a8f98')
    context.stroke()
    context.restore()
  }

  private drawBrush(context: CanvasRenderingContext2D, frame: Frame, at: ImagePoint, radius: number): void {
    const centre = frame.viewport.toScreen(at)
    context.beginPath()
    context.arc(centre.x, centre.y, Math.max(1.5, radius * frame.viewport.scale), 0, 2 * Math.PI)
    strokeTwice(context, 'rgba(0, 0, 0, 0.8)', 3, '#ffffff', 1.5)
  }
}

/** The pixel under the cursor, as a thin frame outside of it. */
function drawCell(context: CanvasRenderingContext2D, frame: Frame, at: ImagePoint): void {
  const { scale } = frame.viewport
  const corner = frame.viewport.toScreen(imagePoint(Math.floor(at.x), Math.floor(at.y)))
  context.beginPath()
  context.rect(corner.x - 0.5, corner.y - 0.5, scale + 1, scale + 1)
  strokeTwice(context, 'rgba(0, 0, 0, 0.7)', 2, 'rgba(255, 255, 255, 0.9)', 1)
}

/**
 * A cross-hair that stops short of the pixel on every side, and a frame around it. From ten screen pixels per image pixel
 * on, all of it lies within three image pixels.
 */
function drawQuestion(context: CanvasRenderingContext2D, frame: Frame, pixel: Pixel): void {
  const { scale } = frame.viewport
  const corner = frame.viewport.toScreen(imagePoint(pixel.x, pixel.y))
  const x = corner.x + scale / 2
  const y = corner.y + scale / 2
  const hole = Math.max(7, scale / 2 + 4)
  const arm = Math.max(hole + 6, 1.5 * scale)
  context.beginPath()
  context.rect(x - hole, y - hole, 2 * hole, 2 * hole)
  for (const [dx, dy] of [
    [1, 0],
    [-1, 0],
    [0, 1],
    [0, -1],
  ] as const) {
    context.moveTo(x + dx * hole, y + dy * hole)
    context.lineTo(x + dx * arm, y + dy * arm)
  }
  strokeTwice(context, 'rgba(0, 0, 0, 0.85)', 5, '#ffffff', 2.5)
}

/** Dark under light: visible on any picture. */
function strokeTwice(
  context: CanvasRenderingContext2D,
  under: string,
  underWidth: number,
  over: string,
  overWidth: number,
): void {
  context.strokeStyle = under
  context.lineWidth = underWidth
  context.stroke()
  context.strokeStyle = over
  context.lineWidth = overWidth
  context.stroke()
}
