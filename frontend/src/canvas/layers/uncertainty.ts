import type { Size } from '../geometry'
import type { Frame, Layer } from './layer'
import { type Colours, type Plane, PlanePicture, packColour } from './plane'

/** `heat` shades every pixel by its uncertainty; `hard` marks only those below the confidence threshold. */
export type UncertaintyMode = 'heat' | 'hard'

/** From certain to uncertain: dark violet, red, orange, pale yellow. Lightness rises throughout. */
const HEAT_STOPS: readonly (readonly [number, number, number])[] = [
  [40, 11, 84],
  [137, 34, 106],
  [221, 81, 58],
  [252, 165, 10],
  [252, 255, 164],
]
const HARD_COLOUR = [255, 247, 64] as const

/** The colour of an uncertainty, 0 (certain) to 1; also what a legend is painted with. Red, green, blue in 0..255. */
export function heatColour(uncertainty: number): [number, number, number] {
  const place = Math.min(Math.max(uncertainty, 0), 1) * (HEAT_STOPS.length - 1)
  const below = Math.min(Math.floor(place), HEAT_STOPS.length - 2)
  const from = HEAT_STOPS[below] as readonly [number, number, number]
  const to = HEAT_STOPS[below + 1] as readonly [number, number, number]
  const mix = (i: 0 | 1 | 2): number => Math.round(from[i] + (to[i] - from[i]) * (place - below))
  return [mix(0), mix(1), mix(2)]
}

/**
 * @param threshold confidence below which a pixel counts as hard, 0..1; `heat` does not use it
 */
export function uncertaintyColours(mode: UncertaintyMode, threshold: number): Colours {
  const colours = new Uint32Array(256)
  for (let byte = 0; byte < 256; byte++) {
    const uncertainty = 1 - byte / 255
    if (mode === 'hard') {
      const [red, green, blue] = HARD_COLOUR
      colours[byte] = byte / 255 < threshold ? packColour(red, green, blue, 255) : 0
    } else {
      const [red, green, blue] = heatColour(uncertainty)
      // Certain pixels let the picture through; half-way up the scale the shade is full.
      colours[byte] = packColour(red, green, blue, Math.round(255 * Math.min(1, 2 * uncertainty)))
    }
  }
  return colours
}

/** Where the model is unsure, from the confidence of its answer. */
export class UncertaintyLayer implements Layer {
  readonly id = 'uncertainty'
  visible = false
  opacity = 0.8
  private readonly picture = new PlanePicture()
  private image: Size = { width: 0, height: 0 }

  constructor() {
    this.setMode('heat', 0.5)
  }

  setImageSize(image: Size): void {
    this.image = image
  }

  /** @param plane round(255 * confidence) for every pixel */
  setPlane(plane: Plane | null): void {
    this.picture.setPlane(plane)
  }

  setMode(mode: UncertaintyMode, threshold: number): void {
    this.picture.setColours(uncertaintyColours(mode, threshold))
  }

  draw(context: CanvasRenderingContext2D, frame: Frame): void {
    this.picture.draw(context, frame, this.image)
  }
}
