import { describe, expect, it } from 'vitest'
import { imagePoint } from './geometry'
import { fixedRadius, MAX_RADIUS, MAX_STROKE_POINTS, simplify, strokePieces, strokePoints } from './stroke'

const IMAGE = { width: 100, height: 80 }

describe('a stroke', () => {
  it('keeps the pixel that each end lies in', () => {
    const points = strokePoints([imagePoint(3.999, 4), imagePoint(10.5, 4.2)], 0, IMAGE, 4)

    expect(points).toEqual([
      { x: 63, y: 64 },
      { x: 168, y: 67 },
    ])
  })

  it('needs two points for a straight line, however many samples came', () => {
    const samples = Array.from({ length: 500 }, (_, i) => imagePoint(10 + i * 0.1, 20))

    expect(strokePoints(samples, 16, IMAGE, 2)).toHaveLength(2)
  })

  it('stays within the tolerance of what was drawn', () => {
    const samples = Array.from({ length: 400 }, (_, i) =>
      imagePoint(50 + 30 * Math.cos(i / 60), 40 + 30 * Math.sin(i / 60)),
    )

    const points = strokePoints(samples, 16, IMAGE, 4)

    expect(points.length).toBeLessThan(60)
    for (const sample of samples) {
      const nearest = Math.min(...points.slice(1).map((b, i) => away(sample, points[i] ?? b, b)))
      expect(nearest).toBeLessThanOrEqual(4 + 1.5)
    }
  })

  it('of one tap is one point', () => {
    expect(strokePoints([imagePoint(5, 5), imagePoint(5.01, 5.01)], 16, IMAGE, 4)).toEqual([{ x: 80, y: 80 }])
  })

  it('may leave the image by its radius and no farther', () => {
    const points = strokePoints([imagePoint(-500, 40), imagePoint(900, 40)], 32, IMAGE, 4)

    expect(points.map((point) => point.x)).toEqual([-32, 100 * 16 - 1 + 32])
  })

  it('never has more points than the contract takes', () => {
    const samples = Array.from({ length: 20_000 }, (_, i) => imagePoint((i * 37) % 100, (i * 53) % 80))

    expect(strokePoints(samples, 0, IMAGE, 0).length).toBeLessThanOrEqual(MAX_STROKE_POINTS)
  })

  it('with tolerance 0 loses nothing but points on the line', () => {
    const corner = [0, 1, 2].map((x) => ({ x, y: 0 })).concat([{ x: 2, y: 5 }])

    expect(simplify(corner, 0)).toEqual([
      { x: 0, y: 0 },
      { x: 2, y: 0 },
      { x: 2, y: 5 },
    ])
  })

  it('has a radius in sixteenths within the bounds of the contract', () => {
    expect(fixedRadius(1.5)).toBe(24)
    expect(fixedRadius(-1)).toBe(0)
    expect(fixedRadius(10_000)).toBe(MAX_RADIUS)
  })
})

/** Distance of an image point from a fixed-point segment, in sixteenths. */
function away(sample: { x: number; y: number }, a: { x: number; y: number }, b: { x: number; y: number }): number {
  const [dx, dy] = [b.x - a.x, b.y - a.y]
  const along = Math.min(
    1,
    Math.max(0, ((sample.x * 16 - a.x) * dx + (sample.y * 16 - a.y) * dy) / (dx * dx + dy * dy)),
  )
  return Math.hypot(sample.x * 16 - a.x - along * dx, sample.y * 16 - a.y - along * dy)
}

describe('strokePieces', () => {
  it('leaves an ordinary stroke whole', () => {
    const points = [
      { x: 0, y: 0 },
      { x: 160, y: 80 },
    ]
    expect(strokePieces(points, 16 * 20)).toEqual([points])
  })

  it('cuts a stroke that the server would refuse into pieces that touch', () => {
    const points = Array.from({ length: 50 }, (_, i) => ({ x: (i % 2) * 8000, y: i * 100 }))
    const pieces = strokePieces(points, 160, 50_000)
    expect(pieces.length).toBeGreaterThan(1)
    for (const [i, piece] of pieces.entries()) {
      const before = pieces[i - 1]
      if (before !== undefined) expect(piece[0]).toEqual(before[before.length - 1])
      const samples = piece
        .slice(1)
        .reduce((sum, point, k) => sum + 1 + Math.ceil(Math.abs(point.x - (piece[k]?.x ?? 0)) / 8), 1)
      expect(samples * 22).toBeLessThanOrEqual(50_000)
    }
    expect(pieces.flatMap((piece, i) => (i === 0 ? piece : piece.slice(1)))).toEqual(points)
  })
})
