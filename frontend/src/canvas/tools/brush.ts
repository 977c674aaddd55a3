import { clamp, type ImagePoint, SUBPIXEL } from '../geometry'
import type { Draft } from '../layers/cursor'
import { rasterStroke } from '../raster'
import { fixedRadius, strokePoints } from '../stroke'
import type { Gesture, Sample, Tool, ToolScene } from './tool'

/** Drawn and simplified line differ by at most this much on the screen, and by at most half an image pixel. */
const TOLERANCE_SCREEN_PX = 0.5
const MAX_TOLERANCE = SUBPIXEL / 2

/** Collects the path of the pointer; brush and eraser differ in what the path then means. */
export class PathTool implements Tool {
  readonly hasRadius = true
  readonly cursor = 'crosshair'
  private scene: ToolScene | null = null
  private points: ImagePoint[] = []

  constructor(
    readonly id: 'brush' | 'eraser',
    private readonly kind: 'stroke' | 'erase',
  ) {}

  down(sample: Sample, scene: ToolScene): void {
    this.scene = scene
    this.points = [sample.image]
  }

  move(samples: readonly Sample[]): void {
    if (this.scene === null) return
    for (const sample of samples) this.points.push(sample.image)
  }

  up(sample: Sample): Gesture | null {
    const scene = this.scene
    if (scene === null) return null
    this.move([sample])
    const radius = fixedRadius(scene.radius)
    const tolerance = clamp((TOLERANCE_SCREEN_PX * SUBPIXEL) / scene.scale, 1, MAX_TOLERANCE)
    const points = strokePoints(this.points, radius, scene.image, tolerance)
    const meetsImage = rasterStroke(points, radius, scene.image).length > 0
    this.cancel()
    return meetsImage ? { kind: this.kind, points, radius } : null
  }

  cancel(): void {
    this.scene = null
    this.points = []
  }

  draft(): Draft | null {
    return this.scene === null ? null : { kind: this.kind, points: this.points, radius: this.scene.radius }
  }
}

/** Labels all pixels under its path. */
export class BrushTool extends PathTool {
  constructor() {
    super('brush', 'stroke')
  }
}
