import { type FixedPoint, imagePoint, type Pixel, type Size } from '../geometry'
import { intersects, rasterClick, rasterStroke, runsByRow, runsWithout, type Spans, subtract } from '../raster'
import type { Frame, Layer } from './layer'

/** Where an eraser went: what it takes from the label that carries it. */
export interface EraserPath {
  readonly points: readonly FixedPoint[]
  /** In sixteenths of a pixel. */
  readonly radius: number
}

interface ShapeBase {
  readonly id: string
  /** "#rrggbb" of its class; null = void. */
  readonly colour: string | null
  readonly erasers?: readonly EraserPath[]
}

export interface ClickShape extends ShapeBase {
  readonly kind: 'click'
  readonly pixel: Pixel
}

export interface StrokeShape extends ShapeBase {
  readonly kind: 'stroke'
  readonly points: readonly FixedPoint[]
  /** In sixteenths of a pixel. */
  readonly radius: number
}

/** Runs of pixels [y, x, length, ...], as of an imported mask: one shape for each of its classes. */
export interface SpansShape extends ShapeBase {
  readonly kind: 'spans'
  readonly spans: readonly number[] | Spans
}

/** A label as it is seen. Immutable: a changed label is a new object, so what is worked out for it can be kept. */
export type LabelShape = ClickShape | StrokeShape | SpansShape

export const VOID_GREY = '#8a8f98'

/** The pixels that a shape still covers: its own without those that its erasers took. */
export function shapeSpans(shape: LabelShape, image: Size): Spans {
  let spans: Spans
  if (shape.kind === 'click') spans = rasterClick(shape.pixel, image)
  else if (shape.kind === 'stroke') spans = rasterStroke(shape.points, shape.radius, image)
  else spans = Int32Array.from(shape.spans)
  for (const eraser of shape.erasers ?? []) {
    if (spans.length === 0) break
    spans = subtract(spans, rasterStroke(eraser.points, eraser.radius, image))
  }
  return spans
}

/** The shapes that a stroke would touch, in their order. */
export function shapesUnder(
  shapes: readonly LabelShape[],
  points: readonly FixedPoint[],
  radius: number,
  image: Size,
): LabelShape[] {
  const stroke = rasterStroke(points, radius, image)
  return shapes.filter((shape) => intersects(shapeSpans(shape, image), stroke))
}

/** Edges between covered and uncovered pixels: [x1, y1, x2, y2, ...] in image pixels. */
export function outline(spans: Spans): number[] {
  const rows = runsByRow(spans)
  const edges: number[] = []
  const none: number[] = []
  for (const [y, runs] of rows) {
    const above = rows.get(y - 1) ?? none
    const below = rows.get(y + 1) ?? none
    for (let i = 0; i < runs.length; i += 2) {
      const from = runs[i] as number
      const to = runs[i + 1] as number
      pushEdges(edges, y, runsWithout(from, to, above))
      pushEdges(edges, y + 1, runsWithout(from, to, below))
      edges.push(from, y, from, y + 1, to, y, to, y + 1)
    }
  }
  return edges
}

function pushEdges(edges: number[], y: number, runs: readonly number[]): void {
  for (let i = 0; i < runs.length; i += 2) edges.push(runs[i] as number, y, runs[i + 1] as number, y)
}

interface Drawn {
  readonly fill: Path2D
  readonly edges: Path2D
  readonly isEmpty: boolean
}

/** Clicks as hollow marks around their pixel, strokes and masks as translucent areas of exactly their pixels. */
export class LabelsLayer implements Layer {
  readonly id = 'labels'
  visible = true
  opacity = 1
  private shapes: readonly LabelShape[] = []
  private image: Size = { width: 0, height: 0 }
  private drawn = new WeakMap<LabelShape, Drawn>()
  private hatching: CanvasPattern | null = null

  setImageSize(image: Size): void {
    if (image.width === this.image.width && image.height === this.image.height) return
    this.image = image
    this.drawn = new WeakMap()
  }

  /** @param shapes the later ones lie on top */
  setShapes(shapes: readonly LabelShape[]): void {
    this.shapes = shapes
  }

  draw(context: CanvasRenderingContext2D, frame: Frame): void {
    for (const shape of this.shapes) if (shape.kind !== 'click') this.drawArea(context, frame, shape)
    for (const shape of this.shapes) if (shape.kind === 'click') this.drawClick(context, frame, shape)
  }

  private drawArea(context: CanvasRenderingContext2D, frame: Frame, shape: LabelShape): void {
    const { fill, edges, isEmpty } = this.paths(shape)
    if (isEmpty) return
    const { scale, originX, originY } = frame.viewport
    const opacity = context.globalAlpha
    context.save()
    context.translate(originX, originY)
    context.scale(scale, scale)
    context.globalAlpha = opacity * 0.45
    context.fillStyle = shape.colour ?? this.hatched(context, scale)
    context.fill(fill)
    context.globalAlpha = opacity
    context.lineCap = 'square'
    context.strokeStyle = 'rgba(0, 0, 0, 0.55)'
    context.lineWidth = 2.5 / scale
    context.stroke(edges)
    context.strokeStyle = shape.colour ?? VOID_GREY
    context.lineWidth = 1.25 / scale
    context.stroke(edges)
    context.restore()
  }

  private drawClick(context: CanvasRenderingContext2D, frame: Frame, shape: ClickShape): void {
    if ((shape.erasers?.length ?? 0) > 0 && this.paths(shape).isEmpty) return
    const { scale } = frame.viewport
    const corner = frame.viewport.toScreen(imagePoint(shape.pixel.x, shape.pixel.y))
    const reach = 24 + scale
    if (corner.x < -reach || corner.y < -reach) return
    if (corner.x > frame.stage.width + reach || corner.y > frame.stage.height + reach) return

    context.beginPath()
    if (scale >= 10) {
      context.rect(corner.x - 2, corner.y - 2, scale + 4, scale + 4)
    } else {
      // The hole is never smaller than the pixel, nor than what an eye can look through.
      const radius = Math.max(5, scale * 0.71 + 2.5)
      context.arc(corner.x + scale / 2, corner.y + scale / 2, radius, 0, 2 * Math.PI)
    }
    // Black, white and the class colour, one inside the other: some of them stands out on any picture.
    context.strokeStyle = 'rgba(0, 0, 0, 0.75)'
    context.lineWidth = 5
    context.stroke()
    context.strokeStyle = '#ffffff'
    context.lineWidth = 3.5
    context.stroke()
    context.strokeStyle = shape.colour ?? VOID_GREY
    context.lineWidth = 2
    if (shape.colour === null) context.setLineDash([3, 2])
    context.stroke()
    context.setLineDash([])
  }

  private paths(shape: LabelShape): Drawn {
    const kept = this.drawn.get(shape)
    if (kept !== undefined) return kept
    const spans = shapeSpans(shape, this.image)
    const fill = new Path2D()
    for (let i = 0; i < spans.length; i += 3) {
      fill.rect(spans[i + 1] as number, spans[i] as number, spans[i + 2] as number, 1)
    }
    const edges = new Path2D()
    const lines = outline(spans)
    for (let i = 0; i < lines.length; i += 4) {
      edges.moveTo(lines[i] as number, lines[i + 1] as number)
      edges.lineTo(lines[i + 2] as number, lines[i + 3] as number)
    }
    const drawn = { fill, edges, isEmpty: spans.length === 0 }
    this.drawn.set(shape, drawn)
    return drawn
  }

  /** Diagonal grey lines of a constant width on the screen, for void. */
  private hatched(context: CanvasRenderingContext2D, scale: number): CanvasPattern | string {
    if (this.hatching === null) {
      const tile = document.createElement('canvas')
      tile.width = 8
      tile.height = 8
      const pen = tile.getContext('2d')
      if (pen === null) return VOID_GREY
      pen.fillStyle = 'rgba(138, 143, 152, 0.55)'
      pen.fillRect(0, 0, 8, 8)
      pen.strokeStyle = '#ffffff'
      pen.lineWidth = 2
      for (const offset of [-8, 0, 8]) {
        pen.moveTo(offset - 1, 9)
        pen.lineTo(offset + 9, -1)
      }
      pen.stroke()
      this.hatching = context.createPattern(tile, 'repeat')
      if (this.hatching === null) return VOID_GREY
    }
    this.hatching.setTransform(new DOMMatrix().scale(1 / scale))
    return this.hatching
  }
}
