import { clamp, type FixedPoint, type ImagePoint, type Size, SUBPIXEL, toFixedPoint } from './geometry'

/** The contract takes no more points in one stroke. */
export const MAX_STROKE_POINTS = 4096
/** The contract's bound on what drawing one stroke costs: samples times rows of the brush. */
export const MAX_STROKE_WORK = 2 ** 27
/** Sixteenths of a pixel between two samples of a stroke, as in raster.ts. */
const SAMPLE_STEP = 8
/** The contract's largest radius, in sixteenths of a pixel. */
export const MAX_RADIUS = 256 * SUBPIXEL

/** A brush radius in image pixels (fractions allowed) as the contract's integer sixteenths, held within its bounds. */
export function fixedRadius(radiusPx: number): number {
  return clamp(Math.round(radiusPx * SUBPIXEL), 0, MAX_RADIUS)
}

/**
 * The polyline of a drawn stroke: fixed point, without points that change it by less than the tolerance.
 *
 * First and last sample stay. Points beyond the image by more than the radius are moved to that border, where their
 * disc touches no pixel of the image. More than MAX_STROKE_POINTS remaining points raise the tolerance until they fit.
 *
 * @param tolerance largest distance between drawn and simplified line, in sixteenths of a pixel
 */
export function strokePoints(
  samples: readonly ImagePoint[],
  radius: number,
  image: Size,
  tolerance: number,
): FixedPoint[] {
  const points = withoutRepeats(
    samples.map((sample) => {
      const point = toFixedPoint(sample)
      return {
        x: clamp(point.x, -radius, image.width * SUBPIXEL - 1 + radius),
        y: clamp(point.y, -radius, image.height * SUBPIXEL - 1 + radius),
      }
    }),
  )
  let allowed = Math.max(0, tolerance)
  let simplified = simplify(points, allowed)
  while (simplified.length > MAX_STROKE_POINTS) {
    allowed = Math.max(1, allowed * 2)
    simplified = simplify(points, allowed)
  }
  return simplified
}

/**
 * A stroke in pieces that the server takes: one piece nearly always, more for a wide brush moved very far.
 *
 * Each piece begins where the one before ends, so together they cover the pixels of the whole.
 *
 * @param most largest work of a piece; a single segment beyond it is a piece of its own
 */
export function strokePieces(
  points: readonly FixedPoint[],
  radius: number,
  most: number = MAX_STROKE_WORK,
): FixedPoint[][] {
  const rows = 2 * Math.floor(radius / SUBPIXEL) + 2
  const pieces: FixedPoint[][] = []
  let piece: FixedPoint[] = []
  let samples = 0
  for (const point of points) {
    const last = piece[piece.length - 1]
    const more = last === undefined ? 1 : 1 + segmentSamples(last, point)
    if (last !== undefined && piece.length > 1 && (samples + more) * rows > most) {
      pieces.push(piece)
      piece = [last]
      samples = 1
    }
    piece.push(point)
    samples += more
  }
  pieces.push(piece)
  return pieces
}

function segmentSamples(a: FixedPoint, b: FixedPoint): number {
  return Math.ceil(Math.max(Math.abs(b.x - a.x), Math.abs(b.y - a.y)) / SAMPLE_STEP)
}

function withoutRepeats(points: readonly FixedPoint[]): FixedPoint[] {
  return points.filter((point, i) => {
    const before = points[i - 1]
    return before === undefined || before.x !== point.x || before.y !== point.y
  })
}

/** Ramer-Douglas-Peucker with a stack instead of recursion: a long stroke must not exhaust the call stack. */
export function simplify(points: readonly FixedPoint[], tolerance: number): FixedPoint[] {
  if (points.length <= 2) return [...points]
  const kept = new Uint8Array(points.length)
  kept[0] = 1
  kept[points.length - 1] = 1
  const limit = tolerance * tolerance
  const spans: [number, number][] = [[0, points.length - 1]]
  for (let span = spans.pop(); span !== undefined; span = spans.pop()) {
    const [first, last] = span
    const a = points[first] as FixedPoint
    const b = points[last] as FixedPoint
    let farthest = -1
    let most = limit
    for (let i = first + 1; i < last; i++) {
      const away = squaredDistanceToSegment(points[i] as FixedPoint, a, b)
      if (away > most) {
        most = away
        farthest = i
      }
    }
    if (farthest < 0) continue
    kept[farthest] = 1
    spans.push([first, farthest], [farthest, last])
  }
  return points.filter((_, i) => kept[i] === 1)
}

function squaredDistanceToSegment(point: FixedPoint, a: FixedPoint, b: FixedPoint): number {
  const dx = b.x - a.x
  const dy = b.y - a.y
  const lengthSquared = dx * dx + dy * dy
  const along = lengthSquared === 0 ? 0 : clamp(((point.x - a.x) * dx + (point.y - a.y) * dy) / lengthSquared, 0, 1)
  const offX = point.x - (a.x + along * dx)
  const offY = point.y - (a.y + along * dy)
  return offX * offX + offY * offY
}
