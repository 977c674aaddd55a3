import { clamp, distance, type ScreenPoint, screenPoint } from './geometry'

/** What a press of a button, pen or finger is for: the tool in hand, the eraser, or moving the picture. */
export type Purpose = 'tool' | 'erase' | 'pan'

export interface Wheel {
  /** Notches away from the hand are positive; a touchpad gives fractions. */
  readonly notches: number
  readonly shift: boolean
  readonly alt: boolean
  /** Two fingers spreading on a touchpad. */
  readonly isPinch: boolean
}

/** Where pointer events end as plain screen positions. One gesture at a time: start, move*, then end or cancel. */
export interface PointerHandlers {
  start(at: ScreenPoint, purpose: Purpose): void
  move(path: readonly ScreenPoint[]): void
  end(at: ScreenPoint): void
  cancel(): void
  /** The pointer is over the stage without pressing; null when it left. */
  hover(at: ScreenPoint | null, isErasing: boolean): void
  /** Two fingers moved: their middle, how it moved, and how much farther apart they are. */
  pinch(centre: ScreenPoint, moved: { dx: number; dy: number }, factor: number): void
  wheel(at: ScreenPoint, wheel: Wheel): void
  /** Whether a finger that drags moves the picture, because the tool in hand takes single pixels. */
  fingerDragPans(): boolean
}

const ERASER_BUTTON = 32
/** A finger that travelled farther than this is not a tap any more; in CSS pixels. */
const TAP_TRAVEL = 10
/** Wheel travel that counts as one notch, in CSS pixels. */
const NOTCH = 100
const LINE_HEIGHT = 33

/** Mouse, pen, fingers and wheel on an element, told apart once and for all. */
export class PointerInput {
  /** While true a drag moves the picture, whatever the tool (Space is held). */
  isHandHeld = false
  private activeId: number | null = null
  private startedAt: ScreenPoint | null = null
  private isTap = false
  private isFinger = false
  private hasPen = false
  private readonly fingers = new Map<number, ScreenPoint>()
  private readonly listening = new AbortController()

  constructor(
    private readonly element: HTMLElement,
    private readonly handlers: PointerHandlers,
  ) {
    element.style.touchAction = 'none'
    const { signal } = this.listening
    element.addEventListener('pointerdown', (event) => this.down(event), { signal })
    element.addEventListener('pointermove', (event) => this.move(event), { signal })
    element.addEventListener('pointerup', (event) => this.up(event), { signal })
    element.addEventListener('pointercancel', (event) => this.lost(event), { signal })
    element.addEventListener('pointerleave', () => this.leave(), { signal })
    element.addEventListener('wheel', (event) => this.wheel(event), { signal, passive: false })
    // Else the middle button starts the browser's own scrolling.
    element.addEventListener('mousedown', (event) => event.button === 1 && event.preventDefault(), { signal })
    element.addEventListener('contextmenu', (event) => event.preventDefault(), { signal })
  }

  destroy(): void {
    this.listening.abort()
  }

  private down(event: PointerEvent): void {
    const at = this.place(event)
    if (event.pointerType === 'pen') this.hasPen = true
    if (event.pointerType === 'touch') {
      this.fingers.set(event.pointerId, at)
      if (this.fingers.size === 2) {
        this.abandon()
        return
      }
    }
    if (this.activeId !== null || this.fingers.size > 2) return
    // Stops the selection of text around the stage; the focus must then be asked for.
    event.preventDefault()
    this.element.focus({ preventScroll: true })
    capture(this.element, event.pointerId)
    this.activeId = event.pointerId
    this.startedAt = at
    this.isFinger = event.pointerType === 'touch'
    this.isTap = true
    this.handlers.start(at, this.purposeOf(event))
  }

  private move(event: PointerEvent): void {
    const at = this.place(event)
    if (event.pointerType === 'touch' && this.fingers.has(event.pointerId)) {
      const pinched = this.movePinch(event.pointerId, at)
      this.fingers.set(event.pointerId, at)
      if (pinched) return
    }
    if (event.pointerId !== this.activeId) {
      if (this.activeId === null && event.pointerType !== 'touch') this.handlers.hover(at, isErasing(event))
      return
    }
    if (this.isTap && this.startedAt !== null && distance(at, this.startedAt) > TAP_TRAVEL) {
      this.isTap = false
      if (this.isFinger && this.handlers.fingerDragPans()) {
        this.handlers.cancel()
        this.handlers.start(this.startedAt, 'pan')
      }
    }
    const events = event.getCoalescedEvents?.() ?? []
    this.handlers.move(events.length === 0 ? [at] : events.map((each) => this.place(each)))
  }

  private up(event: PointerEvent): void {
    this.fingers.delete(event.pointerId)
    if (event.pointerId !== this.activeId) return
    this.activeId = null
    this.handlers.end(this.place(event))
  }

  private lost(event: PointerEvent): void {
    this.fingers.delete(event.pointerId)
    if (event.pointerId === this.activeId) this.abandon()
  }

  private leave(): void {
    if (this.activeId === null) this.handlers.hover(null, false)
  }

  private abandon(): void {
    if (this.activeId === null) return
    this.activeId = null
    this.handlers.cancel()
  }

  private movePinch(pointerId: number, at: ScreenPoint): boolean {
    if (this.fingers.size !== 2) return false
    const before = this.fingers.get(pointerId) as ScreenPoint
    const other = [...this.fingers].find(([id]) => id !== pointerId)?.[1] as ScreenPoint
    const centre = screenPoint((at.x + other.x) / 2, (at.y + other.y) / 2)
    const moved = { dx: (at.x - before.x) / 2, dy: (at.y - before.y) / 2 }
    this.handlers.pinch(centre, moved, distance(at, other) / Math.max(1, distance(before, other)))
    return true
  }

  private purposeOf(event: PointerEvent): Purpose {
    if (event.button === 1 || this.isHandHeld) return 'pan'
    if (event.pointerType === 'touch' && this.hasPen) return 'pan'
    return isErasing(event) ? 'erase' : 'tool'
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault()
    const unit = event.deltaMode === 0 ? 1 : event.deltaMode === 1 ? LINE_HEIGHT : this.element.clientHeight
    // With Shift some browsers turn the wheel sideways.
    const travel = (event.deltaY === 0 ? event.deltaX : event.deltaY) * unit
    this.handlers.wheel(this.place(event), {
      notches: clamp(-travel / NOTCH, -4, 4),
      shift: event.shiftKey,
      alt: event.altKey,
      isPinch: event.ctrlKey,
    })
  }

  private place(event: MouseEvent): ScreenPoint {
    const box = this.element.getBoundingClientRect()
    return screenPoint(
      event.clientX - box.left - this.element.clientLeft,
      event.clientY - box.top - this.element.clientTop,
    )
  }
}

function isErasing(event: PointerEvent): boolean {
  return event.button === 2 || event.altKey || (event.buttons & ERASER_BUTTON) !== 0
}

/** Keeps the moves coming when the pointer leaves the element; a pointer that is gone already cannot be captured. */
function capture(element: HTMLElement, pointerId: number): void {
  try {
    element.setPointerCapture(pointerId)
  } catch {
    // The gesture then ends at the element's border.
  }
}
