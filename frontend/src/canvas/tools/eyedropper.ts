import { isInside, type Pixel, pixelAt } from '../geometry'
import type { Gesture, Sample, Tool, ToolScene } from './tool'

/** Asks for the class of the pixel under the pointer, wherever the button is let go. */
export class EyedropperTool implements Tool {
  readonly id = 'eyedropper'
  readonly cursor = 'copy'
  readonly hasRadius = false
  private scene: ToolScene | null = null

  down(_sample: Sample, scene: ToolScene): void {
    this.scene = scene
  }

  move(): void {}

  up(sample: Sample): Gesture | null {
    const scene = this.scene
    this.scene = null
    const pixel: Pixel = pixelAt(sample.image)
    return scene !== null && isInside(pixel, scene.image) ? { kind: 'pick', pixel } : null
  }

  cancel(): void {
    this.scene = null
  }

  draft(): null {
    return null
  }
}
