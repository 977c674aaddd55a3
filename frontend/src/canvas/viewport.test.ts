import { describe, expect, it } from 'vitest'
import { imagePoint, screenPoint } from './geometry'
import { fit, MAX_SCALE, MIN_SCALE, Viewport } from './viewport'

/** A small linear congruential generator: the same "random" cases in every run. */
function numbers(seed: number): (low: number, high: number) => number {
  let state = seed
  return (low, high) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return low + (state / 2 ** 32) * (high - low)
  }
}

describe('the viewport', () => {
  it('brings a point back from the screen to where it was in the image', () => {
    const number = numbers(1)
    for (let i = 0; i < 500; i++) {
      const view = new Viewport(2 ** number(-6, 6), number(-5000, 5000), number(-5000, 5000))
      const point = imagePoint(number(-100, 8000), number(-100, 8000))

      const back = view.toImage(view.toScreen(point))

      expect(back.x).toBeCloseTo(point.x, 6)
      expect(back.y).toBeCloseTo(point.y, 6)
    }
  })

  it('keeps the image point under the cursor in place while zooming', () => {
    const number = numbers(2)
    for (let i = 0; i < 500; i++) {
      const view = new Viewport(2 ** number(-5, 5), number(-2000, 2000), number(-2000, 2000))
      const anchor = screenPoint(number(0, 1920), number(0, 1080))

      const zoomed = view.zoomAt(anchor, 2 ** number(-2, 2))

      expect(zoomed.toImage(anchor).x).toBeCloseTo(view.toImage(anchor).x, 6)
      expect(zoomed.toImage(anchor).y).toBeCloseTo(view.toImage(anchor).y, 6)
    }
  })

  it('stays within its smallest and largest scale', () => {
    const anchor = screenPoint(10, 10)

    expect(Viewport.identity.zoomAt(anchor, 1e9).scale).toBe(MAX_SCALE)
    expect(Viewport.identity.zoomAt(anchor, 1e-9).scale).toBe(MIN_SCALE)
  })

  it('fits the whole image in the middle of the stage', () => {
    const view = fit({ width: 480, height: 360 }, { width: 1280, height: 800 }, 16)

    const corner = view.toScreen(imagePoint(0, 0))
    const opposite = view.toScreen(imagePoint(480, 360))

    expect(corner.y).toBeCloseTo(16)
    expect(opposite.y).toBeCloseTo(784)
    expect(corner.x).toBeCloseTo(1280 - opposite.x)
  })

  it('centres a pixel at the scale asked for', () => {
    const view = Viewport.identity.centreOn(imagePoint(100.5, 50.5), { width: 800, height: 600 }, 8)

    expect(view.toScreen(imagePoint(100.5, 50.5))).toEqual({ x: 400, y: 300 })
    expect(view.scale).toBe(8)
  })

  it('never loses the image out of sight', () => {
    const image = { width: 100, height: 100 }
    const stage = { width: 800, height: 600 }

    const view = new Viewport(1, 99_999, -99_999).keepInSight(image, stage, 48)

    expect(view.visible(image, stage)).toEqual({ x: 0, y: 52, width: 48, height: 48 })
  })
})
