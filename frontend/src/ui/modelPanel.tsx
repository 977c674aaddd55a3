import type { Job } from '../api/types'
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
} from '../state/project'
import { newestSeq } from '../state/sync'
import { duration, plural } from './format'
import { CheckIcon, PlayIcon, RingIcon, StopIcon } from './icons'

/** Train and stop, how far it is, and what the model still needs. */
export function ModelPanel() {
  const active = training.value
  const labelled = classes.value.filter((one) => (classCounts.value.get(one.class_uid) ?? 0) > 0)
  const canTrain = labelled.length >= 2
  return (
    <section class="panel" aria-label="Model">
      <div class="panel-title">
        <span>Model</span>
        {project.value?.newest_version != null && <span>version {project.value.newest_version}</span>}
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

/** The worker's stages in words for people who have never trained a network. */
const STAGES: Readonly<Record<string, string>> = {
  '': 'preparing',
  'fitting the fast head': 'taking a first look',
  'choosing and publishing': 'choosing the best and saving it',
  drawing: 'drawing predictions',
}

function JobProgress({ job }: { job: Job }) {
  const { done, total, stage, losses, eta_seconds } = job.progress
  const isMeasured = total > 0 && done > 0
  const unit = job.kind === 'train' ? 'step' : 'image'
  const state = job.state === 'queued' ? 'waiting for its turn' : (STAGES[stage] ?? stage)
  return (
    <div class="stack" data-testid="progress" data-kind={job.kind} data-done={done} data-total={total}>
      <div class="row between">
        <span class="cut" title={state}>
          {state}
        </span>
        {eta_seconds != null && <span class="faint number">{duration(eta_seconds)} left</span>}
      </div>
      <div
        class={isMeasured ? 'bar' : 'bar busy'}
        role="progressbar"
        aria-label={job.kind === 'train' ? 'Training' : 'Predicting'}
        aria-valuemin={0}
        aria-valuemax={total}
        aria-valuenow={isMeasured ? done : undefined}
      >
        <div style={isMeasured ? { width: `${Math.min(100, (100 * done) / total)}%` } : {}} />
      </div>
      <div class="row between faint small number">
        <span>{isMeasured ? `${unit} ${done.toLocaleString('en')} of ${total.toLocaleString('en')}` : ''}</span>
        {job.attempt > 1 && <span>attempt {job.attempt}</span>}
      </div>
      {job.kind === 'train' && losses != null && (
        <div>
          <p class="faint small">Losses: how far off it still is, less is better</p>
          <dl class="losses number">
            <Loss name="labels" value={losses.supervised} meaning="On the pixels that you have labelled" />
            <Loss
              name="own guesses"
              value={losses.pseudo}
              meaning="On unlabelled images, against its own sure guesses"
            />
            <Loss name="contrast" value={losses.contrast} meaning="How well it keeps the classes apart (ReCo)" />
          </dl>
        </div>
      )}
    </div>
  )
}

interface LossProps {
  name: string
  value: number | null | undefined
  meaning: string
}

function Loss({ name, value, meaning }: LossProps) {
  return (
    <div title={meaning}>
      <dt>{name}</dt>
      <dd>{value == null ? '–' : value.toFixed(3)}</dd>
    </div>
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
        Click one pixel of each class you see: {done} of {all.length} done. Training needs two classes or more.
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
