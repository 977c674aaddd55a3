import { imagePoint, type Size } from '../geometry'
import { type Frame, type Layer, offscreen } from './layer'

/** Below this many device pixels per image pixel the next smaller copy is drawn. */
const SMALLEST_REDUCTION = 0.5

/** The picture itself. Magnified pixels stay square; a picture shown small is drawn from halved copies. */
export class ImageLayer implements Layer {
  readonly id = 'image'
  visible = true
  opacity = 1
  private size: Size = { width: 0, height: 0 }
  /** The picture, then copies of half, a quarter, ... of its side, made when first needed. */
  private copies: (CanvasImageSource & Size)[] = []

  /** @param size of the canonical image; the bitmap may be smaller while the full picture is on its way. */
  setImage(bitmap: (CanvasImageSource & Size) | null, size: Size): void {
    this.size = size
    this.copies = bitmap === null ? [] : [bitmap]
  }

  draw(context: CanvasRenderingContext2D, frame: Frame): void {
    const whole = this.copies[0]
    if (whole === undefined) return
    const part = frame.viewport.visible(this.size, frame.stage)
    if (part.width === 0) return
    const devicePerImagePixel = frame.viewport.scale * frame.pixelRatio
    const picture = this.copyFor((devicePerImagePixel * this.size.width) / whole.width)

    const across = picture.width / this.size.width
    const down = picture.height / this.size.height
    const corner = frame.viewport.toScreen(imagePoint(part.x, part.y))
    context.imageSmoothingEnabled = devicePerImagePixel < 1 || picture.width < this.size.width
    context.imageSmoothingQuality = 'medium'
    context.drawImage(
      picture,
      part.x * across,
      part.y * down,
      part.width * across,
      part.height * down,
      corner.x,
      corner.y,
      part.width * frame.viewport.scale,
      part.height * frame.viewport.scale,
    )
  }

  private copyFor(devicePerBitmapPixel: number): CanvasImageSource & Size {
    let level = 0
    for (let ratio = devicePerBitmapPixel; ratio < SMALLEST_REDUCTION; ratio *= 2) {
      if (this.copies[level + 1] === undefined && !this.addHalf(level)) break
      level += 1
    }
    return this.copies[level] as CanvasImageSource & Size
  }

  private addHalf(level: number): boolean {
    const from = this.copies[level] as CanvasImageSource & Size
    if (from.width < 4 || from.height < 4) return false
    const half = offscreen({ width: Math.ceil(from.width / 2), height: Math.ceil(from.height / 2) })
    if (half === null) return false
    half.context.imageSmoothingQuality = 'medium'
    half.context.drawImage(from, 0, 0, half.canvas.width, half.canvas.height)
    this.copies.push(half.canvas)
    return true
  }
}
