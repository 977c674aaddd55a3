/** Labels on their way: the outbox of this browser, the sender of this tab, and how many are still here. */

import { computed, signal } from '@preact/signals'
import { labels } from '../api/client'
import type { Ack, Id, LabelAcks, LabelEvent } from '../api/types'
import { EventMaker, newId, type OpenedImage, type Statement } from '../labels/events'
import { type Outbox, openOutbox, type RefusedEvent } from '../labels/outbox'
import { browserWorld, Sender, type SendingState } from '../labels/sender'
import { needsLogin } from './login'
import { report } from './notices'
import { mark } from './timing'

/** Names this browser tab in every event and in the echo of its own updates. */
export const clientId: Id = newId()

export const unsentCount = signal(0)
export const refusedEvents = signal<readonly RefusedEvent[]>([])
export const sendingState = signal<SendingState>('resting')
/** False when this browser keeps nothing: a closed tab then loses what is unsent. */
export const isDurable = signal(true)
export const isWaiting = computed(() => sendingState.value === 'waiting')

interface Line {
  projectId: Id
  outbox: Outbox
  sender: Sender
  maker: EventMaker
}

/** Told when events of this project were judged. `acks` is null when another tab sent them. */
export type JudgedListener = (events: readonly LabelEvent[], acks: readonly Ack[] | null) => void

const maker = new EventMaker(clientId)
const opening: Promise<Outbox> = openOutbox()
const channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('recolabel-outbox')
let line: Line | null = null
const judgedListeners = new Set<JudgedListener>()
const world = browserWorld((id, events) => {
  for (const { event_id } of events) mark('sent', { eventId: event_id })
  return labels.append(id, events)
})

type Broadcast = { projectId: Id; what: 'put' | 'judged' }

channel?.addEventListener('message', (message) => {
  const { projectId, what } = message.data as Broadcast
  if (line === null || line.projectId !== projectId) return
  if (what === 'put') line.sender.wake()
  else for (const listener of judgedListeners) listener([], null)
  void recount()
})

window.addEventListener('online', sendNow)
// With nothing on disk, closing the tab would lose labels: the browser then asks first.
window.addEventListener('beforeunload', (event) => {
  if (!isDurable.peek() && unsentCount.peek() > 0) event.preventDefault()
})

/** Sends what earlier visits left unsent in a project that is not open here. */
const leftBehind = new Map<Id, Sender>()

/** Send what earlier visits left unsent, whichever project it belongs to. */
export async function sendLeftBehind(): Promise<void> {
  const outbox = await opening
  for (const projectId of await outbox.projects()) {
    if (line?.projectId === projectId || leftBehind.has(projectId)) continue
    const sender = new Sender(projectId, outbox, world, {
      state: (state) => {
        if (state === 'resting') sender.stop()
        if (state === 'locked out') needsLogin.value = true
      },
      acknowledged: () => tellOtherTabs(projectId, 'judged'),
    })
    leftBehind.set(projectId, sender)
    void sender
      .run()
      .catch(report)
      .finally(() => leftBehind.delete(projectId))
  }
}

/** Begin to send a project's events; what an earlier visit left unsent goes first. Returns how to stop. */
export function startSync(projectId: Id): () => void {
  let isStopped = false
  let own: Sender | null = null
  void opening.then(async (outbox) => {
    if (isStopped) return
    isDurable.value = outbox.durable
    // Only one may hold the project's lock, and the one here also tells how it goes.
    leftBehind.get(projectId)?.stop()
    own = new Sender(projectId, outbox, world, { state: setState, acknowledged: settle })
    line = { projectId, outbox, sender: own, maker }
    await recount()
    for (const settleLine of awaitingLine.splice(0)) settleLine()
    own.run().catch(report)
  }, report)
  return () => {
    isStopped = true
    own?.stop()
    if (line?.projectId === projectId) line = null
  }
}

const awaitingLine: (() => void)[] = []

async function openLine(): Promise<Line> {
  while (line === null) await new Promise<void>((resolve) => awaitingLine.push(resolve))
  return line
}

export function whenJudged(listener: JudgedListener): () => void {
  judgedListeners.add(listener)
  return () => judgedListeners.delete(listener)
}

/** Make the event; it is shown at once by the caller, and `keep` brings it to disk and on its way. */
export function makeEvent(statement: Statement, image: OpenedImage): LabelEvent {
  return maker.make(statement, image)
}

/** Resolves when the event is in the outbox. */
export async function keep(event: LabelEvent): Promise<void> {
  unsentCount.value += 1
  const { projectId, outbox, sender } = await openLine()
  await outbox.put(projectId, event)
  mark('kept', { eventId: event.event_id })
  isDurable.value = outbox.durable
  sender.wake()
  tellOtherTabs(projectId, 'put')
}

/** Unsent events of one image, oldest first. */
export async function pendingOf(imageId: Id): Promise<LabelEvent[]> {
  const { projectId, outbox } = await openLine()
  return (await outbox.pending(projectId)).filter((event) => event.image_id === imageId)
}

export async function retryRefused(): Promise<void> {
  const { projectId, outbox, sender } = await openLine()
  await outbox.retry(projectId)
  await recount()
  sender.wake()
}

export async function discardRefused(): Promise<void> {
  const { projectId, outbox } = await openLine()
  await outbox.discardRefused(projectId)
  await recount()
}

/** Try again now: the server is back, or the person logged in. */
export function sendNow(): void {
  line?.sender.wake()
  for (const sender of leftBehind.values()) sender.wake()
}

function setState(state: SendingState): void {
  sendingState.value = state
  if (state === 'locked out') needsLogin.value = true
}

function settle(events: readonly LabelEvent[], answer: LabelAcks): void {
  if (answer.label_seq > 0) newestSeq.value = Math.max(newestSeq.value, answer.label_seq)
  for (const ack of answer.acks) if (ack.seq != null) mark('acked', { eventId: ack.event_id, seq: ack.seq })
  for (const listener of judgedListeners) listener(events, answer.acks)
  if (line !== null) tellOtherTabs(line.projectId, 'judged')
  void recount()
}

/** The newest log position of the project that this tab has heard of. */
export const newestSeq = signal(0)

async function recount(): Promise<void> {
  if (line === null) return
  const { projectId, outbox } = line
  unsentCount.value = (await outbox.pending(projectId)).length
  refusedEvents.value = await outbox.refused(projectId)
}

function tellOtherTabs(projectId: Id, what: Broadcast['what']): void {
  channel?.postMessage({ projectId, what } satisfies Broadcast)
}
