import { useState } from 'preact/hooks'
import { isServerAway } from '../state/notices'
import { discardRefused, isDurable, isWaiting, refusedEvents, retryRefused, sendNow, unsentCount } from '../state/sync'
import { Dialog } from './dialog'

/** What a person must know about their labels when not all is well. One line each, nothing when all is well. */
export function Banner() {
  const [isOpen, setOpen] = useState(false)
  const refused = refusedEvents.value.length
  return (
    <div>
      {(isServerAway.value || isWaiting.value) && (
        <div class="banner" role="status" data-testid="offline">
          <span>The server does not answer. {keptSentence(unsentCount.value, isDurable.value)} You can go on.</span>
          <button type="button" class="button quiet" onClick={sendNow}>
            Try now
          </button>
        </div>
      )}
      {!isDurable.value && (
        <div class="banner" role="status">
          This browser keeps nothing on disk (a private window, or a full disk). Labels are sent at once, but those not
          sent yet are lost when the tab closes.
        </div>
      )}
      {refused > 0 && (
        <div class="banner bad" role="status" data-testid="refused">
          <span>
            {refused === 1 ? '1 label was' : `${refused} labels were`} refused by the server and{' '}
            {refused === 1 ? 'is' : 'are'} kept in this browser.
          </span>
          <button type="button" class="button quiet" onClick={() => setOpen(true)}>
            See why
          </button>
        </div>
      )}
      {isOpen && refused > 0 && <RefusedDialog onClose={() => setOpen(false)} />}
    </div>
  )
}

function keptSentence(count: number, isOnDisk: boolean): string {
  if (count === 0) return 'Everything you did is saved.'
  const labels = count === 1 ? '1 label waits' : `${count} labels wait`
  return isOnDisk ? `${labels} safely in this browser.` : `${labels} in this tab; keep it open.`
}

function RefusedDialog({ onClose }: { onClose: () => void }) {
  const all = refusedEvents.value
  return (
    <Dialog title="Labels that the server refused" onClose={onClose}>
      <p class="hint">
        They stay in this browser until you send them again, once the reason is mended, or discard them. The download is
        a copy for whoever looks after the server.
      </p>
      <ul class="refused-list">
        {all.slice(0, 200).map(({ event, reason }) => (
          <li key={event.event_id}>
            <span class="badge">{event.kind}</span>
            <span>{reason}</span>
          </li>
        ))}
      </ul>
      <div class="dialog-actions">
        <button type="button" class="button quiet" onClick={() => download(all)}>
          Download them
        </button>
        <button type="button" class="button danger" onClick={() => void discardRefused().then(onClose)}>
          Discard
        </button>
        <button type="button" class="button primary" onClick={() => void retryRefused().then(onClose)}>
          Send again
        </button>
      </div>
    </Dialog>
  )
}

function download(content: unknown): void {
  const url = URL.createObjectURL(new Blob([JSON.stringify(content, null, 2)], { type: 'application/json' }))
  const link = document.createElement('a')
  link.href = url
  link.download = 'recolabel-refused-labels.json'
  link.click()
  URL.revokeObjectURL(url)
}
