/** The image that is open for annotating: its labels, and everything a person can say about it. */

import { batch, computed, signal } from '@preact/signals'
import { images as imageApi, labels as labelApi } from '../api/client'
import { Problem, sentenceOf } from '../api/problems'
import type { Ack, ClassOrVoid, Id, ImageInfo, LabelEvent, Pixel, Question, StoredEvent } from '../api/types'
import {
  countByClass,
  entriesOf,
  eraseTargets,
  foldEntries,
  type HeldLabel,
  redoTarget,
  saidPixels,
  undoTarget,
} from '../labels/document'
import type { OpenedImage, Statement } from '../labels/events'
import { learnWhoIAm, me } from './login'
import { notify, report } from './notices'
import { fetchPicture, forgetPictures, holdPicture, keepPicture, readyPicture } from './pictures'
import { classes, countLabel, nameOfClass, whenHinted } from './project'
import { clientId, keep, makeEvent, pendingOf, whenJudged } from './sync'
import { mark } from './timing'

/** The image on the stage. While another one is on its way the one before stays, and can be labelled. */
export const image = signal<ImageInfo | null>(null)
/** The picture itself, decoded. */
export const picture = signal<ImageBitmap | null>(null)
export const imageProblem = signal<string | null>(null)
/** The image that was asked for last; `image` follows when its pixels and labels are here. */
const wantedId = signal<Id | null>(null)
export const isOpening = computed(
  () => wantedId.value !== (image.value?.image_id ?? null) && imageProblem.value === null,
)

const stored = signal<readonly StoredEvent[]>([])
const pending = signal<readonly LabelEvent[]>([])
const areLabelsLoaded = signal(false)
/** Picture and labels are there: undo and redo know what there is to take back. */
export const isReady = computed(() => image.value !== null && !isOpening.value && areLabelsLoaded.value)
/** Up to here the log was fetched; acknowledged events of ours may lie beyond, with others' between them. */
let fetchedSeq = 0

const annotatorId = computed(() => me.value?.user_id ?? '')
const entries = computed(() => {
  const open = image.value
  if (open === null) return []
  return entriesOf(stored.value, pending.value, annotatorId.value, open.sha256)
})

export const heldLabels = computed<readonly HeldLabel[]>(() => foldEntries(entries.value))
export const undoable = computed(() => undoTarget(entries.value, annotatorId.value))
export const redoable = computed(() => redoTarget(entries.value, annotatorId.value))
const size = computed(() => ({ width: image.value?.width ?? 0, height: image.value?.height ?? 0 }))
/** Labels of this image per class. */
export const countsHere = computed(() => countByClass(heldLabels.value, size.value))
export const labelCountHere = computed(() => [...countsHere.value.values()].reduce((sum, count) => sum + count, 0))
/** What is said about each labelled pixel, y * width + x -> class or void. */
export const said = computed(() =>
  saidPixels(heldLabels.value, size.value, (classUid) => classes.value.some((one) => one.class_uid === classUid)),
)

/** The class that the next click says. */
const chosen = signal<ClassOrVoid | null>(null)
const before = signal<ClassOrVoid | null>(null)
export const activeClass = computed<ClassOrVoid | null>(() => {
  const wanted = chosen.value
  if (wanted === 'void' || classes.value.some((one) => one.class_uid === wanted)) return wanted
  return classes.value[0]?.class_uid ?? null
})

export function chooseClass(classUid: ClassOrVoid): void {
  if (classUid === activeClass.value) return
  before.value = activeClass.value
  chosen.value = classUid
}

/** Back to the class used before this one. */
export function swapClass(): void {
  if (before.value !== null) chooseClass(before.value)
}

const STILL_OPEN_MS = 20_000

/** Open an image until the returned function is called. */
export function openImage(projectId: Id, imageId: Id): () => void {
  const aborter = new AbortController()
  const aborted = aborter.signal
  wantedId.value = imageId
  imageProblem.value = null

  void load(imageId, aborted)
  const tell = () => {
    // A hidden tab does not claim the worker's attention.
    if (document.visibilityState === 'visible') imageApi.setOpen(projectId, imageId, clientId).catch(() => undefined)
  }
  tell()
  const timer = setInterval(tell, STILL_OPEN_MS)
  document.addEventListener('visibilitychange', tell)
  const stopHints = whenHinted(
    (hint) => {
      const isOthers = hint.kind === 'labels' && hint.image_id === imageId && hint.client_id !== clientId
      if (isOthers) void fetchLabels(imageId, aborted)
      else if (hint.kind === 'images') {
        forgetPictures()
        void lookAgain(imageId, aborted)
      }
    },
    () => {
      forgetPictures()
      if (imageProblem.value === null) void fetchLabels(imageId, aborted)
      else void load(imageId, aborted)
    },
  )
  const stopJudged = whenJudged((events, acks) => {
    if (acks === null) return void fetchLabels(imageId, aborted)
    takeAcks(events, acks, imageId)
    if (acks.some((ack) => ack.code === 'image_replaced')) void lookAgain(imageId, aborted)
  })
  return () => {
    aborter.abort()
    clearInterval(timer)
    document.removeEventListener('visibilitychange', tell)
    stopHints()
    stopJudged()
  }
}

/** Take the image off the stage: the page that shows it is left. */
export function clearStage(): void {
  batch(() => {
    wantedId.value = null
    show(null, null)
  })
  forgetPictures()
}

async function load(imageId: Id, aborted: AbortSignal, how: 'ready' | 'anew' = 'ready'): Promise<void> {
  try {
    if (me.value === null) await learnWhoIAm()
    const kept = how === 'ready' ? readyPicture(imageId) : null
    const fresh = kept ?? (await fetchPicture(imageId, aborted))
    const unsent = await pendingOf(imageId)
    const isLetGo = kept !== null && readyPicture(imageId)?.bitmap !== kept.bitmap
    if (isLetGo && !aborted.aborted) return load(imageId, aborted, 'anew')
    if (aborted.aborted) return how === 'ready' ? keepPicture(fresh) : fresh.bitmap.close()
    batch(() => {
      imageProblem.value = null
      show(fresh.info, fresh.bitmap)
      fetchedSeq = fresh.lastSeq
      stored.value = mergeStored([], fresh.events)
      pending.value = settled(unsent)
      areLabelsLoaded.value = true
    })
    keepPicture(fresh)
    // What others said in the meantime was hinted at before there was a place for it.
    await fetchLabels(imageId, aborted)
  } catch (error) {
    if (aborted.aborted) return
    batch(() => {
      imageProblem.value = sentenceOf(error)
      show(null, null)
    })
    // An absent server has its banner, and the note on the stage says the rest.
    if (error instanceof Problem && error.status === 401) report(error)
  }
}

function show(info: ImageInfo | null, bitmap: ImageBitmap | null): void {
  const before = image.value
  const kept = before === null ? null : readyPicture(before.image_id)
  // Back on this image its labels stand at once, and only what came since is asked for.
  if (kept !== null && areLabelsLoaded.value) keepPicture({ ...kept, events: stored.value, lastSeq: fetchedSeq })
  holdPicture(info?.image_id ?? null)
  picture.value = bitmap
  image.value = info
  stored.value = []
  pending.value = []
  areLabelsLoaded.value = false
  fetchedSeq = 0
}

/** The image may have other pixels by now, or be gone: labels belong to pixels, so it is drawn anew. */
async function lookAgain(imageId: Id, aborted: AbortSignal): Promise<void> {
  try {
    const info = await imageApi.get(imageId)
    if (aborted.aborted || image.value?.image_id !== imageId || info.sha256 === image.value.sha256) return
    await load(imageId, aborted, 'anew')
    if (aborted.aborted || imageProblem.value !== null) return
    notify('done', 'This image was replaced by another one; its labels start anew. The old ones stay in the log.')
  } catch (error) {
    if (aborted.aborted || !(error instanceof Problem)) return
    batch(() => {
      imageProblem.value = error.message
      show(null, null)
    })
  }
}

async function fetchLabels(imageId: Id, aborted: AbortSignal): Promise<void> {
  const isHere = () => !aborted.aborted && image.value?.image_id === imageId
  if (!isHere()) return
  try {
    const unsent = await pendingOf(imageId)
    const answer = await labelApi.ofImage(imageId, fetchedSeq)
    if (!isHere()) return
    stored.value = mergeStored(stored.value, answer.events)
    fetchedSeq = Math.max(fetchedSeq, answer.last_seq)
    // What was drawn while the log was on its way stays.
    const known = new Set(unsent.map((event) => event.event_id))
    pending.value = settled([...unsent, ...pending.value.filter((event) => !known.has(event.event_id))])
  } catch (error) {
    if (!aborted.aborted) report(error)
  }
}

/** The log's part that is known here, by seq, each event once. */
export function mergeStored(known: readonly StoredEvent[], fresh: readonly StoredEvent[]): StoredEvent[] {
  const bySeq = new Map(known.map((row) => [row.seq, row]))
  for (const row of fresh) bySeq.set(row.seq, row)
  return [...bySeq.values()].sort((a, b) => a.seq - b.seq)
}

function settled(events: readonly LabelEvent[]): LabelEvent[] {
  const done = new Set(stored.value.map((row) => row.event.event_id))
  return events.filter((event) => !done.has(event.event_id))
}

function takeAcks(events: readonly LabelEvent[], acks: readonly Ack[], imageId: Id): void {
  const byId = new Map(events.map((event) => [event.event_id, event]))
  const rows: StoredEvent[] = []
  const refused = new Set<Id>()
  for (const ack of acks) {
    const event = byId.get(ack.event_id)
    if (event === undefined || event.image_id !== imageId) continue
    if (ack.fate === 'refused') {
      refused.add(ack.event_id)
      notify('error', ack.reason ?? 'The server refused a label.')
    } else if (ack.seq != null) {
      rows.push({ seq: ack.seq, annotator_id: annotatorId.value, server_time: event.client_time, event })
    }
  }
  stored.value = mergeStored(stored.value, rows)
  pending.value = settled(pending.value).filter((event) => !refused.has(event.event_id))
}

/** Show what was said at once, and bring it on its way. */
function say(statement: Statement, about: OpenedImage | null = image.value): Id | null {
  if (about === null) return null
  const event = makeEvent(statement, about)
  if (event.kind === 'click') mark('click', { eventId: event.event_id })
  if (event.kind === 'click' || event.kind === 'stroke') countLabel(event.class_uid)
  if (about.image_id === image.value?.image_id) pending.value = [...pending.value, event]
  keep(event).catch(report)
  return event.event_id
}

export function click(pixel: Pixel, classUid: ClassOrVoid): void {
  say({ kind: 'click', class_uid: classUid, pixel })
}

/** Answer a question about the image on the stage; the event's id. */
export function answer(question: Question, classUid: ClassOrVoid): Id | null {
  const { pixel, question_id, asked } = question
  return say({ kind: 'click', class_uid: classUid, pixel, question_id, asked })
}

/** Take back one event, of whichever image. */
export function takeBackEvent(eventId: Id, about: OpenedImage): void {
  say({ kind: 'undo', targets: [eventId] }, about)
}

export function stroke(points: { x: number; y: number }[], radius: number): void {
  const classUid = activeClass.value
  if (classUid !== null) say({ kind: 'stroke', class_uid: classUid, points, radius })
}

export function erase(points: { x: number; y: number }[], radius: number): void {
  const targets = eraseTargets(heldLabels.value, { points, radius }, size.value)
  if (targets.length > 0) say({ kind: 'erase', points, radius, targets })
}

export function undo(): void {
  if (undoable.value !== null) say({ kind: 'undo', targets: [undoable.value] })
}

export function redo(): void {
  if (redoable.value !== null) say({ kind: 'undo', targets: [redoable.value] })
}

/** What a person said about a pixel: a class, void, or null when nobody spoke. */
export function saidAt(pixel: { x: number; y: number }): ClassOrVoid | null {
  return said.value.get(pixel.y * size.value.width + pixel.x) ?? null
}

export function describe(classUid: ClassOrVoid | null): string {
  return classUid === null ? 'unlabelled' : nameOfClass(classUid)
}
