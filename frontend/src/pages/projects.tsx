import { signal } from '@preact/signals'
import { useEffect, useRef, useState } from 'preact/hooks'
import { projects as projectApi } from '../api/client'
import { sentenceOf } from '../api/problems'
import type { Project } from '../api/types'
import { go } from '../state/location'
import { notify, report } from '../state/notices'
import { ClassChips, type ClassDraft, mistakeIn, namesIn, withNames } from '../ui/classChips'
import { Dialog } from '../ui/dialog'
import { Header } from '../ui/header'
import { ModelIcon, PlusIcon, TrashIcon } from '../ui/icons'
import { Link } from '../ui/link'

const list = signal<readonly Project[] | null>(null)
/** Why there is no list to show. */
const problem = signal<string | null>(null)

async function refresh(): Promise<void> {
  try {
    list.value = await projectApi.list()
    problem.value = null
  } catch (error) {
    problem.value = sentenceOf(error)
    report(error)
  }
}

const AGAIN_MS = 3000

/** All projects of this server. */
export function ProjectsPage() {
  const [isCreating, setCreating] = useState(false)
  const [toDelete, setToDelete] = useState<Project | null>(null)
  useEffect(() => {
    document.title = 'ReCoLabel'
    void refresh()
    // Nothing tells this page that the server is back, so it asks.
    const timer = setInterval(() => {
      if (problem.peek() !== null) void refresh()
    }, AGAIN_MS)
    return () => clearInterval(timer)
  }, [])
  const projects = list.value

  return (
    <div class="frame">
      <Header project={null} page="projects" />
      <div />
      <main class="scroll">
        <div class="page">
          <div class="page-head">
            <div>
              <h1>Projects</h1>
              <p class="hint">A project is a set of images with one list of classes.</p>
            </div>
            <button
              type="button"
              class="button primary tall"
              data-testid="create-project"
              onClick={() => setCreating(true)}
            >
              <PlusIcon />
              New project
            </button>
          </div>
          {projects === null && problem.value !== null && (
            <div class="card empty" role="alert">
              <h2>The projects cannot be shown now</h2>
              <p class="hint">{problem.value}</p>
              <button type="button" class="button" onClick={() => void refresh()}>
                Try again
              </button>
            </div>
          )}
          {projects !== null && projects.length === 0 && (
            <div class="card empty">
              <ModelIcon />
              <h2>No project yet</h2>
              <p class="hint">
                Name a project and the classes you want to tell apart, add a folder of images, then click a few pixels
                of each class. The model colours the images while you click.
              </p>
            </div>
          )}
          <ul class="projects">
            {projects?.map((project) => (
              <ProjectCard key={project.project_id} project={project} onDelete={() => setToDelete(project)} />
            ))}
          </ul>
        </div>
      </main>
      {isCreating && <CreateDialog onClose={() => setCreating(false)} />}
      {toDelete !== null && <DeleteDialog project={toDelete} onClose={() => setToDelete(null)} />}
    </div>
  )
}

const CHIPS_SHOWN = 8

function ProjectCard({ project, onDelete }: { project: Project; onDelete: () => void }) {
  const classes = project.classes.filter((one) => !one.retired)
  return (
    <li class="card project-card" data-testid="project-card">
      <div class="row between">
        <h2 class="cut" dir="auto" title={project.name}>
          <Link to={{ page: 'images', projectId: project.project_id }} class="cover">
            {project.name}
          </Link>
        </h2>
        <button type="button" class="button icon quiet" aria-label={`Delete ${project.name}`} onClick={onDelete}>
          <TrashIcon />
        </button>
      </div>
      <p class="facts number">
        <Fact count={project.image_count} one="image" many="images" />
        <Fact count={project.label_count} one="label" many="labels" />
        {project.newest_version === null ? (
          <span class="faint">no model yet</span>
        ) : (
          <span>
            model version <strong>{project.pinned_version ?? project.newest_version}</strong>
            {project.pinned_version != null && ', pinned'}
          </span>
        )}
      </p>
      <ul class="chips" aria-label="Classes">
        {classes.slice(0, CHIPS_SHOWN).map((one) => (
          <li key={one.class_uid} class="chip">
            <span class="swatch" style={{ background: one.colour }} />
            <span class="cut" dir="auto">
              {one.name}
            </span>
          </li>
        ))}
        {classes.length > CHIPS_SHOWN && <li class="chip faint">and {classes.length - CHIPS_SHOWN} more</li>}
      </ul>
    </li>
  )
}

function Fact({ count, one, many }: { count: number; one: string; many: string }) {
  return (
    <span>
      <strong>{count.toLocaleString('en')}</strong> {count === 1 ? one : many}
    </span>
  )
}

/** What is wrong with the form, by the field that it is about. */
interface Mistakes {
  name?: string
  classes?: string
  whole?: string
}

function CreateDialog({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState('')
  const [drafts, setDrafts] = useState<ClassDraft[]>([])
  const [text, setText] = useState('')
  const [mistakes, setMistakes] = useState<Mistakes>({})
  const [isBusy, setBusy] = useState(false)
  const form = useRef<HTMLFormElement>(null)

  /** Names that are typed become classes; null when one of them cannot. */
  const addTyped = (): ClassDraft[] | null => {
    const names = namesIn(text)
    const mistake = mistakeIn(names, drafts)
    setMistakes(mistake === null ? {} : { classes: mistake })
    if (mistake !== null) return null
    const next = withNames(drafts, names)
    setDrafts(next)
    setText('')
    return next
  }

  const create = async () => {
    // Whoever typed a name and went straight to the button meant it.
    const classes = text.trim() === '' ? drafts : addTyped()
    const wrong: Mistakes = {}
    if (name.trim() === '') wrong.name = 'Give the project a name.'
    if (classes?.length === 0) {
      wrong.classes = 'Add at least one class. A model needs two or more to learn; the others can follow later.'
    }
    if (classes === null || wrong.name !== undefined || wrong.classes !== undefined) {
      setMistakes((before) => ({ ...before, ...wrong }))
      const first = wrong.name === undefined ? 'class-name-input' : 'project-name'
      form.current?.querySelector<HTMLElement>(`[data-testid="${first}"]`)?.focus()
      return
    }
    setBusy(true)
    try {
      const project = await projectApi.create({ name: name.trim(), classes })
      go({ page: 'images', projectId: project.project_id })
    } catch (error) {
      setMistakes({ whole: sentenceOf(error) })
      setBusy(false)
    }
  }

  return (
    <Dialog title="New project" onClose={onClose}>
      <form
        ref={form}
        class="stack form"
        noValidate
        onSubmit={(event) => {
          event.preventDefault()
          void create()
        }}
      >
        <div class="form-row">
          <label for="project-name">Name</label>
          <input
            id="project-name"
            class="field"
            data-testid="project-name"
            autofocus
            autocomplete="off"
            dir="auto"
            maxLength={200}
            placeholder="Street scenes"
            value={name}
            aria-invalid={mistakes.name !== undefined}
            aria-describedby="project-name-mistake"
            onInput={(event) => {
              setName(event.currentTarget.value)
              setMistakes({})
            }}
          />
          <p id="project-name-mistake" class="mistake small" role="alert">
            {mistakes.name}
          </p>
        </div>
        <ClassChips
          drafts={drafts}
          text={text}
          mistake={mistakes.classes ?? null}
          onText={(next) => {
            setText(next)
            setMistakes({})
          }}
          onAdd={addTyped}
          onChange={(next) => {
            setDrafts(next)
            setMistakes({})
          }}
        />
        <p class="mistake" role="alert">
          {mistakes.whole}
        </p>
        <div class="dialog-actions">
          <button type="submit" class="button primary tall" data-testid="create-project-submit" disabled={isBusy}>
            Create project
          </button>
        </div>
      </form>
    </Dialog>
  )
}

function DeleteDialog({ project, onClose }: { project: Project; onClose: () => void }) {
  const [typed, setTyped] = useState('')
  const [isBusy, setBusy] = useState(false)
  const remove = async () => {
    setBusy(true)
    try {
      await projectApi.remove(project.project_id)
      notify('done', `“${project.name}” was deleted.`)
      onClose()
      await refresh()
    } catch (error) {
      report(error)
      setBusy(false)
    }
  }
  return (
    <Dialog title={`Delete “${project.name}”?`} onClose={onClose}>
      <p>
        Its {project.image_count.toLocaleString('en')} images, {project.label_count.toLocaleString('en')} labels and all
        model versions disappear from this app for everybody. The app has no way to bring them back.
      </p>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault()
          if (typed === project.name) void remove()
        }}
      >
        <div class="form-row">
          <label for="typed-name">
            Type the project's name, <strong>{project.name}</strong>
          </label>
          <input
            id="typed-name"
            class="field"
            data-testid="delete-name"
            autocomplete="off"
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        </div>
        <div class="dialog-actions">
          <button type="button" class="button" onClick={onClose}>
            Keep it
          </button>
          <button
            type="submit"
            class="button danger"
            data-testid="delete-project"
            disabled={typed !== project.name || isBusy}
          >
            <TrashIcon />
            Delete
          </button>
        </div>
      </form>
    </Dialog>
  )
}
