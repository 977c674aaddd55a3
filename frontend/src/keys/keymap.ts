import type { CommandId } from './commands'

/**
 * Where a key means something. `question` comes before all others while a question is asked. In `answer` no letter is a
 * command, for every letter may answer with a class.
 */
export type Scope = 'answer' | 'question' | 'draw' | 'view' | 'navigate' | 'model' | 'always'

/** The scopes as the help page shows them. */
export const SCOPE_TITLES: Readonly<Record<Scope, string>> = {
  question: 'While a question is asked',
  answer: 'Answer mode',
  draw: 'Draw',
  view: 'View',
  navigate: 'Images and questions',
  model: 'Model',
  always: 'Always',
}

/**
 * One key of the map. Letters and named keys are compared with `key`, by what the layout prints on them; `code` names
 * a place on the keyboard whatever the layout, as for digits (on AZERTY they need Shift).
 */
export interface Binding {
  readonly scope: Scope
  readonly command: CommandId
  /** KeyboardEvent.key; a letter in lower case. */
  readonly key?: string
  /** KeyboardEvent.code. */
  readonly code?: string
  /** Ctrl, or Cmd on a Mac. Keys without it do nothing while it is held. */
  readonly ctrl?: true
  /** Characters that need Shift on some layouts ("?", "+") are named as characters, without this. */
  readonly shift?: true
}

export const KEYMAP: readonly Binding[] = [
  { scope: 'question', command: 'question.acceptGuess', key: 'Enter' },
  { scope: 'question', command: 'question.void', key: 'Delete' },
  { scope: 'question', command: 'question.leave', key: 'Escape' },

  { scope: 'answer', command: 'question.acceptGuess', key: 'Enter' },
  ...digits('answer'),
  { scope: 'answer', command: 'answer.skip', key: ' ' },
  { scope: 'answer', command: 'question.void', key: 'Delete' },
  { scope: 'answer', command: 'answer.takeBack', key: 'Backspace' },
  { scope: 'answer', command: 'view.peek', code: 'Backquote' },
  { scope: 'answer', command: 'answer.closer', key: '+' },
  { scope: 'answer', command: 'answer.closer', key: '=' },
  { scope: 'answer', command: 'answer.wider', key: '-' },
  { scope: 'answer', command: 'view.panLeft', key: 'ArrowLeft' },
  { scope: 'answer', command: 'view.panRight', key: 'ArrowRight' },
  { scope: 'answer', command: 'view.panUp', key: 'ArrowUp' },
  { scope: 'answer', command: 'view.panDown', key: 'ArrowDown' },
  { scope: 'answer', command: 'question.leave', key: 'Escape' },

  ...digits('draw'),
  { scope: 'draw', command: 'class.void', key: 'Delete' },
  { scope: 'draw', command: 'class.swap', key: 'x' },
  { scope: 'draw', command: 'tool.click', key: 'c' },
  { scope: 'draw', command: 'tool.brush', key: 'b' },
  { scope: 'draw', command: 'tool.eraser', key: 'e' },
  { scope: 'draw', command: 'tool.eyedropper', key: 'v' },
  { scope: 'draw', command: 'brush.smaller', key: '[' },
  { scope: 'draw', command: 'brush.larger', key: ']' },
  { scope: 'draw', command: 'label.undo', key: 'z', ctrl: true },
  { scope: 'draw', command: 'label.redo', key: 'z', ctrl: true, shift: true },
  { scope: 'draw', command: 'label.redo', key: 'y', ctrl: true },
  { scope: 'draw', command: 'label.acceptPrediction', key: 'Enter' },

  { scope: 'view', command: 'view.zoomIn', key: '+' },
  { scope: 'view', command: 'view.zoomIn', key: '=' },
  { scope: 'view', command: 'view.zoomOut', key: '-' },
  { scope: 'view', command: 'view.fit', key: 'Home' },
  { scope: 'view', command: 'view.fit', code: 'Digit1', shift: true },
  { scope: 'view', command: 'view.actualSize', code: 'Digit2', shift: true },
  { scope: 'view', command: 'view.hand', key: ' ' },
  { scope: 'view', command: 'view.panLeft', key: 'ArrowLeft' },
  { scope: 'view', command: 'view.panRight', key: 'ArrowRight' },
  { scope: 'view', command: 'view.panUp', key: 'ArrowUp' },
  { scope: 'view', command: 'view.panDown', key: 'ArrowDown' },
  { scope: 'view', command: 'view.toggleLabels', key: 'h' },
  { scope: 'view', command: 'view.togglePrediction', key: 'p' },
  { scope: 'view', command: 'view.toggleUncertainty', key: 'u' },
  { scope: 'view', command: 'view.toggleImage', key: 'i' },
  { scope: 'view', command: 'view.peek', code: 'Backquote' },
  { scope: 'view', command: 'view.opacityDown', key: ',' },
  { scope: 'view', command: 'view.opacityUp', key: '.' },

  { scope: 'navigate', command: 'image.next', key: 'f' },
  { scope: 'navigate', command: 'image.next', key: 'ArrowRight', ctrl: true },
  { scope: 'navigate', command: 'image.next', key: 'PageDown' },
  { scope: 'navigate', command: 'image.previous', key: 'd' },
  { scope: 'navigate', command: 'image.previous', key: 'ArrowLeft', ctrl: true },
  { scope: 'navigate', command: 'image.previous', key: 'PageUp' },
  { scope: 'navigate', command: 'answer.enter', key: 'a' },
  { scope: 'navigate', command: 'question.next', key: 'n' },
  { scope: 'navigate', command: 'question.previous', key: 'n', shift: true },

  { scope: 'model', command: 'model.train', key: 't' },
  { scope: 'model', command: 'model.stop', key: 't', shift: true },

  { scope: 'always', command: 'help.keys', key: '?' },
  { scope: 'always', command: 'help.keys', key: 'F1' },
  { scope: 'always', command: 'help.saved', key: 's', ctrl: true },
  { scope: 'always', command: 'mode.leave', key: 'Escape' },
]

/** The ten class keys of a scope: the same finger says the same class everywhere. */
function digits(scope: Scope): Binding[] {
  return Array.from({ length: 10 }, (_, i) => {
    const place = i + 1
    return { scope, command: `class.${place}` as CommandId, code: `Digit${place % 10}` }
  })
}

/** What the mouse does, for the help page. */
export const MOUSE_HELP: readonly { readonly gesture: string; readonly title: string }[] = [
  { gesture: 'Wheel', title: 'Zoom at the cursor' },
  { gesture: 'Space + drag, middle drag', title: 'Move the image' },
  { gesture: 'Right drag, Alt + drag', title: 'Erase' },
  { gesture: 'Shift + wheel', title: 'Brush size' },
  { gesture: 'Alt + wheel', title: 'Overlay opacity' },
]

/** What a keyboard event tells; the part that matching needs. */
export interface KeyStroke {
  readonly key: string
  readonly code: string
  readonly ctrlKey: boolean
  readonly metaKey: boolean
  readonly shiftKey: boolean
  readonly altKey: boolean
}

/** The binding that a key stroke means; the first scope in the list that knows it wins. */
export function bindingFor(stroke: KeyStroke, scopes: readonly Scope[], keymap = KEYMAP): Binding | null {
  for (const scope of scopes) {
    const found = keymap.find((binding) => binding.scope === scope && matches(binding, stroke))
    if (found !== undefined) return found
  }
  return null
}

function matches(binding: Binding, stroke: KeyStroke): boolean {
  const isCtrl = stroke.ctrlKey || stroke.metaKey
  // AltGr arrives as Ctrl+Alt and is how many layouts write [ and ]: then the character counts, not the modifiers.
  const isAltGr = stroke.ctrlKey && stroke.altKey
  if (isCharacter(binding.key)) return stroke.key === binding.key && (isAltGr || !isCtrl)
  if (stroke.altKey || isCtrl !== (binding.ctrl ?? false)) return false
  if (binding.code !== undefined) {
    const isShifted = stroke.shiftKey && !typesDigit(stroke)
    return stroke.code === binding.code && isShifted === (binding.shift ?? false)
  }
  return stroke.shiftKey === (binding.shift ?? false) && letterOrName(stroke) === binding.key
}

/** A sign such as "?" or "[": which modifiers write it depends on the layout. */
function isCharacter(key: string | undefined): boolean {
  return key !== undefined && key.length === 1 && !/[a-z ]/.test(key)
}

/** On AZERTY the digit row needs Shift to write digits; such a stroke is the digit, not Shift and a digit. */
function typesDigit(stroke: KeyStroke): boolean {
  return /^\d$/.test(stroke.key)
}

/** The letter a to z that was typed alone; null for everything else. */
export function letterOf(stroke: KeyStroke): string | null {
  if (stroke.ctrlKey || stroke.metaKey || stroke.altKey || stroke.shiftKey) return null
  const letter = letterOrName(stroke)
  return /^[a-z]$/.test(letter) ? letter : null
}

/** Layouts without Latin letters (Cyrillic, Greek) fall back to the place of the key. */
function letterOrName(stroke: KeyStroke): string {
  if (stroke.key.length > 1) return stroke.key
  const key = stroke.key.toLowerCase()
  if (/^[ -~]$/.test(key)) return key
  return /^Key([A-Z])$/.exec(stroke.code)?.[1]?.toLowerCase() ?? key
}

const KEY_NAMES: Readonly<Record<string, string>> = {
  ' ': 'Space',
  Backspace: '⌫',
  Backquote: '`',
  ArrowLeft: '←',
  ArrowRight: '→',
  ArrowUp: '↑',
  ArrowDown: '↓',
  Escape: 'Esc',
  PageDown: 'Page Down',
  PageUp: 'Page Up',
}

/** The parts of a binding as printed on keys: ["Ctrl", "Shift", "Z"]. */
export function keyNames(binding: Binding): string[] {
  const plain = binding.key ?? binding.code?.replace(/^Digit/, '') ?? ''
  const name = KEY_NAMES[plain] ?? (/^[a-z]$/.test(plain) ? plain.toUpperCase() : plain)
  return [...(binding.ctrl ? ['Ctrl'] : []), ...(binding.shift ? ['Shift'] : []), name]
}

/** All keys of a command, for the title of its button: "F, Ctrl+→ or Page Down" is joined by the caller. */
export function keysOf(command: CommandId, keymap = KEYMAP): string[] {
  return keymap.filter((binding) => binding.command === command).map((binding) => keyNames(binding).join('+'))
}
