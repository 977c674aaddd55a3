import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { listenToKeys } from './listen'

let ran: string[] = []
let stop: () => void

beforeEach(() => {
  ran = []
  document.body.innerHTML = `
    <p>text</p><input type="text"><input type="range"><select></select><button>go</button>
    <dialog open><span>inside</span></dialog>`
  stop = listenToKeys(window, {
    scopes: () => ['draw', 'view', 'always'],
    run: (command, phase) => ran.push(phase === 'press' ? command : `${command} released`),
  })
})
afterEach(() => stop())

function press(key: string, options: KeyboardEventInit & { on?: string } = {}): KeyboardEvent {
  const code = options.code ?? (/^[a-z]$/i.test(key) ? `Key${key.toUpperCase()}` : key)
  const event = new KeyboardEvent('keydown', { key, code, bubbles: true, cancelable: true, ...options })
  document.querySelector(options.on ?? 'p')?.dispatchEvent(event)
  return event
}

describe('keys', () => {
  it('run their command and keep the browser from acting on them', () => {
    const event = press('b')

    expect(ran).toEqual(['tool.brush'])
    expect(event.defaultPrevented).toBe(true)
  })

  it('without meaning are left to the browser', () => {
    expect(press('q').defaultPrevented).toBe(false)
    expect(press('r', { ctrlKey: true }).defaultPrevented).toBe(false)
  })

  it.each([
    { remark: 'a letter in a text field is text', on: 'input[type=text]', key: 'b', runs: false },
    { remark: 'a letter in a list chooses there', on: 'select', key: 'b', runs: false },
    { remark: 'nothing behind an open dialog', on: 'dialog span', key: 'b', runs: false },
    { remark: 'a letter after the slider was moved', on: 'input[type=range]', key: 'b', runs: true },
    { remark: 'an arrow moves the slider', on: 'input[type=range]', key: 'ArrowLeft', runs: false },
    { remark: 'Enter presses the button', on: 'button', key: 'Enter', runs: false },
    { remark: 'a letter while a button has the focus', on: 'button', key: 'b', runs: true },
  ])('$remark', ({ on, key, runs }) => {
    press(key, { on })

    expect(ran.length > 0).toBe(runs)
  })

  it('mean nothing while an input method composes', () => {
    press('b', { isComposing: true })

    expect(ran).toEqual([])
  })

  it('held down repeat only what is meant to be repeated', () => {
    press('b', { repeat: true })
    press('+', { repeat: true })

    expect(ran).toEqual(['view.zoomIn'])
  })

  it('of a held command begin once and end when let go', () => {
    press('`', { code: 'Backquote' })
    press('`', { code: 'Backquote', repeat: true })
    document.body.dispatchEvent(new KeyboardEvent('keyup', { key: '`', code: 'Backquote', bubbles: true }))

    expect(ran).toEqual(['view.peek', 'view.peek released'])
  })

  it('of a held command end when the window loses the focus', () => {
    press(' ', { code: 'Space' })
    window.dispatchEvent(new Event('blur'))

    expect(ran).toEqual(['view.hand', 'view.hand released'])
  })

  it('are letters first where letters mean something', () => {
    stop()
    const typed: string[] = []
    stop = listenToKeys(window, {
      scopes: () => ['draw'],
      run: (command) => ran.push(command),
      typed: (letter) => letter !== 'c' && typed.push(letter) > 0,
    })

    press('b')
    press('b', { repeat: true })
    press('c')

    expect(typed).toEqual(['b'])
    expect(ran).toEqual(['tool.click'])
  })

  it('mean nothing after listening stopped', () => {
    stop()
    press('b')

    expect(ran).toEqual([])
  })
})
