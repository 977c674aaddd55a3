import { dismiss, notices } from '../state/notices'
import { CloseIcon } from './icons'

/** Short sentences in the corner, spoken by screen readers. */
export function Notices() {
  return (
    <div class="notices" role="status" aria-live="polite">
      {notices.value.map((notice) => (
        <div key={notice.id} class={`floating notice ${notice.tone}`} data-testid="notice">
          <div class="grow">
            <p>{notice.sentence}</p>
            {notice.requestId !== null && (
              <p class="faint small">
                In the server's log: <code>{notice.requestId}</code>
              </p>
            )}
          </div>
          <button type="button" class="button icon quiet" aria-label="Dismiss" onClick={() => dismiss(notice.id)}>
            <CloseIcon />
          </button>
        </div>
      ))}
    </div>
  )
}
