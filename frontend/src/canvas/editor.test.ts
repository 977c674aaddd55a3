import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Editor } from './editor'
import { imagePoint, type Pixel } from './geometry'
import type { Gesture } from './tools/tool'

let element: HTMLElement
let editor: Editor
let gestures: Gesture[]
let wanted: string[]
let pointed: (Pixel | null)[]

beforeEach(() => {
  gestures = []
  wanted = []
  pointed = []
  element = document.createElement('div')
  Object.defineProperty(element, 'clientWidth', { value: 832 })
  Object.defineProperty(element, 'clientHeight', { value: 632 })
  document.body.append(element)
  editor = new Editor(element, {
    gesture: (gesture) => gestures.push(gesture),
    pointerMoved: (pixel) => pointed.push(pixel),
    brushSizeWanted: (steps) => wanted.push(`brush ${steps}`),
    opacityWanted: (steps) => wanted.push(`opacity ${steps}`),
  })
  // 400 x 300 on 832 x 632 with a margin of 16: scale 2, origin (16, 16).
  editor.setImage(null, 400, 300)
})
afterEach(() => {
  editor.destroy()
  element.remove()
})

function point(type: string, x: number, y: number, options: PointerEventInit = {}): void {
  const event = new PointerEvent(type, { clientX: x, clientY: y, pointerId: 1, pointerType: 'mouse', ...options })
  element.dispatchEvent(event)
}

function drag(from: [number, number], to: [number, number], options: PointerEventInit = {}): void {
  point('pointerdown', ...from, options)
  point('pointermove', ...to, options)
  point('pointerup', ...to, options)
}

describe('the editor', () => {
  it('says which pixel was clicked', () => {
    drag([16 + 2 * 100 + 1, 16 + 2 * 50 + 1], [16 + 2 * 100 + 1, 16 + 2 * 50 + 1])

    expect(gestures).toEqual([{ kind: 'click', pixel: { x: 100, y: 50 } }])
  })

  it('means the pixel aimed at even when the hand moves on', () => {
    drag([216, 116], [240, 130])

    expect(gestures).toEqual([{ kind: 'click', pixel: { x: 100, y: 50 } }])
  })

  it.each([
    { remark: 'the right button', options: { button: 2, buttons: 2 } },
    { remark: 'Alt', options: { altKey: true } },
    { remark: "the pen's other end", options: { pointerType: 'pen', button: 5, buttons: 32 } },
  ])('erases with $remark in every tool', ({ options }) => {
    drag([216, 116], [240, 116], options)

    expect(gestures[0]?.kind).toBe('erase')
  })

  it.each([
    { remark: 'the middle button', hold: false, options: { button: 1, buttons: 4 } },
    { remark: 'Space', hold: true, options: {} },
  ])('moves the picture with $remark in every tool', ({ hold, options }) => {
    editor.setTool('brush')
    editor.holdHand(hold)
    drag([200, 200], [230, 190], options)

    expect(gestures).toEqual([])
    expect([editor.viewport.originX, editor.viewport.originY]).toEqual([46, 6])
  })

  it('draws a stroke as wide as the brush', () => {
    editor.setTool('brush')
    editor.setBrush(3.5, '#0072b2')
    drag([216, 116], [256, 116])

    expect(gestures[0]).toMatchObject({
      kind: 'stroke',
      radius: 56,
      points: [
        { x: 1600, y: 800 },
        { x: 1920, y: 800 },
      ],
    })
  })

  it('zooms at the cursor with the wheel alone, and asks for size and opacity with Shift and Alt', () => {
    const turn = (held: { shiftKey?: boolean; altKey?: boolean }): void => {
      const event = new WheelEvent('wheel', { deltaY: -100, cancelable: true })
      // happy-dom's wheel events take neither a place nor held keys.
      const place = { clientX: 216, clientY: 116, shiftKey: false, altKey: false, ctrlKey: false, ...held }
      for (const [name, value] of Object.entries(place)) Object.defineProperty(event, name, { value })
      element.dispatchEvent(event)
    }
    turn({})
    turn({ shiftKey: true })
    turn({ altKey: true })

    expect(editor.viewport.scale).toBeCloseTo(2.5)
    expect(editor.viewport.toScreen(imagePoint(100, 50))).toEqual({ x: 216, y: 116 })
    expect(wanted).toEqual(['brush 1', 'opacity 1'])
  })

  it('tells the pixel under the pointer and when it leaves', () => {
    point('pointermove', 18, 18)
    point('pointermove', 5, 5)
    point('pointerleave', 0, 0)

    expect(pointed).toEqual([{ x: 1, y: 1 }, null, null])
  })

  it('gives up a stroke when a second finger comes down, and zooms instead', () => {
    editor.setTool('brush')
    const finger = { pointerType: 'touch' }
    point('pointerdown', 300, 300, finger)
    point('pointerdown', 400, 300, { ...finger, pointerId: 2 })
    point('pointermove', 500, 300, { ...finger, pointerId: 2 })
    point('pointerup', 500, 300, { ...finger, pointerId: 2 })
    point('pointerup', 300, 300, finger)

    expect(gestures).toEqual([])
    expect(editor.viewport.scale).toBeCloseTo(4)
  })

  it('with one finger moves the picture when dragged and clicks when tapped', () => {
    drag([200, 200], [240, 200], { pointerType: 'touch' })
    drag([256, 116], [258, 117], { pointerType: 'touch' })

    expect(gestures).toEqual([{ kind: 'click', pixel: { x: 100, y: 50 } }])
    expect(editor.viewport.originX).toBe(56)
  })

  it('centres a pixel at the scale asked for and goes back to the whole image', () => {
    editor.centreOn({ x: 200, y: 150 }, 8)
    expect(editor.toScreen({ x: 200, y: 150 })).toEqual({ x: 416, y: 316 })

    editor.fit()
    expect(editor.viewport).toMatchObject({ scale: 2, originX: 16, originY: 16 })
  })

  it('says after a frame where the image lies and which map is drawn', async () => {
    editor.setPrediction({
      mapId: 'm1',
      labelSeq: 7,
      bytes: new Uint8Array(4),
      width: 2,
      height: 2,
      palette: ['#ff0000'],
    })

    await vi.waitFor(() => expect(element.dataset).toMatchObject({ scale: '2', originX: '16', mapId: 'm1' }))
    expect(element.dataset).toMatchObject({ paintedMapId: 'm1', paintedLabelSeq: '7' })
    editor.peek(true)
    await vi.waitFor(() => expect(element.dataset['mapId']).toBeUndefined())
  })

  it('drops the overlay with its picture, but not when the same picture gets better pixels', async () => {
    editor.setPrediction({
      mapId: 'm1',
      labelSeq: 7,
      bytes: new Uint8Array(4),
      width: 2,
      height: 2,
      palette: ['#ff0000'],
    })
    editor.centreOn({ x: 20, y: 20 }, 8)
    editor.setImage(null, 400, 300, { keepView: true })
    await vi.waitFor(() => expect(element.dataset).toMatchObject({ scale: '8', mapId: 'm1' }))

    editor.setImage(null, 400, 300)
    await vi.waitFor(() => expect(element.dataset['mapId']).toBeUndefined())
    expect(editor.viewport.scale).toBe(2)
  })
})
