import { clearUploads, isUploading, stopUploads, type Upload, uploadCounts, uploads } from '../state/uploads'
import { plural } from './format'

const SHOWN = 200
const TONES = { waiting: '', sending: 'accent', stored: 'accent', duplicate: 'warn', refused: 'bad' }
const WORDS = { waiting: 'waiting', sending: 'sending', stored: 'added', duplicate: 'duplicate', refused: 'refused' }

/** How the upload goes, and the verdict on each file; refused ones first, with the reason. */
export function UploadPanel() {
  const all = uploads.value
  if (all.length === 0) return null
  const counts = uploadCounts.value
  const done = counts.stored + counts.duplicate + counts.refused
  return (
    <section class="card upload-panel" aria-label="Upload">
      <div class="row between">
        <strong class="number" role="status">
          {summary(done, all.length)}
        </strong>
        <span class="facts number">
          <span>{counts.stored} added</span>
          <span>{plural(counts.duplicate, 'duplicate')}</span>
          <span>{counts.refused} refused</span>
        </span>
        <button type="button" class="button" onClick={isUploading.value ? stopUploads : clearUploads}>
          {isUploading.value ? 'Stop' : 'Close'}
        </button>
      </div>
      {isUploading.value && (
        <div
          class="bar"
          role="progressbar"
          aria-label="Upload"
          aria-valuemin={0}
          aria-valuemax={all.length}
          aria-valuenow={done}
        >
          <div style={{ width: `${(100 * done) / all.length}%` }} />
        </div>
      )}
      <ul class="upload-list">
        {inOrder(all).map((upload) => (
          <li key={upload.id} data-testid="upload-verdict" data-verdict={upload.verdict}>
            <span class="cut" dir="auto" title={upload.name}>
              {upload.name}
            </span>
            <span class={`badge ${TONES[upload.verdict]}`}>{WORDS[upload.verdict]}</span>
            <span class="hint">{upload.reason}</span>
          </li>
        ))}
      </ul>
    </section>
  )
}

function summary(done: number, total: number): string {
  if (done < total) return `${done} of ${total} files`
  return total === 1 ? '1 file done' : `All ${total} files done`
}

const RANK = { refused: 0, duplicate: 1, sending: 2, stored: 3, waiting: 4 }

function inOrder(all: readonly Upload[]): Upload[] {
  return all.toSorted((a, b) => RANK[a.verdict] - RANK[b.verdict]).slice(0, SHOWN)
}
