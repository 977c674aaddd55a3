import type { ScreenPoint } from '../geometry'
import { type Frame, offscreen } from './layer'

export const VOID_GREY = '#8a8f98'
/** No mark reaches farther beyond its pixel than this, in CSS pixels. */
export const MARK_REACH = 16
/** From this scale on a mark is a frame around its pixel, below a ring. */
const FRAME_SCALE = 10

/**
 * Hollow marks around clicked pixels. The rings of one frame differ in colour only, so each colour's ring is painted
 * once and then copied: a thousand clicks cost little more than one.
 */
export class ClickMarks {
  private readonly rings = new Map<string, HTMLCanvasElement>()
  private ringsAreFor = ''

  /**
   * @param corner upper left corner of the clicked pixel on the stage
   * @param colour "#rrggbb"; null = void
   */
  draw(context: CanvasRenderingContext2D, frame: Frame, corner: ScreenPoint, colour: string | null): void {
    const { scale } = frame.viewport
    if (scale >= FRAME_SCALE) {
      context.beginPath()
      context.rect(corner.x - 2, corner.y - 2, scale + 4, scale + 4)
      strokeMark(context, colour)
      return
    }
    // The hole is never smaller than the pixel, nor than what an eye can look through.
    const radius = Math.max(5.5, scale * 0.71 + 3)
    const ring = this.ringOf(colour, radius, frame.pixelRatio)
    if (ring === null) return
    const side = ring.width / frame.pixelRatio
    context.drawImage(ring, corner.x + scale / 2 - side / 2, corner.y + scale / 2 - side / 2, side, side)
  }

  private ringOf(colour: string | null, radius: number, pixelRatio: number): HTMLCanvasElement | null {
    const wanted = `${radius} ${pixelRatio}`
    if (wanted !== this.ringsAreFor) {
      this.rings.clear()
      this.ringsAreFor = wanted
    }
    const kept = this.rings.get(colour ?? VOID_GREY)
    if (kept !== undefined) return kept
    const side = Math.ceil((2 * radius + 8) * pixelRatio)
    const surface = offscreen({ width: side, height: side })
    if (surface === null) return null
    surface.context.scale(pixelRatio, pixelRatio)
    surface.context.beginPath()
    surface.context.arc(side / pixelRatio / 2, side / pixelRatio / 2, radius, 0, 2 * Math.PI)
    strokeMark(surface.context, colour)
    this.rings.set(colour ?? VOID_GREY, surface.canvas)
    return surface.canvas
  }
}

/** Black, white and the class colour, one inside the other: some of them stands out on any picture. */
function strokeMark(context: CanvasRenderingContext2D, colour: string | null): void {
  context.strokeStyle = 'rgba(0, 0, 0, 0.75)'
  context.lineWidth = 6
  context.stroke()
  context.strokeStyle = '#ffffff'
  context.lineWidth = 4.5
  context.stroke()
  context.strokeStyle = colour ?? VOID_GREY
  context.lineWidth = 3
  if (colour === null) context.setLineDash([3, 2])
  context.stroke()
  context.setLineDash([])
}
