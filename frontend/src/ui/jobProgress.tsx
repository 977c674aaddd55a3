import type { Job } from '../api/types'
import { isActive, jobs } from '../state/project'
import { duration } from './format'

/** The worker's stages in words for people who have never trained a network. */
const STAGES: Readonly<Record<string, string>> = {
  '': 'preparing',
  'fitting the fast head': 'taking a first look',
  'choosing and publishing': 'choosing the best and saving it',
  drawing: 'drawing predictions',
}

const WAITING = 'waiting: another project is training'
/** The server does not say whether a worker is there at all. */
const WAITING_WHY = 'One job runs after another. If no other project trains, no worker runs: start recolabel worker.'

/** The worker takes the oldest job of all projects: one that waits while none of ours is at work is behind others'. */
function isWaitingForOthers(job: Job): boolean {
  const isUntouched = job.state === 'queued' && job.progress.done === 0 && job.progress.stage === ''
  return isUntouched && !jobs.value.some((one) => isActive(one) && one.state !== 'queued')
}

/** How far a job is. */
export function JobProgress({ job }: { job: Job }) {
  const { done, total, stage, losses, eta_seconds } = job.progress
  const isMeasured = total > 0 && done > 0
  const unit = job.kind === 'train' ? 'step' : 'image'
  const state = isWaitingForOthers(job) ? WAITING : job.state === 'queued' ? 'waiting' : (STAGES[stage] ?? stage)
  return (
    <div class="stack" data-testid="progress" data-kind={job.kind} data-done={done} data-total={total}>
      <div class="row between">
        <span class="cut" title={state === WAITING ? WAITING_WHY : state}>
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
