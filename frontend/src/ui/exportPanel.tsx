import { projects as projectApi } from '../api/client'
import type { Id } from '../api/types'
import { project } from '../state/project'
import { unsentCount } from '../state/sync'
import { plural } from './format'
import { DownloadIcon } from './icons'

/** Takes masks and labels out of the project. */
export function ExportPanel({ projectId }: { projectId: Id }) {
  const hasModel = project.value?.newest_version != null
  return (
    <aside class="card side-card" aria-label="Export">
      <h2>Export</h2>
      <p class="hint">
        A mask is a PNG as large as its image; the value of each pixel is the number of its class, 254 void, 255
        unlabelled. <code>labelmap.txt</code> and <code>classes.txt</code> in the zip name the classes.
      </p>
      <div class="stack">
        <div data-testid="export-masks">
          <a
            class="button primary wide"
            data-testid="export-masks-merged"
            href={projectApi.exportAddress(projectId, 'indexed-png', 'merged')}
            download
          >
            <DownloadIcon />
            Masks: predictions + labels
          </a>
        </div>
        <a
          class="button"
          data-testid="export-masks-predictions"
          href={projectApi.exportAddress(projectId, 'indexed-png', 'predictions')}
          download
        >
          <DownloadIcon />
          Masks: predictions only
        </a>
        <a
          class="button"
          data-testid="export-masks-labels"
          href={projectApi.exportAddress(projectId, 'indexed-png', 'labels')}
          download
        >
          <DownloadIcon />
          Masks: labels only
        </a>
        <a
          class="button"
          data-testid="export-labels"
          href={projectApi.exportAddress(projectId, 'jsonl', 'labels')}
          download
        >
          <DownloadIcon />
          All labels (JSONL)
        </a>
      </div>
      {!hasModel && <p class="hint small">Without a model version there are no predictions to export yet.</p>}
      {unsentCount.value > 0 && (
        <p class="mistake small">
          {plural(unsentCount.value, 'label')} in this browser {unsentCount.value === 1 ? 'is' : 'are'} not sent yet and
          will be missing from the export.
        </p>
      )}
    </aside>
  )
}
