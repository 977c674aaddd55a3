import { isInside, type Pixel, pixelAt } from '../geometry'
import type { Gesture, Sample, Tool, ToolScene } from './tool'

/** Takes the pixel where the button went down: a hand that moves on while it clicks means what it aimed at. */
export class ClickTool implements Tool {
  readonly id = 'click'
  readonly cursor = 'crosshair'
  readonly hasRadius = false
  private pixel: Pixel | null = null

  down(sample: Sample, scene: ToolScene): void {
    const pixel = pixelAt(sample.image)
    this.pixel = isInside(pixel, scene.image) ? pixel : null
  }

  move(): void {}

  up(): Gesture | null {
    const pixel = this.pixel
    this.pixel = null
    return pixel === null ? null : { kind: 'click', pixel }
  }

  cancel(): void {
    this.pixel = null
  }

  draft(): null {
    return null
  }
}
