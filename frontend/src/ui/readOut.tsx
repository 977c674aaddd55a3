import { nameOfClass } from '../state/project'
import { editor, readOut, scale } from '../state/tools'
import { percent } from './format'
import { FitIcon, MinusIcon, PlusIcon } from './icons'

/** The pixel under the pointer, and the zoom. */
export function StageFoot() {
  return (
    <div class="stage-foot">
      <ReadOut />
      <div class="floating zoom">
        <button
          type="button"
          class="button icon quiet"
          aria-label="Zoom out"
          title="Zoom out (-)"
          onClick={() => editor.value?.zoom(0.8)}
        >
          <MinusIcon />
        </button>
        <span class="number faint small" data-testid="zoom">
          {Math.round(scale.value * 100)} %
        </span>
        <button
          type="button"
          class="button icon quiet"
          aria-label="Zoom in"
          title="Zoom in (+)"
          onClick={() => editor.value?.zoom(1.25)}
        >
          <PlusIcon />
        </button>
        <button
          type="button"
          class="button icon quiet"
          aria-label="Fit the image"
          title="Fit (Home)"
          onClick={() => editor.value?.fit()}
        >
          <FitIcon />
        </button>
      </div>
    </div>
  )
}

function ReadOut() {
  const under = readOut.value
  if (under === null) return <span />
  const { pixel, said, predicted } = under
  return (
    <div class="floating read-out number small" data-testid="read-out">
      <span>
        {pixel.x}, {pixel.y}
      </span>
      {said !== null && <strong>{nameOfClass(said)}</strong>}
      {predicted !== null && (
        <span class="hint">
          model: {nameOfClass(predicted.classUid)} {percent(predicted.confidence)}
        </span>
      )}
    </div>
  )
}
