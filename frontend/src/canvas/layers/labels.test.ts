import { describe, expect, it } from 'vitest'
import { area, pixelsOf, rasterStroke } from '../raster'
import { type LabelShape, shapeSpans } from './labels'

const IMAGE = { width: 32, height: 24 }
const click: LabelShape = { id: 'a', kind: 'click', colour: '#0072b2', pixel: { x: 4, y: 5 } }
const line: LabelShape = {
  id: 'b',
  kind: 'stroke',
  colour: null,
  points: [
    { x: 8, y: 168 },
    { x: 500, y: 168 },
  ],
  radius: 32,
}

describe('a label on the stage', () => {
  it('covers the pixels of its stroke', () => {
    expect(shapeSpans(line, IMAGE)).toEqual(rasterStroke(line.points, line.radius, IMAGE))
  })

  it('loses exactly the pixels that an eraser took', () => {
    const eraser = { points: [{ x: 200, y: 168 }], radius: 40 }

    const left = shapeSpans({ ...line, erasers: [eraser] }, IMAGE)

    const erased = new Set([...pixelsOf(rasterStroke(eraser.points, eraser.radius, IMAGE))].map((p) => `${p.x},${p.y}`))
    const expected = [...pixelsOf(shapeSpans(line, IMAGE))].filter((p) => !erased.has(`${p.x},${p.y}`))
    expect([...pixelsOf(left)]).toEqual(expected)
  })

  it('is gone when its one pixel was erased', () => {
    const erasers = [{ points: [{ x: 72, y: 88 }], radius: 0 }]

    expect(area(shapeSpans({ ...click, erasers }, IMAGE))).toBe(0)
  })
})
