import type { FixedPoint, ImagePoint, Pixel, ScreenPoint, Size } from '../geometry'
import type { Draft } from '../layers/cursor'

/** One position of the pointer. */
export interface Sample {
  readonly image: ImagePoint
  readonly screen: ScreenPoint
}

/** What a hand did on the image. Which class it means, and what becomes of it, others decide. */
export type Gesture =
  | { readonly kind: 'click'; readonly pixel: Pixel }
  | { readonly kind: 'stroke'; readonly points: FixedPoint[]; readonly radius: number }
  | { readonly kind: 'erase'; readonly points: FixedPoint[]; readonly radius: number }
  | { readonly kind: 'pick'; readonly pixel: Pixel }

export type ToolId = 'click' | 'brush' | 'eraser' | 'pan' | 'eyedropper'

/** What a tool must know of its surroundings at the moment it is used. */
export interface ToolScene {
  readonly image: Size
  /** Brush radius in image pixels. */
  readonly radius: number
  /** Screen pixels per image pixel. */
  readonly scale: number
}

/** Turns samples into a gesture. Creates no events, knows no class and no colour. */
export interface Tool {
  readonly id: ToolId
  /** The CSS cursor over the stage. */
  readonly cursor: string
  /** Whether the brush outline follows the pointer. */
  readonly hasRadius: boolean
  down(sample: Sample, scene: ToolScene): void
  move(samples: readonly Sample[]): void
  /** Ends the gesture; null when nothing came of it. */
  up(sample: Sample): Gesture | null
  cancel(): void
  /** What to show while the gesture lasts. */
  draft(): Draft | null
}
