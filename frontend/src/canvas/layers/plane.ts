import { imagePoint, type Rect, type Size } from '../geometry'
import { type Frame, offscreen } from './layer'

/** Bytes of an image, row by row: class indices, or round(255 * confidence). It covers the whole image. */
export interface Plane extends Size {
  readonly bytes: Uint8Array
}

/** 256 colours, one for each byte, as the 32 bits that ImageData holds. */
export type Colours = Uint32Array

/** A plane is composed whole while it is no larger than this; beyond, the part in sight with some rim. */
const WHOLE_PIXELS = 2_000_000
const RIM = 0.25

const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1

/** @param alpha 0..255, as red, green and blue. */
export function packColour(red: number, green: number, blue: number, alpha: number): number {
  return LITTLE_ENDIAN
    ? ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0
    : ((red << 24) | (green << 16) | (blue << 8) | alpha) >>> 0
}

/** Red, green, blue (0..255) of a colour written "#rrggbb". */
export function rgbOf(colour: string): [number, number, number] {
  const value = Number.parseInt(colour.slice(1, 7), 16)
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255]
}

/**
 * Looks every `stride`-th pixel of a region up in the colours: the one loop behind both overlays.
 *
 * @param region in plane pixels, whole numbers
 * @param out at least ceil(width / stride) * ceil(height / stride) colours, row by row
 */
export function composePlane(plane: Plane, region: Rect, stride: number, colours: Colours, out: Uint32Array): void {
  const { bytes } = plane
  const right = region.x + region.width
  const bottom = region.y + region.height
  let next = 0
  if (stride === 1) {
    for (let y = region.y; y < bottom; y++) {
      const end = y * plane.width + right
      for (let at = y * plane.width + region.x; at < end; at++) out[next++] = colours[bytes[at] as number] as number
    }
    return
  }
  // The middle of each stride stands for it, held inside the region at its right and lower edge.
  const middle = stride >> 1
  for (let y = region.y; y < bottom; y += stride) {
    const row = Math.min(y + middle, bottom - 1) * plane.width
    const end = row + right
    let at = row + region.x + middle
    for (let x = region.x; x < right; x += stride, at += stride) {
      out[next++] = colours[bytes[at < end ? at : end - 1] as number] as number
    }
  }
}

/** Image pixels per composed pixel, a power of two: at most about one composed pixel for each device pixel. */
export function strideFor(devicePerPlanePixel: number): number {
  return devicePerPlanePixel >= 1 ? 1 : 2 ** Math.round(Math.log2(1 / devicePerPlanePixel))
}

/** The region to compose when `visible` is in sight: whole numbers, multiples of the stride, inside the plane. */
export function regionFor(plane: Size, visible: Rect, stride: number): Rect {
  if ((plane.width * plane.height) / stride ** 2 <= WHOLE_PIXELS) {
    return { x: 0, y: 0, width: plane.width, height: plane.height }
  }
  const x = Math.max(0, Math.floor((visible.x - RIM * visible.width) / stride) * stride)
  const y = Math.max(0, Math.floor((visible.y - RIM * visible.height) / stride) * stride)
  const right = Math.min(plane.width, Math.ceil((visible.x + (1 + RIM) * visible.width) / stride) * stride)
  const bottom = Math.min(plane.height, Math.ceil((visible.y + (1 + RIM) * visible.height) / stride) * stride)
  return { x, y, width: right - x, height: bottom - y }
}

/** A plane in colour, composed at about the resolution of the screen and kept while it can be reused. */
export class PlanePicture {
  private plane: Plane | null = null
  private colours: Colours = new Uint32Array(256)
  private composed: { canvas: HTMLCanvasElement; region: Rect; stride: number } | null = null
  private isStale = true

  setPlane(plane: Plane | null): void {
    this.plane = plane
    this.isStale = true
  }

  setColours(colours: Colours): void {
    if (colours.every((colour, byte) => colour === this.colours[byte])) return
    this.colours = colours
    this.isStale = true
  }

  /** @param image size of the canonical image that the plane covers; the plane itself may be coarser. */
  draw(context: CanvasRenderingContext2D, frame: Frame, image: Size): void {
    const plane = this.plane
    if (plane === null || image.width === 0) return
    const part = frame.viewport.visible(image, frame.stage)
    if (part.width === 0) return
    const across = plane.width / image.width
    const down = plane.height / image.height
    const devicePerPlanePixel = (frame.viewport.scale * frame.pixelRatio) / across
    const stride = strideFor(devicePerPlanePixel)
    const visible = {
      x: part.x * across,
      y: part.y * down,
      width: part.width * across,
      height: part.height * down,
    }
    if (this.isStale || this.composed?.stride !== stride || !contains(this.composed.region, visible)) {
      this.compose(plane, regionFor(plane, visible, stride), stride)
    }
    if (this.composed === null) return

    const { canvas, region } = this.composed
    const corner = frame.viewport.toScreen(imagePoint(region.x / across, region.y / down))
    const columns = Math.ceil(region.width / stride)
    const rows = Math.ceil(region.height / stride)
    context.imageSmoothingEnabled = devicePerPlanePixel * stride < 1
    context.drawImage(
      canvas,
      0,
      0,
      columns,
      rows,
      corner.x,
      corner.y,
      ((columns * stride) / across) * frame.viewport.scale,
      ((rows * stride) / down) * frame.viewport.scale,
    )
  }

  private compose(plane: Plane, region: Rect, stride: number): void {
    const columns = Math.ceil(region.width / stride)
    const rows = Math.ceil(region.height / stride)
    const surface =
      this.composed !== null && this.composed.canvas.width === columns && this.composed.canvas.height === rows
        ? { canvas: this.composed.canvas, context: this.composed.canvas.getContext('2d') }
        : offscreen({ width: columns, height: rows })
    if (surface === null || surface.context === null) {
      this.composed = null
      return
    }
    const pixels = surface.context.createImageData(columns, rows)
    composePlane(plane, region, stride, this.colours, new Uint32Array(pixels.data.buffer))
    surface.context.putImageData(pixels, 0, 0)
    this.composed = { canvas: surface.canvas, region, stride }
    this.isStale = false
  }
}

function contains(outer: Rect, inner: Rect): boolean {
  return (
    inner.x >= outer.x &&
    inner.y >= outer.y &&
    inner.x + inner.width <= outer.x + outer.width &&
    inner.y + inner.height <= outer.y + outer.height
  )
}
