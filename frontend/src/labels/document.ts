/** The labels of one image: events in, what holds out. Pure; the same fold as the server's, by the same golden file. */

import type { ClassOrVoid, FixedPoint, Id, LabelEvent, Pixel, StoredEvent } from '../api/types'
import { strokePixels } from '../canvas/raster'
import { VOID } from './events'

export const MAP_VOID = 254
export const MAP_UNLABELLED = 255

/** An event and who said it. A list of entries is in the server's order, unsent ones at its end. */
export interface Entry {
  event: LabelEvent
  annotatorId: string
}

export interface Eraser {
  points: FixedPoint[]
  /** In sixteenths of a pixel. */
  radius: number
}

export type LabelOnPixels = Extract<LabelEvent, { kind: 'click' | 'stroke' | 'mask' }>

/** A label that holds, and what was erased of it. */
export interface HeldLabel {
  event: LabelOnPixels
  annotatorId: string
  erasers: Eraser[]
}

interface Size {
  width: number
  height: number
}

/** The entries of an image: the server's log, then what waits in the outbox. Each event once; other pixels' left out. */
export function entriesOf(
  stored: readonly StoredEvent[],
  pending: readonly LabelEvent[],
  annotatorId: string,
  imageSha256: string,
): Entry[] {
  const entries: Entry[] = stored.map((row) => ({ event: row.event, annotatorId: row.annotator_id }))
  const known = new Set(stored.map((row) => row.event.event_id))
  for (const event of pending) if (!known.has(event.event_id)) entries.push({ event, annotatorId })
  return entries.filter((entry) => entry.event.image_sha256 === imageSha256)
}

/** Ids of the events that hold. An event holds unless a later undo that holds names it. */
function holding(entries: readonly Entry[]): Set<Id> {
  const held = new Set<Id>()
  const takenBack = new Set<Id>()
  for (const { event } of entries.toReversed()) {
    if (takenBack.has(event.event_id)) continue
    held.add(event.event_id)
    if (event.kind === 'undo') for (const target of event.targets) takenBack.add(target)
  }
  return held
}

/** The labels that hold, oldest first. */
export function foldEntries(entries: readonly Entry[]): HeldLabel[] {
  const held = holding(entries)
  const erasers = new Map<Id, Eraser[]>()
  for (const { event } of entries) {
    if (event.kind !== 'erase' || !held.has(event.event_id)) continue
    for (const target of event.targets) {
      const list = erasers.get(target) ?? []
      list.push({ points: event.points, radius: event.radius })
      erasers.set(target, list)
    }
  }
  const labels: HeldLabel[] = []
  for (const { event, annotatorId } of entries) {
    if (event.kind === 'undo' || event.kind === 'erase' || !held.has(event.event_id)) continue
    labels.push({ event, annotatorId, erasers: erasers.get(event.event_id) ?? [] })
  }
  return labels
}

/** What undo would take back: this annotator's newest label or erasure that holds. */
export function undoTarget(entries: readonly Entry[], annotatorId: string): Id | null {
  const held = holding(entries)
  const newest = entries.findLast(
    (entry) => entry.annotatorId === annotatorId && entry.event.kind !== 'undo' && held.has(entry.event.event_id),
  )
  return newest?.event.event_id ?? null
}

/** What redo would take back: this annotator's newest undo of a label that holds, unless a label was made since. */
export function redoTarget(entries: readonly Entry[], annotatorId: string): Id | null {
  const held = holding(entries)
  const kinds = new Map(entries.map((entry) => [entry.event.event_id, entry.event.kind]))
  for (const { event, annotatorId: author } of entries.toReversed()) {
    if (author !== annotatorId) continue
    if (event.kind !== 'undo') return null
    const takesBackLabels = event.targets.every((target) => kinds.get(target) !== 'undo')
    if (takesBackLabels && held.has(event.event_id)) return event.event_id
  }
  return null
}

/** The pixels of a label that are not erased, as y * width + x -> class or void. */
export function pixelsOf(label: HeldLabel, size: Size): Map<number, ClassOrVoid> {
  const pixels = new Map<number, ClassOrVoid>()
  const { event } = label
  if (event.kind === 'click') {
    const { x, y } = event.pixel
    if (x < size.width && y < size.height) pixels.set(y * size.width + x, event.class_uid)
  } else if (event.kind === 'stroke') {
    for (const index of strokePixels(event.points, event.radius, size.width, size.height)) {
      pixels.set(index, event.class_uid)
    }
  } else {
    for (const { class_uid, spans } of event.classes) {
      for (let at = 0; at + 2 < spans.length; at += 3) {
        const start = (spans[at] ?? 0) * size.width + (spans[at + 1] ?? 0)
        for (let step = 0; step < (spans[at + 2] ?? 0); step += 1) pixels.set(start + step, class_uid)
      }
    }
  }
  for (const eraser of label.erasers) {
    if (pixels.size === 0) break
    for (const index of strokePixels(eraser.points, eraser.radius, size.width, size.height)) pixels.delete(index)
  }
  return pixels
}

/** What is said about every labelled pixel: later wins for one annotator, two who differ make void.
 *
 * @param speaks whether a class still says something; a retired one covers its annotator's earlier labels and is silent.
 */
export function saidPixels(
  labels: readonly HeldLabel[],
  size: Size,
  speaks: (classUid: Id) => boolean,
): Map<number, ClassOrVoid> {
  const byAnnotator = new Map<string, Map<number, ClassOrVoid>>()
  for (const label of labels) {
    const said = byAnnotator.get(label.annotatorId) ?? new Map<number, ClassOrVoid>()
    for (const [index, classUid] of pixelsOf(label, size)) said.set(index, classUid)
    byAnnotator.set(label.annotatorId, said)
  }
  const all = new Map<number, ClassOrVoid>()
  for (const said of byAnnotator.values()) {
    for (const [index, classUid] of said) {
      if (classUid !== VOID && !speaks(classUid)) continue
      const other = all.get(index)
      all.set(index, other !== undefined && other !== classUid ? VOID : classUid)
    }
  }
  return all
}

/** The image's label map, row by row.
 *
 * @param classIndex class_uid -> 0..249; a class that is not in it leaves its pixels unlabelled.
 */
export function labelMap(labels: readonly HeldLabel[], size: Size, classIndex: ReadonlyMap<Id, number>): Uint8Array {
  const map = new Uint8Array(size.width * size.height).fill(MAP_UNLABELLED)
  for (const [index, classUid] of saidPixels(labels, size, (classUid) => classIndex.has(classUid))) {
    map[index] = classUid === VOID ? MAP_VOID : (classIndex.get(classUid) ?? MAP_UNLABELLED)
  }
  return map
}

/** The labels that an eraser stroke would touch. Only these become targets: a label not seen here stays whole. */
export function eraseTargets(labels: readonly HeldLabel[], eraser: Eraser, size: Size): Id[] {
  const under = new Set(strokePixels(eraser.points, eraser.radius, size.width, size.height))
  const touched: Id[] = []
  for (const label of labels) {
    if (!mayTouch(label, eraser)) continue
    for (const index of pixelsOf(label, size).keys()) {
      if (under.has(index)) {
        touched.push(label.event.event_id)
        break
      }
    }
  }
  return touched
}

/** Labels per class that still have a pixel. */
export function countByClass(labels: readonly HeldLabel[], size: Size): Map<ClassOrVoid, number> {
  const counts = new Map<ClassOrVoid, number>()
  for (const label of labels) {
    if (label.erasers.length > 0 && pixelsOf(label, size).size === 0) continue
    const classes =
      label.event.kind === 'mask' ? label.event.classes.map((part) => part.class_uid) : [label.event.class_uid]
    for (const classUid of classes) counts.set(classUid, (counts.get(classUid) ?? 0) + 1)
  }
  return counts
}

/** The pixel's index in a row-by-row plane. */
export function indexOf(pixel: Pixel, size: Size): number {
  return pixel.y * size.width + pixel.x
}

/** Cheap refusal by bounding boxes, so that erasing over thousands of clicks stays quick. */
function mayTouch(label: HeldLabel, eraser: Eraser): boolean {
  if (label.event.kind === 'mask') return true
  const reach = eraser.radius + (label.event.kind === 'stroke' ? label.event.radius : 0) + 16
  const points =
    label.event.kind === 'click'
      ? [{ x: label.event.pixel.x * 16 + 8, y: label.event.pixel.y * 16 + 8 }]
      : label.event.points
  const a = boundsOf(points)
  const b = boundsOf(eraser.points)
  return (
    a.left <= b.right + reach && b.left <= a.right + reach && a.top <= b.bottom + reach && b.top <= a.bottom + reach
  )
}

function boundsOf(points: readonly FixedPoint[]) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity]
  for (const { x, y } of points) {
    left = Math.min(left, x)
    right = Math.max(right, x)
    top = Math.min(top, y)
    bottom = Math.max(bottom, y)
  }
  return { left, top, right, bottom }
}
