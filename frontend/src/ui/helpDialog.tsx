import { COMMANDS } from '../keys/commands'
import { KEYMAP, keysOf, MOUSE_HELP, SCOPE_TITLES, type Scope } from '../keys/keymap'
import { Dialog } from './dialog'

const SCOPES = Object.keys(SCOPE_TITLES) as Scope[]

/** All keys, made from the key map. */
export function HelpDialog({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keys" isRoomy onClose={onClose}>
      <div class="key-columns">
        {SCOPES.map((scope) => (
          <section key={scope}>
            <h3 class="panel-title">{SCOPE_TITLES[scope]}</h3>
            <ul>
              {commandsOf(scope).map(({ title, keys }) => (
                <li key={title}>
                  <span>{title}</span>
                  <span class="keys">
                    {keys.map((key) => (
                      <kbd key={key}>{key}</kbd>
                    ))}
                  </span>
                </li>
              ))}
            </ul>
          </section>
        ))}
        <section>
          <h3 class="panel-title">Mouse</h3>
          <ul>
            {MOUSE_HELP.map(({ gesture, title }) => (
              <li key={gesture}>
                <span>{title}</span>
                <span class="keys">
                  <kbd>{gesture}</kbd>
                </span>
              </li>
            ))}
          </ul>
        </section>
      </div>
    </Dialog>
  )
}

interface KeyLine {
  title: string
  keys: string[]
}

/** The commands of a scope with their keys; the ten class keys are one line. */
function commandsOf(scope: Scope): KeyLine[] {
  const bindings = KEYMAP.filter((binding) => binding.scope === scope)
  const ids = [...new Set(bindings.map((binding) => binding.command))]
  const lines = ids
    .filter((id) => !id.startsWith('class.') || id === 'class.void' || id === 'class.swap')
    .map((id) => ({ title: COMMANDS[id].title, keys: keysOf(id, bindings) }))
  const digits = { title: 'Class 1 to 10', keys: ['1', '…', '9', '0'] }
  const letters = { title: 'The class with that letter', keys: ['A', '…', 'Z'] }
  if (!ids.includes('class.1')) return lines
  return scope === 'answer' ? [digits, letters, ...lines] : [digits, ...lines]
}
