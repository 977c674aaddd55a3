import type { Figure } from '../api/types'
import { intervalOf, inWords } from './figure'

export interface CurvePoint {
  x: number
  figure: Figure
  /** What the point is, for the pointer that rests on it and for screen readers. */
  name: string
}

export interface CurveSeries {
  name: string
  kind: 'estimate' | 'truth' | 'screen'
  points: readonly CurvePoint[]
}

const WIDTH = 1000
const HEIGHT = 280
const LEFT = 40
const RIGHT = 12
const TOP = 10
const BOTTOM = 28

/** At most five steps of 1, 2 or 5 times a power of ten, from 0 on. */
export function ticksUpTo(largest: number): number[] {
  if (!(largest > 0)) return [0]
  const rough = largest / 4
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10) * power
  const count = Math.floor(largest / step + 1e-9)
  return Array.from({ length: count + 1 }, (_, i) => i * step)
}

interface CurveProps {
  series: readonly CurveSeries[]
  isShare: boolean
  /** What goes to the right. */
  along: string
}

/** Values from 0 to 1 over labels or minutes, each with its interval; points without a number are left out. */
export function Curve({ series, isShare, along }: CurveProps) {
  const drawn = series.map((one) => ({
    ...one,
    points: one.points.filter(({ figure }) => figure.value !== null).toSorted((a, b) => a.x - b.x),
  }))
  const largest = Math.max(0, ...series.flatMap(({ points }) => points.map(({ x }) => x)))
  const ticks = ticksUpTo(largest)
  const toX = (x: number) => LEFT + (largest > 0 ? x / largest : 0.5) * (WIDTH - LEFT - RIGHT)
  const toY = (value: number) => TOP + (1 - value) * (HEIGHT - TOP - BOTTOM)
  const hasSeveral = drawn.filter(({ points }) => points.length > 0).length > 1
  return (
    <>
      <svg class="curve" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={described(drawn, isShare, along)}>
        {[0, 0.25, 0.5, 0.75, 1].map((value) => (
          <g key={value}>
            <line class="curve-grid" x1={LEFT} x2={WIDTH - RIGHT} y1={toY(value)} y2={toY(value)} />
            <text class="curve-text" x={LEFT - 6} y={toY(value) + 4} text-anchor="end">
              {inWords(value, isShare)}
            </text>
          </g>
        ))}
        {ticks.map((x) => (
          <text key={x} class="curve-text" x={toX(x)} y={HEIGHT - 10} text-anchor="middle">
            {Number(x.toPrecision(6)).toLocaleString('en')}
          </text>
        ))}
        {drawn.map(({ kind, points }) => {
          const sure = points.filter(({ figure }) => figure.low !== null && figure.high !== null)
          const upper = sure.map(({ x, figure }) => `${toX(x)},${toY(figure.high ?? 0)}`)
          const lower = sure.map(({ x, figure }) => `${toX(x)},${toY(figure.low ?? 0)}`).toReversed()
          return (
            <g key={kind} class={`curve-${kind}`}>
              {sure.length > 1 && <polygon class="curve-band" points={[...upper, ...lower].join(' ')} />}
              <polyline
                class="curve-line"
                points={points.map(({ x, figure }) => `${toX(x)},${toY(figure.value ?? 0)}`).join(' ')}
              />
              {sure.map(({ x, figure, name }) => (
                <line
                  key={name}
                  class="curve-whisker"
                  x1={toX(x)}
                  x2={toX(x)}
                  y1={toY(figure.low ?? 0)}
                  y2={toY(figure.high ?? 0)}
                />
              ))}
              {points.map(({ x, figure, name }) => (
                <circle key={name} class="curve-dot" cx={toX(x)} cy={toY(figure.value ?? 0)} r="3.5">
                  <title>{told(name, figure, isShare)}</title>
                </circle>
              ))}
            </g>
          )
        })}
      </svg>
      {hasSeveral && (
        <ul class="curve-names small">
          {drawn.map(({ kind, name }) => (
            <li key={kind} class={`curve-${kind}`}>
              {name}
            </li>
          ))}
        </ul>
      )}
    </>
  )
}

function told(name: string, figure: Figure, isShare: boolean): string {
  const interval = intervalOf(figure, isShare)
  return `${name}: ${inWords(figure.value ?? 0, isShare)}${interval === null ? '' : `, ${interval}`}`
}

/** The newest value of each series: what somebody who does not see the curve wants to know first. */
function described(series: readonly CurveSeries[], isShare: boolean, along: string): string {
  const newest = series.flatMap(({ name, points }) => {
    const last = points.at(-1)
    return last === undefined ? [] : [`${name}, ${told(last.name, last.figure, isShare)}`]
  })
  return newest.length === 0 ? 'No value to draw yet.' : `Curve over ${along}. ${newest.join('; ')}.`
}
