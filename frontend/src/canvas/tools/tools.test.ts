import { describe, expect, it } from 'vitest'
import { imagePoint, screenPoint } from '../geometry'
import { BrushTool } from './brush'
import { ClickTool } from './click'
import { EraserTool } from './eraser'
import { EyedropperTool } from './eyedropper'
import { PanTool } from './pan'
import type { Sample } from './tool'

const SCENE = { image: { width: 100, height: 80 }, radius: 2, scale: 4 }
const at = (x: number, y: number): Sample => ({ image: imagePoint(x, y), screen: screenPoint(x * 4, y * 4) })

describe('the click tool', () => {
  it('takes the pixel where the button went down', () => {
    const tool = new ClickTool()
    tool.down(at(10.9, 20.2), SCENE)

    expect(tool.up()).toEqual({ kind: 'click', pixel: { x: 10, y: 20 } })
  })

  it('takes nothing outside the image, and nothing after a cancel', () => {
    const tool = new ClickTool()
    tool.down(at(100, 20), SCENE)
    expect(tool.up()).toBeNull()

    tool.down(at(10, 20), SCENE)
    tool.cancel()
    expect(tool.up()).toBeNull()
  })
})

describe('the brush', () => {
  it('gives its path in sixteenths of a pixel with its radius', () => {
    const tool = new BrushTool()
    tool.down(at(10, 10), SCENE)
    tool.move([at(12, 10), at(15, 10)])

    expect(tool.draft()?.points).toHaveLength(3)
    expect(tool.up(at(20, 10))).toEqual({
      kind: 'stroke',
      points: [
        { x: 160, y: 160 },
        { x: 320, y: 160 },
      ],
      radius: 32,
    })
    expect(tool.draft()).toBeNull()
  })

  it('gives nothing for a path that touches no pixel', () => {
    const tool = new BrushTool()
    tool.down(at(-30, -30), SCENE)

    expect(tool.up(at(-20, 90))).toBeNull()
  })

  it('counts a path that crosses the image between two samples', () => {
    const tool = new BrushTool()
    tool.down(at(-3, 40), SCENE)

    expect(tool.up(at(103, 40))?.kind).toBe('stroke')
  })
})

it('the eraser gives its path as what is to be erased', () => {
  const tool = new EraserTool()
  tool.down(at(10, 10), SCENE)

  expect(tool.up(at(10, 10))).toEqual({ kind: 'erase', points: [{ x: 160, y: 160 }], radius: 32 })
})

it('the eyedropper picks where the button is let go', () => {
  const tool = new EyedropperTool()
  tool.down(at(1, 1), SCENE)

  expect(tool.up(at(7.5, 8.5))).toEqual({ kind: 'pick', pixel: { x: 7, y: 8 } })
})

it('the hand moves the picture by what the pointer moved', () => {
  const moves: number[][] = []
  const tool = new PanTool((dx, dy) => moves.push([dx, dy]))
  tool.down(at(10, 10))
  tool.move([at(11, 10)])
  tool.move([at(11, 10), at(11, 12)])
  tool.up()
  tool.move([at(50, 50)])

  expect(moves).toEqual([
    [4, 0],
    [0, 8],
  ])
})
