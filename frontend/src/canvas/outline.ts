import type { Rect } from './geometry'
import { runsByRow, runsWithout, type Spans } from './raster'

/** Edges between covered and uncovered pixels: [x1, y1, x2, y2, ...] in image pixels, straight ones in one piece. */
export function outline(spans: Spans): number[] {
  const rows = runsByRow(spans)
  const edges: number[] = []
  /** x of a vertical edge -> the y it began at and the y it has reached. */
  const upright = new Map<number, [number, number]>()
  const none: number[] = []
  for (const [y, runs] of rows) {
    const above = rows.get(y - 1) ?? none
    const below = rows.get(y + 1) ?? none
    for (let i = 0; i < runs.length; i += 2) {
      const from = runs[i] as number
      const to = runs[i + 1] as number
      pushLevel(edges, y, runsWithout(from, to, above))
      pushLevel(edges, y + 1, runsWithout(from, to, below))
      for (const x of [from, to]) {
        const edge = upright.get(x)
        if (edge !== undefined && edge[1] === y) {
          edge[1] = y + 1
          continue
        }
        if (edge !== undefined) edges.push(x, edge[0], x, edge[1])
        upright.set(x, [y, y + 1])
      }
    }
  }
  for (const [x, [top, bottom]] of upright) edges.push(x, top, x, bottom)
  return edges
}

function pushLevel(edges: number[], y: number, runs: readonly number[]): void {
  for (let i = 0; i < runs.length; i += 2) edges.push(runs[i] as number, y, runs[i + 1] as number, y)
}

/** The smallest rectangle of whole pixels around the spans; null when there are none. */
export function boundsOf(spans: Spans): Rect | null {
  if (spans.length === 0) return null
  let left = Number.POSITIVE_INFINITY
  let right = Number.NEGATIVE_INFINITY
  for (let i = 0; i < spans.length; i += 3) {
    left = Math.min(left, spans[i + 1] as number)
    right = Math.max(right, (spans[i + 1] as number) + (spans[i + 2] as number))
  }
  const top = spans[0] as number
  const bottom = (spans[spans.length - 3] as number) + 1
  return { x: left, y: top, width: right - left, height: bottom - top }
}
