import { useId } from 'preact/hooks'
import { nextColour } from '../labels/palette'
import { CloseIcon, PlusIcon } from './icons'

export interface ClassDraft {
  name: string
  colour: string
}

interface ClassChipsProps {
  drafts: readonly ClassDraft[]
  /** What is typed and not added yet. */
  text: string
  mistake: string | null
  onText: (text: string) => void
  /** The names that are typed shall become classes. */
  onAdd: () => void
  onChange: (drafts: ClassDraft[]) => void
}

export const MAX_CLASSES = 250

/** Why these names cannot be added, or null. */
export function mistakeIn(names: readonly string[], present: readonly ClassDraft[]): string | null {
  if (names.length === 0) return 'Type a name first.'
  const taken = new Set(present.map((draft) => draft.name.toLocaleLowerCase()))
  for (const name of names) {
    if (name.toLocaleLowerCase() === 'void') return '“void” is there already: it stands for pixels that fit no class.'
    if (name.length > 200) return 'A name has at most 200 characters.'
    if (taken.has(name.toLocaleLowerCase())) return `“${name}” is in the list already.`
    taken.add(name.toLocaleLowerCase())
  }
  if (present.length + names.length > MAX_CLASSES) return `A project has at most ${MAX_CLASSES} classes.`
  return null
}

/** Names typed or pasted, several at once by commas or lines. */
export function namesIn(text: string): string[] {
  return text
    .split(/[,;\n\t]/)
    .map((name) => name.trim())
    .filter((name) => name !== '')
}

/** The classes with these names at their end, each in a colour of its own. */
export function withNames(drafts: readonly ClassDraft[], names: readonly string[]): ClassDraft[] {
  const next = [...drafts]
  for (const name of names) next.push({ name, colour: nextColour(next.map((draft) => draft.colour)) })
  return next
}

/** The classes of a new project, as chips with a colour. */
export function ClassChips({ drafts, text, mistake, onText, onAdd, onChange }: ClassChipsProps) {
  const inputId = useId()
  const replace = (at: number, draft: ClassDraft | null) =>
    onChange(drafts.flatMap((one, index) => (index !== at ? [one] : draft === null ? [] : [draft])))

  return (
    <div class="form-row">
      <label for={inputId}>Classes</label>
      <div class="row">
        <input
          id={inputId}
          class="field"
          data-testid="class-name-input"
          placeholder="road, car, tree"
          value={text}
          aria-invalid={mistake !== null}
          aria-describedby={`${inputId}-hint`}
          onInput={(event) => onText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== 'Enter' || event.isComposing || text.trim() === '') return
            event.preventDefault()
            onAdd()
          }}
        />
        <button type="button" class="button" data-testid="add-class" onClick={onAdd}>
          <PlusIcon />
          Add
        </button>
      </div>
      <p id={`${inputId}-hint`} class={mistake === null ? 'hint small' : 'mistake small'} aria-live="polite">
        {mistake ?? 'The kinds of things you want to tell apart. Several at once with commas; more can be added later.'}
      </p>
      {drafts.length > 0 && (
        <ul class="chips" aria-label="Classes of the new project">
          {drafts.map((draft, index) => (
            <li key={draft.name} class="chip">
              <input
                type="color"
                class="colour-field"
                aria-label={`Colour of ${draft.name}`}
                value={draft.colour}
                onInput={(event) => replace(index, { ...draft, colour: event.currentTarget.value })}
              />
              <span class="cut" dir="auto" title={draft.name}>
                {draft.name}
              </span>
              <button
                type="button"
                class="button icon quiet"
                aria-label={`Leave out ${draft.name}`}
                onClick={() => replace(index, null)}
              >
                <CloseIcon />
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  )
}
