import type { ComponentChildren } from 'preact'
import { projects as projectApi } from '../api/client'
import type { Id } from '../api/types'
import { type Predicted, predictedOf } from '../state/predictions'
import { predicting, project, training, workingVersion } from '../state/project'
import { unsentCount } from '../state/sync'
import { plural } from './format'
import { DownloadIcon } from './icons'

/** Takes masks and labels out of the project. */
export function ExportPanel({ projectId }: { projectId: Id }) {
  const predicted = predictedOf(projectId)
  const obstacle = whyNoPredictions(predicted)
  return (
    <aside class="card side-card" aria-label="Export">
      <h2>Export</h2>
      <p class="hint">
        A mask is a PNG as large as its image; the value of each pixel is the number of its class, 254 void, 255
        unlabelled. <code>labelmap.txt</code> and <code>classes.txt</code> in the zip name the classes.
      </p>
      <div class="stack">
        <div data-testid="export-masks">
          <Download
            name="export-masks-merged"
            address={projectApi.exportAddress(projectId, 'indexed-png', 'merged')}
            isPrimary
            obstacle={obstacle}
          >
            Masks: predictions + labels
          </Download>
        </div>
        <Download
          name="export-masks-predictions"
          address={projectApi.exportAddress(projectId, 'indexed-png', 'predictions')}
          obstacle={obstacle}
        >
          Masks: predictions only
        </Download>
        <p class="hint small number" role="status" data-testid="predicted">
          {obstacle ?? (predicted !== null && countSentence(predicted))}
        </p>
        <Download
          name="export-masks-labels"
          address={projectApi.exportAddress(projectId, 'indexed-png', 'labels')}
          obstacle={null}
        >
          Masks: labels only
        </Download>
        <Download name="export-labels" address={projectApi.exportAddress(projectId, 'jsonl', 'labels')} obstacle={null}>
          All labels (JSONL)
        </Download>
      </div>
      {unsentCount.value > 0 && (
        <p class="mistake small">
          {plural(unsentCount.value, 'label')} in this browser {unsentCount.value === 1 ? 'is' : 'are'} not sent yet and
          will be missing from the export.
        </p>
      )}
    </aside>
  )
}

interface DownloadProps {
  name: string
  address: string
  isPrimary?: true
  /** Why there is nothing to download; null when there is. */
  obstacle: string | null
  children: ComponentChildren
}

function Download({ name, address, isPrimary, obstacle, children }: DownloadProps) {
  const looks = isPrimary ? 'button primary wide' : 'button'
  if (obstacle !== null) {
    return (
      <button type="button" class={looks} data-testid={name} title={obstacle} disabled>
        <DownloadIcon />
        {children}
      </button>
    )
  }
  return (
    <a class={looks} data-testid={name} href={address} download>
      <DownloadIcon />
      {children}
    </a>
  )
}

/** Why no prediction can be exported; null when one can, or when that is not known of a list loaded in part. */
function whyNoPredictions(predicted: Predicted | null): string | null {
  if (predicted === null) return 'Counting the predictions…'
  const mayHaveSome = predicted.isAtLeast && project.value?.newest_version != null
  if (predicted.count > 0 || mayHaveSome) return null
  if (predicting.value !== null) return 'No image has a prediction yet; they are being drawn.'
  if (project.value?.newest_version != null)
    return `No image has a prediction yet; version ${workingVersion.value} draws them next.`
  if (training.value !== null) return 'No image has a prediction yet; they come with the training under way.'
  return 'No image has a prediction yet; they come with the first training.'
}

function countSentence({ count, total, isAtLeast }: Predicted): string {
  const images = plural(total, 'image')
  if (count === total) return `predictions: all of ${images}`
  return `predictions: ${isAtLeast ? 'at least ' : ''}${count.toLocaleString('en')} of ${images} so far`
}
