import { effect, signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import type { ClassOrVoid } from '../api/types'
import { Editor, type Gesture, type LabelShape } from '../canvas/editor'
import { strokePieces } from '../canvas/stroke'
import type { HeldLabel } from '../labels/document'
import { VOID } from '../labels/events'
import { VOID_COLOUR } from '../labels/palette'
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
import { contextScale, isAnswering, USUAL_SCALE } from '../state/answering'
import { overlay } from '../state/maps'
import { preferences } from '../state/preferences'
import { classesByUid, colourOfClass } from '../state/project'
import { isBlind, leaveUnlessAsked, question } from '../state/questions'
import { mark } from '../state/timing'
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

/** The canvas, fed from the state. */
export function Stage() {
  const element = useRef<HTMLDivElement>(null)
  useEffect(() => (element.current === null ? undefined : mount(element.current)), [])
  return (
    <section
      ref={element}
      class="stage"
      data-testid="stage"
      // In Answer mode every letter is an answer: a screen reader must let them through.
      role={isAnswering.value ? 'application' : undefined}
      aria-label={
        isAnswering.value ? 'Answer mode: digits and letters answer, Escape leaves' : 'Image; labels are drawn here'
      }
      tabIndex={0}
    />
  )
}

/** Put an editor into the element and keep it fed until the returned function is called. */
function mount(element: HTMLElement): () => void {
  const mounted = new Editor(element, {
    gesture: take,
    viewportChanged: (viewport) => {
      scale.value = viewport.scale
    },
    pointerMoved: (pixel) => {
      pointer.value = pixel
    },
    brushSizeWanted: resizeBrush,
    opacityWanted: changeOpacity,
    predictionPainted: (mapId, labelSeq) => mark('painted', { mapId, labelSeq }),
  })
  editor.value = mounted
  // Plain effects run at once; those of components wait for the next frame, and a quick hand would use the old tool.
  const stops = feeds(mounted, element).map((feed) => effect(feed))
  return () => {
    for (const stop of stops) stop()
    editor.value = null
    pointer.value = null
    mounted.destroy()
  }
}

function take(gesture: Gesture): void {
  // A hand that slips must not label: in Answer mode the pointer only moves the picture.
  if (isAnswering.peek()) return
  const classUid = activeClass.peek()
  if (gesture.kind !== 'pick') {
    leaveUnlessAsked(image.peek()?.image_id ?? null, gesture.kind === 'click' ? gesture.pixel : null)
  }
  if (gesture.kind === 'stroke') {
    for (const piece of strokePieces(gesture.points, gesture.radius)) stroke(piece, gesture.radius)
  } else if (gesture.kind === 'erase') {
    for (const piece of strokePieces(gesture.points, gesture.radius)) erase(piece, gesture.radius)
  } else if (gesture.kind === 'pick') {
    const picked = saidAt(gesture.pixel) ?? predictedAt(gesture.pixel)?.classUid ?? null
    if (picked !== null) chooseClass(picked)
    giveBackTool()
  } else if (classUid !== null) click(gesture.pixel, classUid)
}

/** One effect for each thing that the editor shows. */
function feeds(mounted: Editor, element: HTMLElement): (() => void)[] {
  const keeper = new ShapeKeeper()
  // Effects run in no promised order, and a new picture drops what lay over the one before: the others follow it.
  const pictures = signal(0)
  return [
    () => {
      const bitmap = picture.value
      const open = image.value
      if (open === null || bitmap === null) mounted.setImage(null, 0, 0)
      else mounted.setImage(bitmap, open.width, open.height)
      pictures.value = pictures.peek() + 1
    },
    () => {
      if (pictures.value > 0 && image.value !== null) mounted.setLabels(keeper.shapesOf(heldLabels.value))
    },
    () => {
      const shown = overlay.value
      const known = classesByUid.value
      if (pictures.value === 0 || image.value === null) return
      if (shown === null || shown.map.image_id !== image.value.image_id) {
        mounted.setPrediction(null)
        mounted.setUncertainty(null)
        return
      }
      const { map, prediction, confidence } = shown
      const size = { width: map.width, height: map.height }
      const palette = map.class_uids.map((classUid) => known.get(classUid)?.colour ?? VOID_COLOUR)
      mounted.setPrediction({ ...size, bytes: prediction, palette, mapId: map.map_id, labelSeq: map.label_seq })
      mounted.setUncertainty({ ...size, bytes: confidence })
    },
    () => {
      const { showImage, showLabels, showPrediction, showUncertainty } = preferences.value
      const { predictionOpacity, uncertaintyMode, threshold } = preferences.value
      mounted.setView({
        showImage,
        showLabels,
        showPrediction: showPrediction && !isBlind.value,
        showUncertainty: showUncertainty && !isBlind.value,
        predictionOpacity,
        uncertaintyMode,
        threshold,
      })
    },
    () => mounted.setTool(isAnswering.value ? 'pan' : tool.value),
    () => {
      const classUid = activeClass.value
      mounted.setBrush(preferences.value.brushRadius, classUid === null ? null : shapeColour(classUid))
    },
    () => mounted.peek(isPeeking.value),
    () => {
      const asked = question.value
      if (pictures.value === 0 || image.value === null) return
      const isHere = asked !== null && asked.image_id === image.value.image_id
      mounted.showQuestion(isHere ? asked.pixel : null)
      if (isHere) {
        const scale = isAnswering.value ? contextScale.value : Math.max(USUAL_SCALE, mounted.viewport.scale)
        mounted.centreOn(asked.pixel, scale)
        element.dataset.questionId = asked.question_id
      } else delete element.dataset.questionId
    },
    () => {
      // Says to tests, as the editor's own attributes do, what is on the stage and ready for hands.
      if (isReady.value && image.value !== null) element.dataset.imageId = image.value.image_id
      else delete element.dataset.imageId
    },
  ]
}
