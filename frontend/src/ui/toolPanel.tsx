import type { ComponentChildren } from 'preact'
import type { ToolId } from '../canvas/editor'
import { redo, redoable, undo, undoable } from '../state/annotation'
import { prefer, preferences } from '../state/preferences'
import { MAX_RADIUS, MIN_RADIUS, takeTool, tool } from '../state/tools'
import { BrushIcon, ClickIcon, EraserIcon, RedoIcon, UndoIcon } from './icons'

/** Click, brush, eraser; undo and redo. */
export function ToolPanel() {
  const { brushRadius } = preferences.value
  const hasRadius = tool.value === 'brush' || tool.value === 'eraser'
  return (
    <section class="panel" aria-label="Tools">
      <div class="tools">
        <ToolButton id="click" name="Click" keyName="C" icon={<ClickIcon />} />
        <ToolButton id="brush" name="Brush" keyName="B" icon={<BrushIcon />} />
        <ToolButton id="eraser" name="Eraser" keyName="E" icon={<EraserIcon />} />
      </div>
      {/* Always there, so that the classes below stay where they are. */}
      <div class={hasRadius ? 'control' : 'control off'}>
        <div class="control-head">
          <label for="brush-size">Brush size</label>
          <output class="number faint">{2 * brushRadius} px</output>
        </div>
        <input
          id="brush-size"
          class="range"
          type="range"
          min={MIN_RADIUS}
          max={MAX_RADIUS / 2}
          step="0.5"
          value={brushRadius}
          disabled={!hasRadius}
          title="[ and ], or Shift and the wheel"
          onInput={(event) => prefer({ brushRadius: Number(event.currentTarget.value) })}
        />
      </div>
      <div class="row">
        <button
          type="button"
          class="button grow"
          data-testid="undo"
          title="Undo (Ctrl+Z)"
          disabled={undoable.value === null}
          onClick={undo}
        >
          <UndoIcon />
          Undo
        </button>
        <button
          type="button"
          class="button grow"
          data-testid="redo"
          title="Redo (Ctrl+Shift+Z)"
          disabled={redoable.value === null}
          onClick={redo}
        >
          <RedoIcon />
          Redo
        </button>
      </div>
    </section>
  )
}

interface ToolButtonProps {
  id: ToolId
  name: string
  keyName: string
  icon: ComponentChildren
}

function ToolButton({ id, name, keyName, icon }: ToolButtonProps) {
  return (
    <button
      type="button"
      class="tool"
      data-testid={`tool-${id}`}
      aria-pressed={tool.value === id}
      title={`${name} (${keyName})`}
      onClick={() => takeTool(id)}
    >
      {icon}
      {name}
    </button>
  )
}
