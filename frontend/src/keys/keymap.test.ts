import { describe, expect, it } from 'vitest'
import { COMMANDS, type CommandId, classPlace } from './commands'
import { type Binding, bindingFor, KEYMAP, type KeyStroke, keyNames, keysOf, letterOf, type Scope } from './keymap'

const EVERYDAY: readonly Scope[] = ['draw', 'view', 'navigate', 'model', 'always']

function stroke(key: string, code: string, held: Partial<KeyStroke> = {}): KeyStroke {
  return { key, code, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, ...held }
}

const written = (binding: Binding): string =>
  [binding.ctrl ?? false, binding.shift ?? false, binding.key ?? binding.code].join(' ')

describe('the key map', () => {
  it('has no key twice among scopes that count at the same time', () => {
    for (const scopes of [['question'], ['answer'], EVERYDAY]) {
      const keys = KEYMAP.filter((binding) => scopes.includes(binding.scope)).map(written)

      expect(keys.filter((key, i) => keys.indexOf(key) !== i)).toEqual([])
    }
  })

  it('leaves all letters to the classes in Answer mode', () => {
    const letters = KEYMAP.filter((binding) => binding.scope === 'answer' && /^[a-z]$/.test(binding.key ?? ''))

    expect(letters).toEqual([])
  })

  it.each([
    { remark: 'Enter is the guess', press: stroke('Enter', 'Enter'), command: 'question.acceptGuess' },
    { remark: 'a digit is the class of draw mode', press: stroke('é', 'Digit2'), command: 'class.2' },
    { remark: 'Space skips', press: stroke(' ', 'Space'), command: 'answer.skip' },
    { remark: 'Delete is void', press: stroke('Delete', 'Delete'), command: 'question.void' },
    { remark: 'Backspace takes back', press: stroke('Backspace', 'Backspace'), command: 'answer.takeBack' },
    {
      remark: 'plus needs Shift on some layouts',
      press: stroke('+', 'Equal', { shiftKey: true }),
      command: 'answer.closer',
    },
    { remark: 'minus shows more', press: stroke('-', 'Minus'), command: 'answer.wider' },
    { remark: 'backquote peeks', press: stroke('`', 'Backquote'), command: 'view.peek' },
    { remark: 'Esc leaves', press: stroke('Escape', 'Escape'), command: 'question.leave' },
    { remark: 'T does not train', press: stroke('t', 'KeyT'), command: null },
  ])('in Answer mode $remark', ({ press, command }) => {
    expect(bindingFor(press, ['answer', 'always'])?.command ?? null).toBe(command)
  })

  it.each([
    { remark: 'a letter', press: stroke('r', 'KeyR'), letter: 'r' },
    { remark: 'with Caps Lock', press: stroke('R', 'KeyR'), letter: 'r' },
    { remark: 'on a Cyrillic layout', press: stroke('к', 'KeyR'), letter: 'r' },
    { remark: 'not with Ctrl', press: stroke('r', 'KeyR', { ctrlKey: true }), letter: null },
    { remark: 'not with Shift', press: stroke('R', 'KeyR', { shiftKey: true }), letter: null },
    { remark: 'a digit is none', press: stroke('1', 'Digit1'), letter: null },
    { remark: 'Enter is none', press: stroke('Enter', 'Enter'), letter: null },
  ])('knows the letter that was typed: $remark', ({ press, letter }) => {
    expect(letterOf(press)).toBe(letter)
  })

  it('reaches every command', () => {
    const reached = new Set(KEYMAP.map((binding) => binding.command))

    expect(Object.keys(COMMANDS).filter((id) => !reached.has(id as CommandId))).toEqual([])
  })

  it.each([
    { remark: 'a digit picks a class', press: stroke('3', 'Digit3'), command: 'class.3' },
    { remark: 'zero is the tenth', press: stroke('0', 'Digit0'), command: 'class.10' },
    { remark: 'AZERTY: the unshifted digit row', press: stroke('é', 'Digit2'), command: 'class.2' },
    { remark: 'AZERTY: the shifted one', press: stroke('2', 'Digit2', { shiftKey: true }), command: 'class.2' },
    { remark: 'QWERTY: Shift+2', press: stroke('@', 'Digit2', { shiftKey: true }), command: 'view.actualSize' },
    { remark: 'a letter', press: stroke('b', 'KeyB'), command: 'tool.brush' },
    { remark: 'with Caps Lock', press: stroke('B', 'KeyB'), command: 'tool.brush' },
    { remark: 'on a Cyrillic layout', press: stroke('и', 'KeyB'), command: 'tool.brush' },
    {
      remark: 'AZERTY: the letter counts, not its place',
      press: stroke('z', 'KeyW', { ctrlKey: true }),
      command: 'label.undo',
    },
    { remark: 'Cmd counts as Ctrl', press: stroke('z', 'KeyZ', { metaKey: true }), command: 'label.undo' },
    { remark: 'redo', press: stroke('Z', 'KeyZ', { ctrlKey: true, shiftKey: true }), command: 'label.redo' },
    {
      remark: 'German: [ is AltGr+8',
      press: stroke('[', 'Digit8', { ctrlKey: true, altKey: true }),
      command: 'brush.smaller',
    },
    { remark: 'the question mark needs Shift', press: stroke('?', 'Slash', { shiftKey: true }), command: 'help.keys' },
    { remark: 'back through questions', press: stroke('N', 'KeyN', { shiftKey: true }), command: 'question.previous' },
    { remark: 'Ctrl+plus stays the browser zoom', press: stroke('+', 'Equal', { ctrlKey: true }), command: null },
    { remark: 'Ctrl+C stays copy', press: stroke('c', 'KeyC', { ctrlKey: true }), command: null },
    { remark: 'Alt+D stays the address bar', press: stroke('d', 'KeyD', { altKey: true }), command: null },
    { remark: 'a key without meaning', press: stroke('q', 'KeyQ'), command: null },
  ])('$remark', ({ press, command }) => {
    expect(bindingFor(press, EVERYDAY)?.command ?? null).toBe(command)
  })

  it('asks the most particular scope first', () => {
    const enter = stroke('Enter', 'Enter')

    expect(bindingFor(enter, ['question', ...EVERYDAY])?.command).toBe('question.acceptGuess')
    expect(bindingFor(enter, EVERYDAY)?.command).toBe('label.acceptPrediction')
  })

  it('names keys as they are printed', () => {
    expect(keysOf('image.next')).toEqual(['F', 'Ctrl+→', 'Page Down'])
    expect(keyNames({ scope: 'view', command: 'view.fit', code: 'Digit1', shift: true })).toEqual(['Shift', '1'])
  })

  it('knows which class a digit means', () => {
    expect(classPlace('class.10')).toBe(9)
    expect(classPlace('class.void')).toBeNull()
  })
})
