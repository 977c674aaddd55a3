import type { Size } from './geometry'
import type { Frame, Layer } from './layers/layer'
import { Viewport } from './viewport'

interface Sheet {
  readonly canvas: HTMLCanvasElement
  readonly context: CanvasRenderingContext2D | null
  readonly layers: Layer[]
  isDirty: boolean
}

export interface StageCallbacks {
  /** The element has another size now; both in CSS pixels. */
  resized(to: Size, from: Size): void
  /** A frame was drawn. */
  drawn(): void
}

/**
 * A pile of canvases ("sheets") in one element, and the clock that draws them.
 *
 * Layers that change at the same moments share a sheet. Nothing is drawn but in an animation frame, and only the
 * sheets that somebody invalidated.
 */
export class Stage {
  private readonly sheets: Sheet[] = []
  private readonly observer: ResizeObserver | null
  private ratioQuery: MediaQueryList | null = null
  private nextFrame: number | null = null
  private current = Viewport.identity
  private cssSize: Size = { width: 0, height: 0 }
  private deviceSize: Size = { width: 0, height: 0 }

  /** @param element gets the canvases as children and must have a size of its own */
  constructor(
    private readonly element: HTMLElement,
    private readonly callbacks: StageCallbacks,
  ) {
    this.observer =
      typeof ResizeObserver === 'undefined' ? null : new ResizeObserver((entries) => this.measure(entries[0]))
    try {
      this.observer?.observe(element, { box: 'device-pixel-content-box' })
    } catch {
      // Safari does not tell device pixels; CSS pixels times the ratio are close enough there.
      this.observer?.observe(element)
    }
    this.watchPixelRatio()
    this.readSize()
  }

  get viewport(): Viewport {
    return this.current
  }

  set viewport(viewport: Viewport) {
    this.current = viewport
    this.invalidateAll()
  }

  /** The element in CSS pixels. */
  get size(): Size {
    return this.cssSize
  }

  /** Puts a new sheet on top of the others with these layers, the last one uppermost. */
  addSheet(...layers: Layer[]): void {
    const canvas = document.createElement('canvas')
    Object.assign(canvas.style, {
      position: 'absolute',
      inset: '0',
      width: '100%',
      height: '100%',
      pointerEvents: 'none',
    })
    canvas.setAttribute('aria-hidden', 'true')
    this.element.append(canvas)
    this.sheets.push({ canvas, context: canvas.getContext('2d'), layers, isDirty: true })
    this.schedule()
  }

  /** The layer changed: its sheet is drawn in the next frame. */
  invalidate(layer: Layer): void {
    for (const sheet of this.sheets) if (sheet.layers.includes(layer)) sheet.isDirty = true
    this.schedule()
  }

  invalidateAll(): void {
    for (const sheet of this.sheets) sheet.isDirty = true
    this.schedule()
  }

  destroy(): void {
    if (this.nextFrame !== null) cancelAnimationFrame(this.nextFrame)
    this.observer?.disconnect()
    this.ratioQuery?.removeEventListener('change', this.ratioChanged)
    for (const sheet of this.sheets) sheet.canvas.remove()
    this.sheets.length = 0
  }

  private schedule(): void {
    if (this.nextFrame !== null) return
    this.nextFrame = requestAnimationFrame(() => {
      this.nextFrame = null
      this.drawFrame()
    })
  }

  private drawFrame(): void {
    const { width, height } = this.deviceSize
    if (width === 0 || height === 0) return
    const pixelRatio = width / this.cssSize.width
    const frame: Frame = { viewport: this.current, stage: this.cssSize, pixelRatio }
    for (const sheet of this.sheets) {
      if (!sheet.isDirty) continue
      sheet.isDirty = false
      drawSheet(sheet, frame, this.deviceSize)
    }
    this.callbacks.drawn()
  }

  private measure(entry?: ResizeObserverEntry): void {
    const from = this.cssSize
    this.readSize(entry)
    const { width, height } = this.cssSize
    if (width !== from.width || height !== from.height) this.callbacks.resized(this.cssSize, from)
    this.invalidateAll()
  }

  private readSize(entry?: ResizeObserverEntry): void {
    const width = this.element.clientWidth
    const height = this.element.clientHeight
    const ratio = window.devicePixelRatio || 1
    const exact = entry?.devicePixelContentBoxSize?.[0]
    this.cssSize = { width, height }
    this.deviceSize = {
      width: exact?.inlineSize ?? Math.round(width * ratio),
      height: exact?.blockSize ?? Math.round(height * ratio),
    }
  }

  /** A media query matches one ratio only, so each change needs a new one. */
  private watchPixelRatio(): void {
    this.ratioQuery?.removeEventListener('change', this.ratioChanged)
    this.ratioQuery = window.matchMedia?.(`(resolution: ${window.devicePixelRatio || 1}dppx)`) ?? null
    this.ratioQuery?.addEventListener('change', this.ratioChanged)
  }

  private readonly ratioChanged = (): void => {
    this.watchPixelRatio()
    this.measure()
  }
}

function drawSheet(sheet: Sheet, frame: Frame, device: Size): void {
  const { canvas, context } = sheet
  // Giving a canvas a size clears it and throws its memory away, so only when it differs.
  if (canvas.width !== device.width || canvas.height !== device.height) {
    canvas.width = device.width
    canvas.height = device.height
  }
  if (context === null) return
  context.setTransform(1, 0, 0, 1, 0, 0)
  context.clearRect(0, 0, device.width, device.height)
  for (const layer of sheet.layers) {
    if (!layer.visible || layer.opacity === 0) continue
    context.save()
    context.setTransform(device.width / frame.stage.width, 0, 0, device.height / frame.stage.height, 0, 0)
    context.globalAlpha = layer.opacity
    layer.draw(context, frame)
    context.restore()
  }
}
