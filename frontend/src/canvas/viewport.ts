import { clamp, type ImagePoint, imagePoint, type Rect, type ScreenPoint, type Size, screenPoint } from './geometry'

/** Screen pixels per image pixel. */
export const MIN_SCALE = 1 / 64
export const MAX_SCALE = 96

/** Where the image lies on the screen: screen = image * scale + origin. Immutable; every change is a new viewport. */
export class Viewport {
  constructor(
    /** CSS pixels per image pixel. */
    readonly scale: number,
    /** Screen position of the image's upper left corner. */
    readonly originX: number,
    readonly originY: number,
  ) {}

  static readonly identity = new Viewport(1, 0, 0)

  toScreen(point: ImagePoint): ScreenPoint {
    return screenPoint(point.x * this.scale + this.originX, point.y * this.scale + this.originY)
  }

  toImage(point: ScreenPoint): ImagePoint {
    return imagePoint((point.x - this.originX) / this.scale, (point.y - this.originY) / this.scale)
  }

  /** Scales by a factor while the image point under `anchor` stays where it is. */
  zoomAt(anchor: ScreenPoint, factor: number): Viewport {
    const scale = clamp(this.scale * factor, MIN_SCALE, MAX_SCALE)
    const kept = this.toImage(anchor)
    return new Viewport(scale, anchor.x - kept.x * scale, anchor.y - kept.y * scale)
  }

  panBy(dx: number, dy: number): Viewport {
    return new Viewport(this.scale, this.originX + dx, this.originY + dy)
  }

  /** The point comes to the middle of a stage of that size; without a scale the present one stays. */
  centreOn(point: ImagePoint, stage: Size, scale = this.scale): Viewport {
    const held = clamp(scale, MIN_SCALE, MAX_SCALE)
    return new Viewport(held, stage.width / 2 - point.x * held, stage.height / 2 - point.y * held)
  }

  /** Keeps at least `margin` screen pixels of the image in sight, so that nobody pans it away for good. */
  keepInSight(image: Size, stage: Size, margin = 48): Viewport {
    const x = clamp(this.originX, margin - image.width * this.scale, stage.width - margin)
    const y = clamp(this.originY, margin - image.height * this.scale, stage.height - margin)
    return x === this.originX && y === this.originY ? this : new Viewport(this.scale, x, y)
  }

  /** The part of the image that a stage of that size shows, in image pixels; empty (0 x 0) when out of sight. */
  visible(image: Size, stage: Size): Rect {
    const left = Math.max(0, -this.originX / this.scale)
    const top = Math.max(0, -this.originY / this.scale)
    const right = Math.min(image.width, (stage.width - this.originX) / this.scale)
    const bottom = Math.min(image.height, (stage.height - this.originY) / this.scale)
    return right > left && bottom > top
      ? { x: left, y: top, width: right - left, height: bottom - top }
      : { x: 0, y: 0, width: 0, height: 0 }
  }
}

/** The whole image in the middle of the stage, as large as it fits with `margin` screen pixels around it. */
export function fit(image: Size, stage: Size, margin = 16): Viewport {
  const width = Math.max(1, stage.width - 2 * margin)
  const height = Math.max(1, stage.height - 2 * margin)
  const scale = clamp(Math.min(width / image.width, height / image.height), MIN_SCALE, MAX_SCALE)
  return Viewport.identity.centreOn(imagePoint(image.width / 2, image.height / 2), stage, scale)
}
