import { describe, expect, it } from 'vitest'
import { boundsOf, outline } from './outline'
import { rasterStroke } from './raster'

/** Every edge cut into pieces of one pixel, in order. */
function pieces(edges: readonly number[]): string[] {
  const found: string[] = []
  for (let i = 0; i < edges.length; i += 4) {
    const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = edges.slice(i, i + 4)
    for (let x = x1; x < x2; x++) found.push(`level ${x},${y1}`)
    for (let y = y1; y < y2; y++) found.push(`upright ${x1},${y}`)
  }
  return found.sort()
}

describe('the outline of an area', () => {
  it('is every edge between a covered and a free pixel, once', () => {
    const spans = rasterStroke(
      [
        { x: 40, y: 60 },
        { x: 300, y: 200 },
        { x: 60, y: 210 },
      ],
      30,
      { width: 24, height: 16 },
    )
    const covered = new Set<string>()
    for (let i = 0; i < spans.length; i += 3) {
      for (let k = 0; k < (spans[i + 2] ?? 0); k++) covered.add(`${(spans[i + 1] ?? 0) + k},${spans[i]}`)
    }
    const expected: string[] = []
    for (let y = 0; y <= 16; y++) {
      for (let x = 0; x <= 24; x++) {
        const here = covered.has(`${x},${y}`)
        if (here !== covered.has(`${x},${y - 1}`)) expected.push(`level ${x},${y}`)
        if (here !== covered.has(`${x - 1},${y}`)) expected.push(`upright ${x},${y}`)
      }
    }

    expect(pieces(outline(spans))).toEqual(expected.sort())
  })

  it('of a block has four edges', () => {
    expect(outline(Int32Array.from([2, 3, 2, 3, 3, 2, 4, 3, 2]))).toHaveLength(16)
  })

  it('lies within its bounds', () => {
    expect(boundsOf(Int32Array.from([2, 5, 2, 3, 1, 9]))).toEqual({ x: 1, y: 2, width: 9, height: 2 })
    expect(boundsOf(new Int32Array(0))).toBeNull()
  })
})
