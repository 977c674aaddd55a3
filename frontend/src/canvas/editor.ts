import { centreOf, isInside, type Pixel, pixelAt, type ScreenPoint, type Size, screenPoint } from './geometry'
import { CursorLayer } from './layers/cursor'
import { ImageLayer } from './layers/image'
import { type LabelShape, LabelsLayer } from './layers/labels'
import type { Plane } from './layers/plane'
import { PredictionLayer, type PredictionPlane } from './layers/prediction'
import { UncertaintyLayer, type UncertaintyMode } from './layers/uncertainty'
import { PointerInput, type Purpose, type Wheel } from './pointer'
import { Stage } from './stage'
import { BrushTool } from './tools/brush'
import { ClickTool } from './tools/click'
import { EraserTool } from './tools/eraser'
import { EyedropperTool } from './tools/eyedropper'
import { PanTool } from './tools/pan'
import type { Gesture, Sample, Tool, ToolId } from './tools/tool'
import { fit, type Viewport } from './viewport'

/** What is shown, and how strongly. */
export interface View {
  readonly showImage: boolean
  readonly showPrediction: boolean
  readonly showUncertainty: boolean
  readonly showLabels: boolean
  /** Opacities are 0..1. */
  readonly predictionOpacity: number
  readonly uncertaintyOpacity: number
  readonly labelsOpacity: number
  readonly uncertaintyMode: UncertaintyMode
  /** Confidence below which `hard` marks a pixel, 0..1. */
  readonly threshold: number
  /** Class indices of the prediction that are shown; null shows all. */
  readonly visibleClasses: ReadonlySet<number> | null
}

export const DEFAULT_VIEW: View = {
  showImage: true,
  showPrediction: true,
  showUncertainty: false,
  showLabels: true,
  predictionOpacity: 0.5,
  uncertaintyOpacity: 0.8,
  labelsOpacity: 1,
  uncertaintyMode: 'heat',
  threshold: 0.5,
  visibleClasses: null,
}

export interface EditorCallbacks {
  gesture(gesture: Gesture): void
  /** After every pan, zoom and resize. */
  viewportChanged?(viewport: Viewport): void
  /** The pixel under the pointer; null outside the image. */
  pointerMoved?(pixel: Pixel | null): void
  /** Shift+wheel: the brush should grow (+) or shrink (-) by that many steps. */
  brushSizeWanted?(steps: number): void
  /** Alt+wheel: the overlay should become stronger (+) or weaker (-) by that many steps. */
  opacityWanted?(steps: number): void
  /** A prediction of another map than before was drawn. */
  predictionPainted?(mapId: string, labelSeq: number): void
}

const ZOOM_PER_NOTCH = 1.25
const ZOOM_PER_PINCH_NOTCH = 2.5

/**
 * The picture that people label on: layers, tools and viewport in one element. Knows no class, event or server.
 *
 * After each frame the element says in `data-scale`, `data-origin-x`, `data-origin-y` where the image lies (CSS pixels
 * from the element's corner: screen = image * scale + origin) and in `data-painted-map-id` (or, shorter, `data-map-id`)
 * and `data-painted-label-seq` which map the drawn prediction is from and what it knows; these are absent while no
 * prediction is drawn.
 */
export class Editor {
  private readonly imageLayer = new ImageLayer()
  private readonly prediction = new PredictionLayer()
  private readonly uncertainty = new UncertaintyLayer()
  private readonly labels = new LabelsLayer()
  private readonly cursor = new CursorLayer()
  private readonly stage: Stage
  private readonly input: PointerInput
  private readonly tools: Record<ToolId, Tool>
  private tool: Tool
  /** The tool of the gesture in progress; null between gestures. */
  private active: Tool | null = null
  private image: Size = { width: 0, height: 0 }
  private view = DEFAULT_VIEW
  private radius = 8
  private isPeeking = false
  /** Whether the view is still the fitted one, so that a resized window fits it again. */
  private isFitted = true
  private lastPointer: ScreenPoint | null = null

  /** @param element empty, with a size and a position (relative or absolute) of its own */
  constructor(
    private readonly element: HTMLElement,
    private readonly callbacks: EditorCallbacks,
  ) {
    this.tools = {
      click: new ClickTool(),
      brush: new BrushTool(),
      eraser: new EraserTool(),
      pan: new PanTool((dx, dy) => this.panBy(dx, dy)),
      eyedropper: new EyedropperTool(),
    }
    this.tool = this.tools.click
    // Without a tabindex the stage could not take the focus away from a text field.
    if (!element.hasAttribute('tabindex')) element.tabIndex = -1
    this.stage = new Stage(element, {
      resized: (to, from) => this.stageResized(to, from),
      drawn: () => this.tellFrame(),
    })
    this.stage.addSheet(this.imageLayer, this.prediction, this.uncertainty)
    this.stage.addSheet(this.labels)
    this.stage.addSheet(this.cursor)
    this.input = new PointerInput(element, {
      start: (at, purpose) => this.startGesture(at, purpose),
      move: (path) => this.moveGesture(path),
      end: (at) => this.endGesture(at),
      cancel: () => this.cancelGesture(),
      hover: (at, isErasing) => this.hover(at, isErasing),
      pinch: (centre, moved, factor) => {
        this.changeViewport(this.viewport.panBy(moved.dx, moved.dy).zoomAt(centre, factor))
      },
      wheel: (at, wheel) => this.turnWheel(at, wheel),
      fingerDragPans: () => !this.tool.hasRadius,
    })
    this.applyView()
    this.showCursor()
  }

  get viewport(): Viewport {
    return this.stage.viewport
  }

  /** The stage in CSS pixels. */
  get size(): Size {
    return this.stage.size
  }

  /** The pixel under the pointer; null when it is not over the image. */
  get pixelUnderPointer(): Pixel | null {
    if (this.lastPointer === null) return null
    const pixel = pixelAt(this.viewport.toImage(this.lastPointer))
    return isInside(pixel, this.image) ? pixel : null
  }

  /**
   * Shows a picture; null empties the stage. The overlays of the picture before are dropped, unless `keepView`: then
   * the same picture only gets better pixels, and view and overlays stay.
   *
   * @param width of the canonical image; the bitmap may be smaller while the full picture is on its way
   */
  setImage(
    bitmap: (CanvasImageSource & Size) | null,
    width: number,
    height: number,
    options: { keepView?: boolean } = {},
  ): void {
    this.image = { width, height }
    this.imageLayer.setImage(bitmap, this.image)
    for (const layer of [this.prediction, this.uncertainty, this.labels]) layer.setImageSize(this.image)
    if (options.keepView !== true) {
      this.cancelGesture()
      this.prediction.setPlane(null)
      this.uncertainty.setPlane(null)
      this.labels.setShapes([])
      this.cursor.question = null
      this.fit()
    }
    this.stage.invalidateAll()
  }

  /** Labels that hold, the later ones on top. Shapes whose points are the same arrays as before cost nothing again. */
  setLabels(shapes: readonly LabelShape[]): void {
    this.labels.setShapes(shapes)
    this.stage.invalidate(this.labels)
  }

  /** The old overlay stays on the stage until this call, so there is no flash between two maps. */
  setPrediction(plane: PredictionPlane | null): void {
    this.prediction.setPlane(plane)
    this.stage.invalidate(this.prediction)
  }

  /** @param plane round(255 * confidence) for every pixel */
  setUncertainty(plane: Plane | null): void {
    this.uncertainty.setPlane(plane)
    this.stage.invalidate(this.uncertainty)
  }

  setView(changes: Partial<View>): void {
    this.view = { ...this.view, ...changes }
    this.applyView()
  }

  setTool(id: ToolId): void {
    if (this.tool.id === id) return
    this.cancelGesture()
    this.tool = this.tools[id]
    this.showCursor()
  }

  /**
   * @param radius in image pixels, fractions allowed
   * @param colour "#rrggbb" of the class in hand; null for void
   */
  setBrush(radius: number, colour: string | null): void {
    this.radius = radius
    this.cursor.colour = colour
    this.showCursor()
  }

  /** Marks a pixel that is asked about; the mark leaves the pixel itself visible. */
  showQuestion(pixel: Pixel | null): void {
    this.cursor.question = pixel
    this.stage.invalidate(this.cursor)
  }

  /** The bare image while true. */
  peek(isPeeking: boolean): void {
    this.isPeeking = isPeeking
    this.applyView()
  }

  /** While true a drag moves the picture in every tool. */
  holdHand(isHeld: boolean): void {
    this.input.isHandHeld = isHeld
    this.showCursor()
  }

  fit(): void {
    this.isFitted = true
    if (this.image.width > 0 && this.size.width > 0) this.place(fit(this.image, this.size))
  }

  /** Zooms by a factor at the pointer, or at the middle of the stage when the pointer is elsewhere. */
  zoom(factor: number): void {
    const middle = screenPoint(this.size.width / 2, this.size.height / 2)
    this.changeViewport(this.viewport.zoomAt(this.lastPointer ?? middle, factor))
  }

  /** One image pixel on one CSS pixel, around the middle of what is seen. */
  actualSize(): void {
    const middle = screenPoint(this.size.width / 2, this.size.height / 2)
    this.changeViewport(this.viewport.zoomAt(middle, 1 / this.viewport.scale))
  }

  /** @param scale screen pixels per image pixel; without it the present one stays */
  centreOn(pixel: Pixel, scale?: number): void {
    this.changeViewport(this.viewport.centreOn(centreOf(pixel), this.size, scale))
  }

  panBy(dx: number, dy: number): void {
    this.changeViewport(this.viewport.panBy(dx, dy))
  }

  /** The middle of a pixel on the stage, in CSS pixels. */
  toScreen(pixel: Pixel): ScreenPoint {
    return this.viewport.toScreen(centreOf(pixel))
  }

  /** Keys reach the stage from now on. */
  focus(): void {
    this.element.focus({ preventScroll: true })
  }

  destroy(): void {
    this.input.destroy()
    this.stage.destroy()
  }

  private startGesture(at: ScreenPoint, purpose: Purpose): void {
    this.active = purpose === 'tool' ? this.tool : this.tools[purpose === 'pan' ? 'pan' : 'eraser']
    this.active.down(this.sample(at), { image: this.image, radius: this.radius, scale: this.viewport.scale })
    this.movePointer(at)
    this.showCursor()
  }

  private moveGesture(path: readonly ScreenPoint[]): void {
    this.active?.move(path.map((at) => this.sample(at)))
    const last = path[path.length - 1]
    if (last !== undefined) this.movePointer(last)
    this.showCursor()
  }

  private endGesture(at: ScreenPoint): void {
    const gesture = this.active?.up(this.sample(at)) ?? null
    this.active = null
    this.movePointer(at)
    this.showCursor()
    if (gesture !== null) this.callbacks.gesture(gesture)
  }

  private cancelGesture(): void {
    this.active?.cancel()
    this.active = null
    this.showCursor()
  }

  private hover(at: ScreenPoint | null, isErasing: boolean): void {
    this.movePointer(at)
    this.showCursor(isErasing ? this.tools.eraser : this.tool)
  }

  private turnWheel(at: ScreenPoint, wheel: Wheel): void {
    if (wheel.shift) this.callbacks.brushSizeWanted?.(wheel.notches)
    else if (wheel.alt) this.callbacks.opacityWanted?.(wheel.notches)
    else {
      const factor = (wheel.isPinch ? ZOOM_PER_PINCH_NOTCH : ZOOM_PER_NOTCH) ** wheel.notches
      this.changeViewport(this.viewport.zoomAt(at, factor))
    }
  }

  private sample(at: ScreenPoint): Sample {
    return { image: this.viewport.toImage(at), screen: at }
  }

  private movePointer(at: ScreenPoint | null): void {
    this.lastPointer = at
    this.callbacks.pointerMoved?.(this.pixelUnderPointer)
  }

  private showCursor(tool: Tool = this.active ?? this.tool): void {
    const shown = this.input.isHandHeld && this.active === null ? this.tools.pan : tool
    // A hand that only moves the picture aims at no pixel.
    const aim = shown.id === 'pan' ? null : this.lastPointer
    this.cursor.pointer = aim === null ? null : this.viewport.toImage(aim)
    this.cursor.radius = shown.hasRadius ? this.radius : null
    this.cursor.draft = this.active?.draft() ?? null
    this.element.style.cursor = this.active?.id === 'pan' ? 'grabbing' : shown.cursor
    this.stage.invalidate(this.cursor)
  }

  private applyView(): void {
    const { view } = this
    const isBare = this.isPeeking
    this.imageLayer.visible = view.showImage || isBare
    this.prediction.visible = view.showPrediction && !isBare
    this.prediction.opacity = view.predictionOpacity
    this.prediction.setVisibleClasses(view.visibleClasses)
    this.uncertainty.visible = view.showUncertainty && !isBare
    this.uncertainty.opacity = view.uncertaintyOpacity
    this.uncertainty.setMode(view.uncertaintyMode, view.threshold)
    this.labels.visible = view.showLabels && !isBare
    this.labels.opacity = view.labelsOpacity
    this.stage.invalidateAll()
  }

  /** A change of view by the user's hand or word: from now on a resize keeps the middle instead of fitting. */
  private changeViewport(viewport: Viewport): void {
    this.isFitted = false
    this.place(viewport)
  }

  private place(viewport: Viewport): void {
    this.stage.viewport = this.image.width > 0 ? viewport.keepInSight(this.image, this.size) : viewport
    this.showCursor()
    this.callbacks.viewportChanged?.(this.viewport)
  }

  private stageResized(to: Size, from: Size): void {
    if (this.isFitted) this.fit()
    else this.place(this.viewport.panBy((to.width - from.width) / 2, (to.height - from.height) / 2))
  }

  private tellFrame(): void {
    const { dataset } = this.element
    dataset['scale'] = String(this.viewport.scale)
    dataset['originX'] = String(this.viewport.originX)
    dataset['originY'] = String(this.viewport.originY)
    const shown = this.prediction.visible ? this.prediction.shown : null
    if (shown === null) {
      delete dataset['mapId']
      delete dataset['paintedMapId']
      delete dataset['paintedLabelSeq']
      return
    }
    const isNew = dataset['paintedMapId'] !== shown.mapId
    dataset['mapId'] = shown.mapId
    dataset['paintedMapId'] = shown.mapId
    dataset['paintedLabelSeq'] = String(shown.labelSeq)
    if (isNew) this.callbacks.predictionPainted?.(shown.mapId, shown.labelSeq)
  }
}

export type { Gesture, LabelShape, Plane, PredictionPlane, ToolId, UncertaintyMode }
