import { useState } from 'preact/hooks'
import { projects as projectApi } from '../api/client'
import { sentenceOf } from '../api/problems'
import type { ClassPatch, Id, LabelClass } from '../api/types'
import { VOID } from '../labels/events'
import { nextColour, VOID_COLOUR } from '../labels/palette'
import { activeClass, chooseClass } from '../state/annotation'
import { letters } from '../state/answering'
import { classCounts, classes, project, takeClass } from '../state/project'
import { mistakeIn, namesIn } from './classChips'
import { Dialog } from './dialog'
import { PencilIcon, PlusIcon } from './icons'

/** The classes: which one the next click says, and how often each was said. */
export function ClassPanel() {
  const [edited, setEdited] = useState<LabelClass | null>(null)
  return (
    <section class="panel grow" aria-label="Classes">
      <div class="panel-title">
        <span>Classes</span>
        <span title="Labels in the whole project">labels</span>
      </div>
      <ul class="class-list">
        {classes.value.map((one, index) => (
          <ClassRow
            key={one.class_uid}
            classUid={one.class_uid}
            name={one.name}
            colour={one.colour}
            keyName={index < 10 ? String((index + 1) % 10) : null}
            onEdit={() => setEdited(one)}
          />
        ))}
        <ClassRow classUid={VOID} name="void" colour={VOID_COLOUR} keyName="Del" onEdit={null} />
      </ul>
      <AddClass />
      {edited !== null && <EditClass labelClass={edited} onClose={() => setEdited(null)} />}
    </section>
  )
}

interface ClassRowProps {
  classUid: string
  name: string
  colour: string
  keyName: string | null
  onEdit: (() => void) | null
}

function ClassRow({ classUid, name, colour, keyName, onEdit }: ClassRowProps) {
  const isActive = activeClass.value === classUid
  const count = classCounts.value.get(classUid) ?? 0
  return (
    <li
      class={isActive ? 'class-row active' : 'class-row'}
      data-testid="class-row"
      data-class-uid={classUid}
      data-name={name}
      data-count={count}
    >
      <button
        type="button"
        class="choose"
        aria-pressed={isActive}
        title={classUid === VOID ? 'Void: no class fits, or several do. The training leaves these pixels out.' : name}
        onClick={() => chooseClass(classUid)}
      >
        <span class="swatch" style={{ background: colour }} />
        <span class="grow cut" dir="auto">
          {name}
        </span>
        <span class="faint number">{count > 0 ? count.toLocaleString('en') : ''}</span>
        {keyName !== null && <kbd>{keyName}</kbd>}
      </button>
      {onEdit !== null && (
        <button type="button" class="button icon quiet edit" aria-label={`Change ${name}`} onClick={onEdit}>
          <PencilIcon />
        </button>
      )}
    </li>
  )
}

function AddClass() {
  const [text, setText] = useState('')
  const [mistake, setMistake] = useState<string | null>(null)
  const add = async () => {
    const open = project.value
    if (open === null) return
    const names = namesIn(text)
    const problem = mistakeIn(names, classes.peek())
    if (problem !== null) return setMistake(problem)
    try {
      for (const name of names) {
        takeClass(await addOrBringBack(open.project_id, name))
      }
      setText('')
    } catch (error) {
      setMistake(sentenceOf(error))
    }
  }
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        void add()
      }}
    >
      <div class="row">
        <input
          class="field small"
          data-testid="class-name-input"
          aria-label="Name of a new class"
          placeholder="New class"
          value={text}
          aria-invalid={mistake !== null}
          onInput={(event) => {
            setText(event.currentTarget.value)
            setMistake(null)
          }}
        />
        <button type="submit" class="button icon" data-testid="add-class" aria-label="Add the class">
          <PlusIcon />
        </button>
      </div>
      <p class="mistake small" aria-live="polite">
        {mistake}
      </p>
    </form>
  )
}

/** A name that a retired class has brings that class back, with the labels it had. */
function addOrBringBack(projectId: Id, name: string): Promise<LabelClass> {
  const present = project.peek()?.classes ?? []
  const retired = present.find((one) => one.retired && one.name.toLocaleLowerCase() === name.toLocaleLowerCase())
  if (retired !== undefined) return projectApi.patchClass(projectId, retired.class_uid, { retired: false })
  return projectApi.addClass(projectId, { name, colour: nextColour(present.map((one) => one.colour)) })
}

function EditClass({ labelClass, onClose }: { labelClass: LabelClass; onClose: () => void }) {
  const [name, setName] = useState(labelClass.name)
  const [colour, setColour] = useState(labelClass.colour)
  const proposed = letters.value.get(labelClass.class_uid) ?? ''
  const [letter, setLetter] = useState(proposed)
  const [mistake, setMistake] = useState<string | null>(null)
  const change = async (patch: ClassPatch) => {
    const open = project.value
    if (open === null) return
    try {
      takeClass(await projectApi.patchClass(open.project_id, labelClass.class_uid, patch))
      onClose()
    } catch (error) {
      setMistake(sentenceOf(error))
    }
  }
  const save = () => {
    const others = (project.value?.classes ?? []).filter((one) => one.class_uid !== labelClass.class_uid)
    const problem = mistakeIn([name.trim()].filter(Boolean), others)
    if (problem !== null) return setMistake(problem)
    if (letter !== '' && !/^[a-z]$/.test(letter)) return setMistake('The letter is one of a to z.')
    const isChosen = letter !== '' && letter !== proposed
    void change({ name: name.trim(), colour, ...(isChosen ? { key: letter } : {}) })
  }
  return (
    <Dialog title={`Class “${labelClass.name}”`} onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault()
          save()
        }}
      >
        <div class="form-row">
          <label for="class-name">Name</label>
          <div class="row">
            <input
              type="color"
              class="colour-field"
              aria-label="Colour"
              value={colour}
              onInput={(event) => setColour(event.currentTarget.value)}
            />
            <input
              id="class-name"
              class="field"
              value={name}
              onInput={(event) => {
                setName(event.currentTarget.value)
                setMistake(null)
              }}
            />
          </div>
        </div>
        <div class="form-row">
          <label for="class-letter">Letter in Answer mode</label>
          <input
            id="class-letter"
            class="field letter"
            data-testid="class-letter"
            maxLength={1}
            autocomplete="off"
            value={letter}
            onInput={(event) => {
              setLetter(event.currentTarget.value.toLowerCase())
              setMistake(null)
            }}
          />
          <p class="hint small">Another class that has this letter gives it up.</p>
        </div>
        <p class="mistake" role="alert">
          {mistake}
        </p>
        <p class="hint">
          A retired class keeps its labels but is no longer offered nor trained; its pixels count as unlabelled. Adding
          a class of its name brings it back.
        </p>
        <div class="dialog-actions">
          <button type="button" class="button danger" onClick={() => void change({ retired: true })}>
            Retire
          </button>
          <button type="submit" class="button primary">
            Save
          </button>
        </div>
      </form>
    </Dialog>
  )
}
