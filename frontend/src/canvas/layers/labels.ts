import { type FixedPoint, imagePoint, type Pixel, type Rect, type Size } from '../geometry'
import { boundsOf, outline } from '../outline'
import { rasterClick, rasterRuns, rasterStroke, type Spans, subtract } from '../raster'
import { ClickMarks, MARK_REACH, VOID_GREY } from './clickMark'
import type { Frame, Layer } from './layer'

/** Where an eraser went: what it takes from the label that carries it. */
export interface EraserPath {
  readonly points: readonly FixedPoint[]
  /** In sixteenths of a pixel. */
  readonly radius: number
}

interface ShapeBase {
  /** Its own among the shapes on the stage. */
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

/** Runs of pixels [y, x, length, ...] in any order, as of an imported mask: one shape for each of its classes. */
export interface SpansShape extends ShapeBase {
  readonly kind: 'spans'
  readonly spans: ArrayLike<number>
}

/** A label as it is seen. Immutable: points and erasers that changed are new arrays. */
export type LabelShape = ClickShape | StrokeShape | SpansShape

/** The pixels that a shape still covers: its own without those that its erasers took. */
export function shapeSpans(shape: LabelShape, image: Size): Spans {
  let spans: Spans
  if (shape.kind === 'click') spans = rasterClick(shape.pixel, image)
  else if (shape.kind === 'stroke') spans = rasterStroke(shape.points, shape.radius, image)
  else spans = rasterRuns(shape.spans, image)
  for (const eraser of shape.erasers ?? []) {
    if (spans.length === 0) break
    spans = subtract(spans, rasterStroke(eraser.points, eraser.radius, image))
  }
  return spans
}

/** Whether two shapes cover the same pixels, as far as it can be told without looking at their points. */
function coversSame(a: LabelShape, b: LabelShape): boolean {
  const [ours, theirs] = [a.erasers ?? [], b.erasers ?? []]
  if (ours.length !== theirs.length) return false
  if (!ours.every((eraser, i) => eraser.points === theirs[i]?.points && eraser.radius === theirs[i]?.radius))
    return false
  if (a.kind === 'click') return b.kind === 'click' && a.pixel.x === b.pixel.x && a.pixel.y === b.pixel.y
  if (a.kind === 'stroke') return b.kind === 'stroke' && a.points === b.points && a.radius === b.radius
  return b.kind === 'spans' && a.spans === b.spans
}

/** Whether something of the rectangle, or of a mark around it, is on the stage. */
function isInSight(bounds: Rect, frame: Frame): boolean {
  const { viewport, stage } = frame
  const left = bounds.x * viewport.scale + viewport.originX
  const top = bounds.y * viewport.scale + viewport.originY
  return (
    left < stage.width + MARK_REACH &&
    top < stage.height + MARK_REACH &&
    left + bounds.width * viewport.scale > -MARK_REACH &&
    top + bounds.height * viewport.scale > -MARK_REACH
  )
}

interface Drawn {
  readonly shape: LabelShape
  readonly fill: Path2D
  readonly edges: readonly number[]
  /** In image pixels; null when no pixel is left. */
  readonly bounds: Rect | null
  /** The edges as wide as they are drawn at one scale; remade when the scale changes. */
  borders: { readonly scale: number; readonly dark: Path2D; readonly coloured: Path2D } | null
}

/** Edges as filled rectangles: many times faster than stroking as many short lines. */
function bordersAt(drawn: Drawn, scale: number): NonNullable<Drawn['borders']> {
  if (drawn.borders?.scale !== scale) {
    drawn.borders = { scale, dark: border(drawn.edges, 1.25 / scale), coloured: border(drawn.edges, 0.625 / scale) }
  }
  return drawn.borders
}

/** @param reach how far the border goes to each side of its edges, in image pixels */
function border(edges: readonly number[], reach: number): Path2D {
  const path = new Path2D()
  for (let i = 0; i < edges.length; i += 4) {
    const x = edges[i] as number
    const y = edges[i + 1] as number
    const width = (edges[i + 2] as number) - x + 2 * reach
    const height = (edges[i + 3] as number) - y + 2 * reach
    path.rect(x - reach, y - reach, width, height)
  }
  return path
}

/** Clicks as hollow marks around their pixel, strokes and masks as translucent areas of exactly their pixels. */
export class LabelsLayer implements Layer {
  readonly id = 'labels'
  visible = true
  opacity = 1
  private shapes: readonly LabelShape[] = []
  private image: Size = { width: 0, height: 0 }
  /** Shape id -> what was worked out for it. */
  private drawn = new Map<string, Drawn>()
  private hatching: CanvasPattern | null = null
  private readonly marks = new ClickMarks()

  setImageSize(image: Size): void {
    if (image.width === this.image.width && image.height === this.image.height) return
    this.image = image
    this.drawn.clear()
  }

  /** @param shapes the later ones lie on top */
  setShapes(shapes: readonly LabelShape[]): void {
    this.shapes = shapes
    const kept = new Map<string, Drawn>()
    for (const shape of shapes) {
      const drawn = this.drawn.get(shape.id)
      if (drawn !== undefined && coversSame(drawn.shape, shape)) kept.set(shape.id, drawn)
    }
    this.drawn = kept
  }

  draw(context: CanvasRenderingContext2D, frame: Frame): void {
    for (const shape of this.shapes) if (shape.kind !== 'click') this.drawArea(context, frame, shape)
    for (const shape of this.shapes) if (shape.kind === 'click') this.drawClick(context, frame, shape)
  }

  private drawArea(context: CanvasRenderingContext2D, frame: Frame, shape: LabelShape): void {
    const paths = this.paths(shape)
    if (paths.bounds === null || !isInSight(paths.bounds, frame)) return
    const { scale, originX, originY } = frame.viewport
    const borders = bordersAt(paths, scale)
    const opacity = context.globalAlpha
    context.save()
    context.translate(originX, originY)
    context.scale(scale, scale)
    context.globalAlpha = opacity * 0.45
    context.fillStyle = shape.colour ?? this.hatched(context, scale)
    context.fill(paths.fill)
    context.globalAlpha = opacity
    context.fillStyle = 'rgba(0, 0, 0, 0.55)'
    context.fill(borders.dark)
    context.fillStyle = shape.colour ?? VOID_GREY
    context.fill(borders.coloured)
    context.restore()
  }

  private drawClick(context: CanvasRenderingContext2D, frame: Frame, shape: ClickShape): void {
    if ((shape.erasers?.length ?? 0) > 0 && this.paths(shape).bounds === null) return
    if (!isInSight({ ...shape.pixel, width: 1, height: 1 }, frame)) return
    const corner = frame.viewport.toScreen(imagePoint(shape.pixel.x, shape.pixel.y))
    this.marks.draw(context, frame, corner, shape.colour)
  }

  private paths(shape: LabelShape): Drawn {
    const kept = this.drawn.get(shape.id)
    if (kept !== undefined) return kept
    const spans = shapeSpans(shape, this.image)
    const fill = new Path2D()
    for (let i = 0; i < spans.length; i += 3) {
      fill.rect(spans[i + 1] as number, spans[i] as number, spans[i + 2] as number, 1)
    }
    const drawn: Drawn = { shape, fill, edges: outline(spans), bounds: boundsOf(spans), borders: null }
    this.drawn.set(shape.id, drawn)
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
