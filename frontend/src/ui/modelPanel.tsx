import {
  classCounts,
  classes,
  lastTraining,
  modelVersions,
  predicting,
  project,
  setAutoTrain,
  stopTraining,
  train,
  training,
  workingVersion,
} from '../state/project'
import { newestSeq } from '../state/sync'
import { plural } from './format'
import { CheckIcon, PlayIcon, RingIcon, StopIcon } from './icons'
import { JobProgress } from './jobProgress'

/** Train and stop, how far it is, and what the model still needs. */
export function ModelPanel() {
  const active = training.value
  const labelled = classes.value.filter((one) => (classCounts.value.get(one.class_uid) ?? 0) > 0)
  const canTrain = labelled.length >= 2
  return (
    <section class="panel" aria-label="Model">
      <div class="panel-title">
        <span>Model</span>
        {workingVersion.value !== null && (
          <span>
            version {workingVersion.value}
            {project.value?.pinned_version != null && ', pinned'}
          </span>
        )}
      </div>
      {active === null ? (
        <button
          type="button"
          class="button primary wide"
          data-testid="train"
          title={canTrain ? 'Train now (T)' : 'Two classes with labels are needed'}
          disabled={!canTrain}
          onClick={() => void train({})}
        >
          <PlayIcon />
          Train
        </button>
      ) : (
        <button
          type="button"
          class="button wide"
          data-testid="stop"
          title="Stop (Shift+T)"
          disabled={active.cancel_requested}
          onClick={() => void stopTraining()}
        >
          <StopIcon />
          {active.cancel_requested ? 'Stopping…' : 'Stop training'}
        </button>
      )}
      <label class="row between" title="Trains as soon as every class has a label, and again after enough new labels">
        <span>Train automatically</span>
        <input
          type="checkbox"
          role="switch"
          class="switch"
          data-testid="auto-train"
          checked={project.value?.settings.auto_train ?? true}
          aria-checked={project.value?.settings.auto_train ?? true}
          onChange={(event) => void setAutoTrain(event.currentTarget.checked)}
        />
      </label>
      <div class="model-state">
        {active !== null ? (
          <JobProgress job={active} />
        ) : predicting.value !== null ? (
          <JobProgress job={predicting.value} />
        ) : (
          <LastWord />
        )}
        {labelled.length < classes.value.length && <Checklist />}
      </div>
    </section>
  )
}

/** How the last training ended. */
function LastWord() {
  const last = lastTraining.value
  if (last?.state === 'failed') {
    return (
      <p class="mistake" role="alert" data-testid="training-error">
        {last.error ?? 'The training failed.'}
      </p>
    )
  }
  const [newest] = modelVersions.value
  if (newest === undefined)
    return last?.state === 'cancelled' ? <p class="hint small">The training was stopped.</p> : null
  const isBehind = newest.label_seq < newestSeq.value
  return (
    <p class="hint small" role="status" data-testid="model-state">
      Version {newest.version} learned from {plural(newest.label_count, 'label')}
      {isBehind ? '; newer labels exist.' : '; that is all of them.'}
    </p>
  )
}

const SHOWN = 12

function Checklist() {
  const all = classes.value
  const isDone = (classUid: string) => (classCounts.value.get(classUid) ?? 0) > 0
  const done = all.filter((one) => isDone(one.class_uid)).length
  return (
    <div class="stack" data-testid="checklist">
      <p class="hint small">
        {done} of {all.length} classes have a label. {whenItStarts(all.length)} Not in this image? F shows the next.
      </p>
      <ul class="checklist">
        {all.slice(0, SHOWN).map((one) => (
          <li key={one.class_uid} class={isDone(one.class_uid) ? 'done' : ''}>
            {isDone(one.class_uid) ? <CheckIcon /> : <RingIcon />}
            <span class="cut" dir="auto">
              {one.name}
            </span>
          </li>
        ))}
        {all.length > SHOWN && <li class="faint">and {all.length - SHOWN} more</li>}
      </ul>
    </div>
  )
}

/** What starts the next training, while some of so many classes have no label. */
function whenItStarts(classCount: number): string {
  if (training.value !== null) return 'The model learns the others once they have one.'
  const isFirst = modelVersions.value.length === 0
  const isAutomatic = project.value?.settings.auto_train ?? true
  if (isFirst && isAutomatic) {
    return `Training starts by itself once all ${classCount} classes have a label; T starts it now (two classes suffice).`
  }
  return 'T starts a training (two classes suffice).'
}
