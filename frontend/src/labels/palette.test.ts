import { expect, test } from 'vitest'
import { nextColour, PALETTE } from './palette'

test('two hundred and fifty classes get two hundred and fifty colours', () => {
  const taken: string[] = []
  for (let index = 0; index < 250; index += 1) taken.push(nextColour(taken))

  expect(new Set(taken).size).toBe(250)
  for (const colour of taken) expect(colour).toMatch(/^#[0-9a-f]{6}$/)
})

test('a colour that was let go is offered again', () => {
  const [first, second] = PALETTE

  expect(nextColour([first as string])).toBe(second)
  expect(nextColour([second as string])).toBe(first)
})

/** Linear RGB as seen without the cones for green (Vienot, Brettel and Mollon 1999). */
function withoutGreenCones(colour: string): [number, number, number] {
  const value = Number.parseInt(colour.slice(1), 16)
  const [r, g, b] = [value >> 16, (value >> 8) & 255, value & 255].map((part) => ((part ?? 0) / 255) ** 2.2) as [
    number,
    number,
    number,
  ]
  const yellow = 0.29275 * r + 0.70725 * g
  return [yellow, yellow, -0.02234 * r + 0.02234 * g + b]
}

test('the first eight colours stay apart for people who confuse red with green', () => {
  const seen = PALETTE.slice(0, 8).map((colour) =>
    withoutGreenCones(colour).map((part) => Math.max(0, part) ** (1 / 2.2)),
  )
  for (const [at, a] of seen.entries()) {
    for (const b of seen.slice(at + 1)) {
      const apart = Math.hypot(...a.map((part, channel) => part - (b[channel] ?? 0)))
      expect(apart).toBeGreaterThan(0.2)
    }
  }
})
