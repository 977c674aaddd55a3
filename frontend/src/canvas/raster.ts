import { type FixedPoint, type Pixel, type Size, SUBPIXEL } from './geometry'

/**
 * Runs of pixels, flattened as [y, x, length, y, x, length, ...]: ordered by y, then x; runs of one row neither
 * overlap nor touch. The form of the contract's mask spans.
 */
export type Spans = Int32Array

const HALF = SUBPIXEL / 2

/**
 * The pixels under a stroke, by the rule that the server follows too (integers only, sixteenths of a pixel).
 *
 * Between two points the line is sampled at most half a pixel apart. A pixel belongs to the stroke if its centre is
 * within `radius` of a sample, or if it contains a sample: a stroke of radius 0 is a thin line without gaps.
 */
export function rasterStroke(points: readonly FixedPoint[], radius: number, image: Size): Spans {
  const rows = new RowRuns(image)
  const first = points[0]
  if (first === undefined) return rows.spans()
  if (points.length === 1) addDisc(rows, first.x, first.y, radius)
  for (let i = 1; i < points.length; i++) {
    const a = points[i - 1] as FixedPoint
    const b = points[i] as FixedPoint
    const dx = b.x - a.x
    const dy = b.y - a.y
    const steps = Math.max(1, Math.ceil(Math.max(Math.abs(dx), Math.abs(dy)) / HALF))
    for (let step = i === 1 ? 0 : 1; step <= steps; step++) {
      addDisc(rows, a.x + Math.floor((dx * step) / steps), a.y + Math.floor((dy * step) / steps), radius)
    }
  }
  return rows.spans()
}

/** The spans of a single pixel; none when it lies outside the image. */
export function rasterClick(pixel: Pixel, image: Size): Spans {
  const rows = new RowRuns(image)
  rows.add(pixel.y, pixel.x, pixel.x + 1)
  return rows.spans()
}

/** Runs [y, x, length, ...] in any order, as a mask event carries them, without what lies outside the image. */
export function rasterRuns(runs: ArrayLike<number>, image: Size): Spans {
  const rows = new RowRuns(image)
  for (let i = 0; i + 2 < runs.length; i += 3) {
    const x = runs[i + 1] as number
    rows.add(runs[i] as number, x, x + (runs[i + 2] as number))
  }
  return rows.spans()
}

function addDisc(rows: RowRuns, sampleX: number, sampleY: number, radius: number): void {
  const x = Math.floor(sampleX / SUBPIXEL)
  rows.add(Math.floor(sampleY / SUBPIXEL), x, x + 1)
  const top = Math.ceil((sampleY - radius - HALF) / SUBPIXEL)
  const bottom = Math.floor((sampleY + radius - HALF) / SUBPIXEL)
  for (let y = top; y <= bottom; y++) {
    const dy = SUBPIXEL * y + HALF - sampleY
    const reach = Math.floor(Math.sqrt(radius * radius - dy * dy))
    const start = Math.ceil((sampleX - reach - HALF) / SUBPIXEL)
    const end = Math.floor((sampleX + reach - HALF) / SUBPIXEL) + 1
    if (end > start) rows.add(y, start, end)
  }
}

/** Collects runs row by row. Neighbouring samples overlap nearly everywhere, so a run mostly grows the last one. */
class RowRuns {
  private readonly rows: number[][] = []

  constructor(private readonly image: Size) {}

  /** Adds [start, end) of row y; what lies outside the image is dropped. */
  add(y: number, start: number, end: number): void {
    if (y < 0 || y >= this.image.height) return
    const from = Math.max(0, start)
    const to = Math.min(this.image.width, end)
    if (to <= from) return
    const runs = this.rows[y]
    if (runs === undefined) {
      this.rows[y] = [from, to]
      return
    }
    const last = runs.length - 2
    const lastFrom = runs[last] as number
    const lastTo = runs[last + 1] as number
    if (from <= lastTo && to >= lastFrom) {
      runs[last] = Math.min(from, lastFrom)
      runs[last + 1] = Math.max(to, lastTo)
    } else {
      runs.push(from, to)
    }
  }

  spans(): Spans {
    const flat: number[] = []
    // forEach goes in order of y and skips the rows that nothing was added to.
    this.rows.forEach((runs, y) => {
      pushRuns(flat, y, mergedRuns(runs))
    })
    return Int32Array.from(flat)
  }
}

/** [from, to, from, to, ...] in order, without overlaps. */
function mergedRuns(runs: readonly number[]): number[] {
  if (runs.length === 2) return [...runs]
  const pairs: [number, number][] = []
  for (let i = 0; i < runs.length; i += 2) pairs.push([runs[i] as number, runs[i + 1] as number])
  pairs.sort((a, b) => a[0] - b[0])
  const merged: number[] = []
  for (const [from, to] of pairs) {
    const lastTo = merged[merged.length - 1]
    if (lastTo !== undefined && from <= lastTo) merged[merged.length - 1] = Math.max(lastTo, to)
    else merged.push(from, to)
  }
  return merged
}

function pushRuns(flat: number[], y: number, runs: readonly number[]): void {
  for (let i = 0; i < runs.length; i += 2) {
    flat.push(y, runs[i] as number, (runs[i + 1] as number) - (runs[i] as number))
  }
}

/** Row -> [from, to, from, to, ...]. */
export function runsByRow(spans: Spans): Map<number, number[]> {
  const rows = new Map<number, number[]>()
  for (let i = 0; i < spans.length; i += 3) {
    const y = spans[i] as number
    const from = spans[i + 1] as number
    const runs = rows.get(y)
    if (runs === undefined) rows.set(y, [from, from + (spans[i + 2] as number)])
    else runs.push(from, from + (spans[i + 2] as number))
  }
  return rows
}

export function area(spans: Spans): number {
  let pixels = 0
  for (let i = 2; i < spans.length; i += 3) pixels += spans[i] as number
  return pixels
}

/** The pixels of `a` that are not in `b`. */
export function subtract(a: Spans, b: Spans): Spans {
  const rows = runsByRow(b)
  const flat: number[] = []
  for (let i = 0; i < a.length; i += 3) {
    const y = a[i] as number
    pushRuns(flat, y, runsWithout(a[i + 1] as number, (a[i + 1] as number) + (a[i + 2] as number), rows.get(y) ?? []))
  }
  return Int32Array.from(flat)
}

/** What of [from, to) lies in none of the runs, which are in order and do not overlap. */
export function runsWithout(from: number, to: number, runs: readonly number[]): number[] {
  const left: number[] = []
  let start = from
  for (let j = 0; j < runs.length; j += 2) {
    const runFrom = runs[j] as number
    const runTo = runs[j + 1] as number
    if (runTo <= start) continue
    if (runFrom >= to) break
    if (runFrom > start) left.push(start, runFrom)
    start = runTo
  }
  if (start < to) left.push(start, to)
  return left
}

/** Every pixel of the spans, in their order. */
export function* pixelsOf(spans: Spans): Generator<Pixel> {
  for (let i = 0; i < spans.length; i += 3) {
    const y = spans[i] as number
    const x = spans[i + 1] as number
    for (let offset = 0; offset < (spans[i + 2] as number); offset++) yield { x: x + offset, y }
  }
}

/** The pixels under a stroke as places in a plane of that size, y * width + x, ascending. */
export function strokePixels(
  points: readonly FixedPoint[],
  radius: number,
  width: number,
  height: number,
): Uint32Array {
  const spans = rasterStroke(points, radius, { width, height })
  const places = new Uint32Array(area(spans))
  let next = 0
  for (let i = 0; i < spans.length; i += 3) {
    const start = (spans[i] as number) * width + (spans[i + 1] as number)
    for (let offset = 0; offset < (spans[i + 2] as number); offset++) places[next++] = start + offset
  }
  return places
}
