import { useSignal, useSignalEffect } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import type { ClassOrVoid } from '../api/types'
import { Editor, type LabelShape } from '../canvas/editor'
import type { HeldLabel } from '../labels/document'
import { VOID } from '../labels/events'
import {
  activeClass,
  chooseClass,
  click,
  erase,
  heldLabels,
  image,
  isReady,
  picture,
  saidAt,
  stroke,
} from '../state/annotation'
import { overlay } from '../state/maps'
import { preferences } from '../state/preferences'
import { classesByUid, colourOfClass } from '../state/project'
import { question } from '../state/questions'
import {
  changeOpacity,
  editor,
  giveBackTool,
  isPeeking,
  pointer,
  predictedAt,
  resizeBrush,
  scale,
  tool,
} from '../state/tools'

const QUESTION_SCALE = 10

/** Keeps shapes the same objects while their label does not change: the canvas keeps what it worked out for them. */
class ShapeKeeper {
  private kept = new Map<string, { key: string; shapes: LabelShape[] }>()

  shapesOf(labels: readonly HeldLabel[]): LabelShape[] {
    const next = new Map<string, { key: string; shapes: LabelShape[] }>()
    for (const label of labels) {
      const id = label.event.event_id
      const key = `${label.erasers.length} ${classUidsOf(label).map(colourOfClass).join(' ')}`
      const known = this.kept.get(id)
      next.set(id, known?.key === key ? known : { key, shapes: makeShapes(label) })
    }
    this.kept = next
    return [...next.values()].flatMap((one) => one.shapes)
  }
}

function classUidsOf({ event }: HeldLabel): ClassOrVoid[] {
  return event.kind === 'mask' ? event.classes.map((part) => part.class_uid) : [event.class_uid]
}

const shapeColour = (classUid: ClassOrVoid) => (classUid === VOID ? null : colourOfClass(classUid))

function makeShapes({ event, erasers }: HeldLabel): LabelShape[] {
  const id = event.event_id
  if (event.kind === 'click') {
    return [{ kind: 'click', id, colour: shapeColour(event.class_uid), pixel: event.pixel, erasers }]
  }
  if (event.kind === 'stroke') {
    const { points, radius } = event
    return [{ kind: 'stroke', id, colour: shapeColour(event.class_uid), points, radius, erasers }]
  }
  return event.classes.map((part) => ({
    kind: 'spans',
    id: `${id} ${part.class_uid}`,
    colour: shapeColour(part.class_uid),
    spans: part.spans,
    erasers,
  }))
}

/** The canvas, fed from the state. `onClick` decides what a click means: a label, or the answer to a question. */
export function Stage() {
  const element = useRef<HTMLDivElement>(null)
  const keeper = useRef(new ShapeKeeper())
  /** How many pictures were put on the stage. */
  const pictures = useSignal(0)

  useEffect(() => {
    if (element.current === null) return
    const mounted = new Editor(element.current, {
      gesture: (gesture) => {
        if (gesture.kind === 'stroke') stroke(gesture.points, gesture.radius)
        else if (gesture.kind === 'erase') erase(gesture.points, gesture.radius)
        else if (gesture.kind === 'click') {
          if (activeClass.peek() !== null) click(gesture.pixel, activeClass.peek() as ClassOrVoid)
        } else {
          const picked = saidAt(gesture.pixel) ?? predictedAt(gesture.pixel)?.classUid ?? null
          if (picked !== null) chooseClass(picked)
          giveBackTool()
        }
      },
      viewportChanged: (viewport) => {
        scale.value = viewport.scale
      },
      pointerMoved: (pixel) => {
        pointer.value = pixel
      },
      brushSizeWanted: resizeBrush,
      opacityWanted: changeOpacity,
    })
    editor.value = mounted
    return () => {
      editor.value = null
      pointer.value = null
      mounted.destroy()
    }
  }, [])

  useSignalEffect(() => {
    const bitmap = picture.value
    const open = image.value
    if (open === null || bitmap === null) editor.value?.setImage(null, 0, 0)
    else editor.value?.setImage(bitmap, open.width, open.height)
    pictures.value = pictures.peek() + 1
  })
  // Effects run in no promised order, and a new picture drops what lay over the one before: these follow it.
  useSignalEffect(() => {
    if (pictures.value > 0 && image.value !== null) editor.value?.setLabels(keeper.current.shapesOf(heldLabels.value))
  })
  useSignalEffect(() => {
    const shown = overlay.value
    const known = classesByUid.value
    if (pictures.value === 0 || editor.value === null || image.value === null) return
    if (shown === null || shown.map.image_id !== image.value.image_id) {
      editor.value.setPrediction(null)
      editor.value.setUncertainty(null)
      return
    }
    const { map, prediction, confidence } = shown
    const size = { width: map.width, height: map.height }
    const palette = map.class_uids.map((classUid) => known.get(classUid)?.colour ?? '#808080')
    editor.value.setPrediction({ ...size, bytes: prediction, palette, mapId: map.map_id })
    editor.value.setUncertainty({ ...size, bytes: confidence })
  })
  useSignalEffect(() => {
    const { showImage, showLabels, showPrediction, showUncertainty } = preferences.value
    const { predictionOpacity, uncertaintyMode, threshold } = preferences.value
    editor.value?.setView({
      showImage,
      showLabels,
      showPrediction,
      showUncertainty,
      predictionOpacity,
      uncertaintyMode,
      threshold,
    })
  })
  useSignalEffect(() => {
    // Says to tests, as the editor's own attributes do, what is on the stage and ready for hands.
    const shown = element.current
    if (shown === null) return
    if (isReady.value && image.value !== null) shown.dataset.imageId = image.value.image_id
    else delete shown.dataset.imageId
  })
  useSignalEffect(() => editor.value?.setTool(tool.value))
  useSignalEffect(() => {
    const classUid = activeClass.value
    const colour = classUid === null || classUid === VOID ? null : colourOfClass(classUid)
    editor.value?.setBrush(preferences.value.brushRadius, colour)
  })
  useSignalEffect(() => editor.value?.peek(isPeeking.value))
  useSignalEffect(() => {
    const asked = question.value
    const mounted = editor.value
    if (pictures.value === 0 || mounted === null || image.value === null) return
    const isHere = asked !== null && asked.image_id === image.value.image_id
    mounted.showQuestion(isHere ? asked.pixel : null)
    if (isHere) mounted.centreOn(asked.pixel, Math.max(QUESTION_SCALE, mounted.viewport.scale))
  })

  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: the stage takes focus so that keys reach it after a click
    <section ref={element} class="stage" data-testid="stage" aria-label="Image; labels are drawn here" tabIndex={0} />
  )
}
