/**
 * Points and rectangles. Image points are continuous: pixel (x, y) covers [x, x + 1) x [y, y + 1).
 * Screen points are CSS pixels from the stage's upper left corner. The two do not mix: that would not compile.
 */

declare const space: unique symbol

export interface ImagePoint {
  readonly x: number
  readonly y: number
  readonly [space]: 'image'
}

export interface ScreenPoint {
  readonly x: number
  readonly y: number
  readonly [space]: 'screen'
}

/** A whole pixel of the canonical image. */
export interface Pixel {
  readonly x: number
  readonly y: number
}

/** A position in sixteenths of a pixel, integers. The centre of pixel (x, y) is (16x + 8, 16y + 8). */
export interface FixedPoint {
  readonly x: number
  readonly y: number
}

export interface Size {
  readonly width: number
  readonly height: number
}

export interface Rect extends Size {
  readonly x: number
  readonly y: number
}

/** Fixed-point units in a pixel. */
export const SUBPIXEL = 16

export function imagePoint(x: number, y: number): ImagePoint {
  return { x, y } as ImagePoint
}

export function screenPoint(x: number, y: number): ScreenPoint {
  return { x, y } as ScreenPoint
}

/** The pixel that contains the point; it may lie outside the image. */
export function pixelAt(point: ImagePoint): Pixel {
  return { x: Math.floor(point.x), y: Math.floor(point.y) }
}

export function centreOf(pixel: Pixel): ImagePoint {
  return imagePoint(pixel.x + 0.5, pixel.y + 0.5)
}

export function isInside(pixel: Pixel, size: Size): boolean {
  return pixel.x >= 0 && pixel.y >= 0 && pixel.x < size.width && pixel.y < size.height
}

/** Rounds towards minus infinity, so that a point stays in the pixel that contains it. */
export function toFixedPoint(point: ImagePoint): FixedPoint {
  return { x: Math.floor(point.x * SUBPIXEL), y: Math.floor(point.y * SUBPIXEL) }
}

export function distance(a: ScreenPoint, b: ScreenPoint): number {
  return Math.hypot(a.x - b.x, a.y - b.y)
}

export function clamp(value: number, lowest: number, highest: number): number {
  return Math.min(Math.max(value, lowest), highest)
}
