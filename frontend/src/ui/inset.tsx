import { effect } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { image, picture } from '../state/annotation'
import { question } from '../state/questions'

/** Longest sides in CSS pixels. */
const WIDTH = 252
const HEIGHT = 220
const RING = 8

/** The whole image, with the asked pixel marked. */
export function Inset() {
  const canvas = useRef<HTMLCanvasElement>(null)
  useEffect(() => {
    const element = canvas.current
    // Drawn from the picture on the stage: nothing to fetch, and never another image than the one that is asked about.
    return element === null ? undefined : effect(() => draw(element))
  }, [])
  return (
    <canvas
      ref={canvas}
      class="inset"
      data-testid="answer-inset"
      role="img"
      aria-label="Where the pixel lies in the image"
    />
  )
}

function draw(element: HTMLCanvasElement): void {
  const open = image.value
  const bitmap = picture.value
  const asked = question.value
  const context = element.getContext('2d')
  if (open === null || bitmap === null || context === null) return
  const ratio = window.devicePixelRatio || 1
  const scale = Math.min(WIDTH / open.width, HEIGHT / open.height)
  const width = Math.max(1, Math.round(open.width * scale))
  const height = Math.max(1, Math.round(open.height * scale))
  element.width = Math.round(width * ratio)
  element.height = Math.round(height * ratio)
  Object.assign(element.style, { width: `${width}px`, height: `${height}px` })
  context.setTransform(ratio, 0, 0, ratio, 0, 0)
  context.imageSmoothingQuality = 'medium'
  context.drawImage(bitmap, 0, 0, width, height)
  if (asked === null || asked.image_id !== open.image_id) return
  const x = (asked.pixel.x + 0.5) * scale
  const y = (asked.pixel.y + 0.5) * scale
  context.beginPath()
  context.arc(x, y, RING, 0, 2 * Math.PI)
  for (const [dx, dy, end] of [
    [-1, 0, x],
    [1, 0, width - x],
    [0, -1, y],
    [0, 1, height - y],
  ] as const) {
    if (end <= RING) continue
    context.moveTo(x + dx * RING, y + dy * RING)
    context.lineTo(x + dx * end, y + dy * end)
  }
  for (const [colour, line] of [
    ['rgba(0, 0, 0, 0.75)', 3],
    ['#ffffff', 1.25],
  ] as const) {
    context.strokeStyle = colour
    context.lineWidth = line
    context.stroke()
  }
}
