/** Class colours that stay apart on photographs and for people who confuse red with green. */

/** Okabe and Ito's eight without black, then lighter and darker relatives that differ in lightness too. */
export const PALETTE: readonly string[] = [
  '#0072b2',
  '#e69f00',
  '#009e73',
  '#cc79a7',
  '#56b4e9',
  '#d55e00',
  '#f0e442',
  '#8b1a2b',
  '#8c510a',
  '#a6d96a',
  '#00429d',
  '#f4a7b9',
  '#1f5f3f',
  '#b8a1ff',
  '#33d6c0',
]

/** Shown for void: a grey that no class gets. */
export const VOID_COLOUR = '#8a8f98'

/** The first colour that is free; past the palette, hues by the golden angle at changing lightness. */
export function nextColour(taken: readonly string[]): string {
  const used = new Set(taken.map((colour) => colour.toLowerCase()))
  for (const colour of PALETTE) if (!used.has(colour)) return colour
  for (let turn = 0; ; turn += 1) {
    const colour = hslToHex((turn * 137.508) % 360, 0.65, [0.45, 0.62, 0.32][turn % 3] ?? 0.45)
    if (!used.has(colour)) return colour
  }
}

function hslToHex(hue: number, saturation: number, lightness: number): string {
  const reach = saturation * Math.min(lightness, 1 - lightness)
  const channel = (offset: number) => {
    const k = (offset + hue / 30) % 12
    const level = lightness - reach * Math.max(-1, Math.min(k - 3, 9 - k, 1))
    return Math.round(255 * level)
      .toString(16)
      .padStart(2, '0')
  }
  return `#${channel(0)}${channel(8)}${channel(4)}`
}
