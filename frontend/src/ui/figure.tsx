import type { Figure } from '../api/types'

/** "0.62", or "62 %" for a share. */
export function inWords(value: number, isShare: boolean): string {
  return isShare ? `${Math.round(100 * value)} %` : value.toFixed(2)
}

/** "0.55 to 0.69". */
export function intervalOf({ low, high }: Figure, isShare: boolean): string | null {
  if (low === null || high === null) return null
  return isShare ? `${Math.round(100 * low)} to ${Math.round(100 * high)} %` : `${low.toFixed(2)} to ${high.toFixed(2)}`
}

interface FigureTextProps {
  figure: Figure
  isShare?: boolean
  testId?: string
}

/** A number with its interval, or the sentence why there is none. */
export function FigureText({ figure, isShare = false, testId }: FigureTextProps) {
  if (figure.value === null) {
    return (
      <span class="hint" data-testid={testId && `${testId}-missing`}>
        {figure.missing}
      </span>
    )
  }
  const interval = intervalOf(figure, isShare)
  return (
    <span class="number">
      <strong data-testid={testId && `${testId}-value`} data-value={figure.value}>
        {inWords(figure.value, isShare)}
      </strong>{' '}
      <span class="faint" data-testid={testId && `${testId}-interval`} data-low={figure.low} data-high={figure.high}>
        {interval === null ? (figure.missing ?? '') : `(${interval})`}
      </span>
    </span>
  )
}

/** A bar from 0 to 1 with its interval drawn across. Decoration: the number stands beside it. */
export function FigureBar({ figure, colour }: { figure: Figure; colour: string }) {
  return (
    <div class="figure-bar" aria-hidden="true">
      {figure.value !== null && (
        <div class="figure-bar-value" style={{ width: `${100 * figure.value}%`, background: colour }} />
      )}
      {figure.low !== null && figure.high !== null && (
        <div
          class="figure-bar-interval"
          style={{ left: `${100 * figure.low}%`, width: `${100 * (figure.high - figure.low)}%` }}
        />
      )}
    </div>
  )
}
