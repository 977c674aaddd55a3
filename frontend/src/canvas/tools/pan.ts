import type { ScreenPoint } from '../geometry'
import type { Sample, Tool } from './tool'

/** Drags the picture. */
export class PanTool implements Tool {
  readonly id = 'pan'
  readonly cursor = 'grab'
  readonly hasRadius = false
  private last: ScreenPoint | null = null

  /** @param panBy moves the viewport by CSS pixels */
  constructor(private readonly panBy: (dx: number, dy: number) => void) {}

  down(sample: Sample): void {
    this.last = sample.screen
  }

  move(samples: readonly Sample[]): void {
    const to = samples[samples.length - 1]?.screen
    if (this.last === null || to === undefined) return
    this.panBy(to.x - this.last.x, to.y - this.last.y)
    this.last = to
  }

  up(): null {
    this.last = null
    return null
  }

  cancel(): void {
    this.last = null
  }

  draft(): null {
    return null
  }
}
