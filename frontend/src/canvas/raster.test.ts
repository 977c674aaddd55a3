import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { FixedPoint, Size } from './geometry'
import { area, pixelsOf, rasterClick, rasterRuns, rasterStroke, type Spans, strokePixels, subtract } from './raster'

const IMAGE = { width: 24, height: 16 }

/** The rule word by word: every pixel against every sample. */
function byTheRule(points: readonly FixedPoint[], radius: number, image: Size): string[] {
  const samples: FixedPoint[] = points.length === 1 ? [...points] : []
  for (let i = 1; i < points.length; i++) {
    const [a, b] = [points[i - 1] as FixedPoint, points[i] as FixedPoint]
    const n = Math.max(1, Math.ceil(Math.max(Math.abs(b.x - a.x), Math.abs(b.y - a.y)) / 8))
    for (let k = 0; k <= n; k++) {
      samples.push({ x: a.x + Math.floor(((b.x - a.x) * k) / n), y: a.y + Math.floor(((b.y - a.y) * k) / n) })
    }
  }
  const covered: string[] = []
  for (let y = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++) {
      const hit = samples.some((sample) => {
        const near = (16 * x + 8 - sample.x) ** 2 + (16 * y + 8 - sample.y) ** 2 <= radius ** 2
        return near || (Math.floor(sample.x / 16) === x && Math.floor(sample.y / 16) === y)
      })
      if (hit) covered.push(`${x},${y}`)
    }
  }
  return covered
}

const listed = (spans: Spans): string[] => [...pixelsOf(spans)].map((pixel) => `${pixel.x},${pixel.y}`)

describe('the pixels under a stroke', () => {
  it.each([
    { remark: 'a tap of radius 0 is its pixel', points: [{ x: 40, y: 40 }], radius: 0 },
    { remark: 'a tap on a corner between four pixels', points: [{ x: 32, y: 32 }], radius: 12 },
    {
      remark: 'a thin diagonal has no gaps',
      points: [
        { x: 0, y: 0 },
        { x: 255, y: 200 },
      ],
      radius: 0,
    },
    {
      remark: 'a thick line that goes left and up',
      points: [
        { x: 300, y: 200 },
        { x: 20, y: 31 },
      ],
      radius: 41,
    },
    {
      remark: 'a line that leaves the image',
      points: [
        { x: -60, y: 100 },
        { x: 500, y: -30 },
      ],
      radius: 30,
    },
    {
      remark: 'a loop that crosses itself',
      points: [
        { x: 50, y: 50 },
        { x: 250, y: 60 },
        { x: 120, y: 200 },
        { x: 130, y: 10 },
        { x: 50, y: 50 },
      ],
      radius: 19,
    },
    { remark: 'wholly outside', points: [{ x: -400, y: -400 }], radius: 16 },
  ])('follow the rule: $remark', ({ points, radius }) => {
    expect(listed(rasterStroke(points, radius, IMAGE))).toEqual(byTheRule(points, radius, IMAGE))
  })

  it('are found in a moment for the widest brush swept over a large image', () => {
    const points = Array.from({ length: 3 }, (_, i) => ({ x: (i * 27_919) % 64_000, y: (i * 34_729) % 48_000 }))
    const start = performance.now()

    const spans = rasterStroke(points, 256 * 16, { width: 4000, height: 3000 })

    expect(area(spans)).toBeGreaterThan(1_000_000)
    expect(performance.now() - start).toBeLessThan(5000)
  })
})

interface GoldenStroke extends Size {
  readonly name: string
  readonly points: FixedPoint[]
  readonly radius: number
  /** [y, x], ascending. */
  readonly pixels: [number, number][]
}

describe('the golden strokes, which the server reads too', () => {
  const path = resolve(import.meta.dirname, '../../../tests/golden/raster.json')
  const strokes = JSON.parse(readFileSync(path, 'utf8')) as GoldenStroke[]

  it.each(strokes)('$name', ({ points, radius, width, height, pixels }) => {
    const spans = rasterStroke(points, radius, { width, height })

    expect([...pixelsOf(spans)].map(({ x, y }) => [y, x])).toEqual(pixels)
    expect([...strokePixels(points, radius, width, height)]).toEqual(pixels.map(([y, x]) => y * width + x))
  })
})

describe('spans', () => {
  const bar = rasterStroke(
    [
      { x: 0, y: 40 },
      { x: 380, y: 40 },
    ],
    0,
    IMAGE,
  )
  const post = rasterStroke(
    [
      { x: 104, y: 0 },
      { x: 104, y: 255 },
    ],
    0,
    IMAGE,
  )

  it('lose exactly the pixels of what is taken from them', () => {
    const left = subtract(bar, post)

    expect(area(left)).toBe(area(bar) - 1)
    expect(listed(left)).not.toContain('6,2')
  })

  it('of a mask may come in any order and reach beyond the image', () => {
    const spans = rasterRuns([5, 2, 3, 1, 20, 9, 5, 4, 2, 40, 0, 5], IMAGE)

    expect([...spans]).toEqual([1, 20, 4, 5, 2, 4])
  })

  it('of a pixel outside the image are none', () => {
    expect(area(rasterClick({ x: 99, y: 3 }, IMAGE))).toBe(0)
  })
})
