import type { ComponentChildren } from 'preact'
import { heatColour } from '../canvas/layers/uncertainty'
import { isLate, isStale, overlay, overlaySource, whatIsMissing } from '../state/maps'
import { prefer, preferences } from '../state/preferences'
import { percent } from './format'

const HEAT = `linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1]
  .map((share) => `rgb(${heatColour(share).join(' ')} / ${Math.min(1, 2 * share)})`)
  .join(', ')})`

/** What lies over the picture, who drew it, and how strongly it is shown. */
export function OverlayPanel() {
  const shown = preferences.value
  const hasMap = overlay.value !== null
  return (
    <section class="panel" aria-label="Overlay">
      <div class="panel-title">
        <span>Overlay</span>
      </div>
      <div class="row" role="status">
        <span class="grow cut" data-testid="overlay-source" data-map-id={overlay.value?.map.map_id}>
          {overlaySource.value ?? <span class="faint">no prediction for this image yet</span>}
        </span>
        {isStale.value && (
          <span class="badge warn late" title="Drawn before your newest labels." data-testid="stale">
            stale
          </span>
        )}
      </div>
      {whatIsMissing.value !== null && (
        <p class="hint small" role="status" data-testid="missing">
          {whatIsMissing.value}
        </p>
      )}
      {isLate.value && (
        <p class="hint small" role="status" data-testid="fast-head-late">
          The fast head has not answered your newest labels yet. They are saved; this overlay stays until it does.
        </p>
      )}
      <Toggle
        label="Prediction"
        keyName="P"
        isOn={shown.showPrediction}
        onChange={(showPrediction) => prefer({ showPrediction })}
      >
        <input
          class="range"
          data-testid="opacity"
          type="range"
          min="0"
          max="1"
          step="0.05"
          aria-label="Opacity of the prediction"
          title=", and . change the opacity"
          disabled={!shown.showPrediction}
          value={shown.predictionOpacity}
          onInput={(event) => prefer({ predictionOpacity: Number(event.currentTarget.value) })}
        />
      </Toggle>
      <Toggle
        label="Uncertainty"
        keyName="U"
        testId="uncertainty-toggle"
        isOn={shown.showUncertainty}
        onChange={(showUncertainty) => prefer({ showUncertainty })}
      />
      {shown.showUncertainty && (
        <div class="stack">
          <fieldset class="segments" aria-label="How uncertainty is shown">
            <button
              type="button"
              aria-pressed={shown.uncertaintyMode === 'heat'}
              onClick={() => prefer({ uncertaintyMode: 'heat' })}
            >
              Heat map
            </button>
            <button
              type="button"
              aria-pressed={shown.uncertaintyMode === 'hard'}
              onClick={() => prefer({ uncertaintyMode: 'hard' })}
            >
              Hard pixels
            </button>
          </fieldset>
          {shown.uncertaintyMode === 'heat' ? (
            <div>
              <div class="legend" style={{ background: HEAT }} />
              <div class="legend-ends">
                <span>sure</span>
                <span>unsure</span>
              </div>
            </div>
          ) : (
            <div class="control">
              <div class="control-head">
                <label for="threshold">Less sure than</label>
                <output class="number faint">{percent(shown.threshold)}</output>
              </div>
            </div>
          )}
          <input
            id="threshold"
            class="range"
            data-testid="threshold"
            type="range"
            min="0"
            max="1"
            step="0.01"
            aria-label="Mark pixels that the model is less sure of than this"
            hidden={shown.uncertaintyMode === 'heat'}
            value={shown.threshold}
            onInput={(event) => prefer({ threshold: Number(event.currentTarget.value) })}
          />
          {!hasMap && <p class="faint small">Shown as soon as a model has looked at this image.</p>}
        </div>
      )}
      <Toggle label="Labels" keyName="H" isOn={shown.showLabels} onChange={(showLabels) => prefer({ showLabels })} />
      <Toggle label="Image" keyName="I" isOn={shown.showImage} onChange={(showImage) => prefer({ showImage })} />
    </section>
  )
}

interface ToggleProps {
  label: string
  keyName: string
  isOn: boolean
  onChange: (isOn: boolean) => void
  testId?: string
  children?: ComponentChildren
}

function Toggle({ label, keyName, isOn, onChange, testId, children }: ToggleProps) {
  return (
    <div class="control">
      <div class="control-head">
        <label>
          <input
            type="checkbox"
            role="switch"
            class="switch"
            data-testid={testId}
            checked={isOn}
            aria-checked={isOn}
            onChange={(event) => onChange(event.currentTarget.checked)}
          />
          {label}
        </label>
        <kbd>{keyName}</kbd>
      </div>
      {children}
    </div>
  )
}
