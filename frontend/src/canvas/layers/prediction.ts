import type { Size } from '../geometry'
import type { Frame, Layer } from './layer'
import { type Colours, type Plane, PlanePicture, packColour, rgbOf } from './plane'

/** The classes that a model sees, one byte a pixel, with the colour of each class index. */
export interface PredictionPlane extends Plane {
  /** Which map it is; the stage says in `data-map-id` which one is drawn. */
  readonly mapId: string
  /** The newest label that the map knows; the stage says it beside the map. */
  readonly labelSeq: number
  /** Class index -> "#rrggbb". */
  readonly palette: readonly string[]
}

/** Classes without a colour, and hidden ones, are transparent. */
export function predictionColours(palette: readonly string[], visibleClasses: ReadonlySet<number> | null): Colours {
  const colours = new Uint32Array(256)
  palette.forEach((colour, index) => {
    if (visibleClasses !== null && !visibleClasses.has(index)) return
    const [red, green, blue] = rgbOf(colour)
    colours[index] = packColour(red, green, blue, 255)
  })
  return colours
}

/** The model's answer, class by class in colour over the picture. */
export class PredictionLayer implements Layer {
  readonly id = 'prediction'
  visible = true
  opacity = 0.5
  private readonly picture = new PlanePicture()
  private image: Size = { width: 0, height: 0 }
  private plane: PredictionPlane | null = null
  private visibleClasses: ReadonlySet<number> | null = null

  /** The map that is shown, and what it knows; null without one. */
  get shown(): { mapId: string; labelSeq: number } | null {
    return this.plane
  }

  setImageSize(image: Size): void {
    this.image = image
  }

  setPlane(plane: PredictionPlane | null): void {
    this.plane = plane
    this.picture.setPlane(plane)
    this.recolour()
  }

  /** @param classes class indices that are shown; null shows all. */
  setVisibleClasses(classes: ReadonlySet<number> | null): void {
    this.visibleClasses = classes
    this.recolour()
  }

  draw(context: CanvasRenderingContext2D, frame: Frame): void {
    this.picture.draw(context, frame, this.image)
  }

  private recolour(): void {
    this.picture.setColours(predictionColours(this.plane?.palette ?? [], this.visibleClasses))
  }
}
