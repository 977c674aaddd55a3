import { useState } from 'preact/hooks'
import { learnWhoIAm } from '../state/login'
import { sendNow, unsentCount } from '../state/sync'
import { Brand } from '../ui/icons'

/** Shown when the server does not know this browser. */
export function LoginPage() {
  const [isRefused, setRefused] = useState(false)
  const retry = () => {
    setRefused(false)
    learnWhoIAm().then(sendNow, () => setRefused(true))
  }
  return (
    <main class="scroll">
      <div class="page narrow">
        <div class="card empty" data-testid="login">
          <span class="brand">
            <Brand />
          </span>
          <h1>This browser is not logged in</h1>
          <p>
            When it started, <code>recolabel up</code> printed an address with a token in it. Open that whole address
            once in this browser; afterwards any page of this server opens.
          </p>
          <p class="hint">
            {unsentCount.value > 0
              ? `${unsentCount.value} labels that are not sent yet stay in this browser and are sent afterwards.`
              : 'Nothing was changed or lost.'}
          </p>
          <button type="button" class="button" onClick={retry}>
            I have done that
          </button>
          <p class="mistake" role="status">
            {isRefused && 'Not yet: the server still does not know this browser.'}
          </p>
        </div>
      </div>
    </main>
  )
}
