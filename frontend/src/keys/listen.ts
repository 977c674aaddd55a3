import { COMMANDS, type CommandId } from './commands'
import { bindingFor, letterOf, type Scope } from './keymap'

export interface KeyHandlers {
  /** Scopes that count just now, the most particular first. Asked at every key. */
  scopes(): readonly Scope[]
  /** A held command gets `press` and, when the key is let go or the window loses focus, `release`. */
  run(command: CommandId, phase: 'press' | 'release'): void
  /** A letter a to z was typed; true when it means something other than what the key map says. */
  typed?(letter: string): boolean
}

/** Kinds of input in which nobody types text: letters may be commands there. */
const TEXTLESS_INPUTS = new Set(['button', 'checkbox', 'color', 'file', 'radio', 'range', 'reset', 'submit'])
/** Keys with which a focused button, slider or list is worked. */
const CONTROL_KEYS = /^( |Enter|Arrow.+|Home|End|Page.+|Delete|Escape)$/

/**
 * Turns keys into commands until the returned function is called.
 *
 * Nothing happens in text fields, in open dialogs or while an input method composes; other keys keep what the browser
 * does with them.
 */
export function listenToKeys(target: Window | HTMLElement, handlers: KeyHandlers): () => void {
  /** KeyboardEvent.code -> the held command that it started. */
  const held = new Map<string, CommandId>()
  const listening = new AbortController()
  const { signal } = listening

  const press = (event: KeyboardEvent): void => {
    if (event.isComposing || event.key === 'Process' || event.defaultPrevented) return
    if (!mayCommand(event)) return
    const letter = event.repeat ? null : letterOf(event)
    if (letter !== null && handlers.typed?.(letter) === true) {
      event.preventDefault()
      return
    }
    const binding = bindingFor(event, handlers.scopes())
    if (binding === null) return
    event.preventDefault()
    const command = COMMANDS[binding.command]
    if (event.repeat && command.repeats !== true) return
    if (command.isHeld === true) {
      if (held.has(event.code)) return
      held.set(event.code, command.id)
    }
    handlers.run(command.id, 'press')
  }
  const release = (code: string): void => {
    const command = held.get(code)
    if (command === undefined) return
    held.delete(code)
    handlers.run(command, 'release')
  }
  const releaseAll = (): void => {
    for (const code of [...held.keys()]) release(code)
  }

  target.addEventListener('keydown', (event) => press(event as KeyboardEvent), { signal })
  target.addEventListener('keyup', (event) => release((event as KeyboardEvent).code), { signal })
  // The key up of a window that lost focus goes elsewhere.
  window.addEventListener('blur', releaseAll, { signal })
  return () => {
    releaseAll()
    listening.abort()
  }
}

function mayCommand(event: KeyboardEvent): boolean {
  const element = event.target
  if (!(element instanceof Element)) return true
  if (element.closest('dialog[open], [role="dialog"]') !== null) return false
  if (element.closest('textarea, [contenteditable=""], [contenteditable="true"]') !== null) return false
  if (element instanceof HTMLInputElement) return TEXTLESS_INPUTS.has(element.type) && !isControlKey(event)
  if (element instanceof HTMLSelectElement) return false
  if (element.closest('button, a[href], summary') !== null) return !/^( |Enter)$/.test(event.key)
  return true
}

function isControlKey(event: KeyboardEvent): boolean {
  return CONTROL_KEYS.test(event.key) && !event.ctrlKey && !event.metaKey
}
