/** Label events on their way to the server. In when drawn, out when acknowledged; nothing else removes one.
 *
 * A project's id is unique to the database it lives in, so a fresh database behind the same address never
 * swallows old events: they stay under the id of the project they were made for.
 */

import type { Ack, Id, LabelEvent } from '../api/types'

/** An event that the server will not take as it is. It is kept until a person lets it go. */
export interface RefusedEvent {
  event: LabelEvent
  code: string
  reason: string
}

export interface Outbox {
  /** False when this browser gives us no lasting storage: a closed tab then loses what is unsent. */
  readonly durable: boolean
  /** Resolves when the event is on this machine's disk. Putting it twice keeps it once. */
  put(projectId: Id, event: LabelEvent): Promise<void>
  /** Projects that have unsent events. */
  projects(): Promise<Id[]>
  /** The oldest unsent events of a project, in the order in which they were put. */
  pending(projectId: Id, limit?: number): Promise<LabelEvent[]>
  /** Take the server's word: stored and duplicate events leave, refused ones move aside. */
  acknowledge(projectId: Id, acks: readonly Ack[]): Promise<void>
  refused(projectId: Id): Promise<RefusedEvent[]>
  /** Send refused events again; they go to the end of the line. */
  retry(projectId: Id): Promise<void>
  /** A person has let the refused events go. */
  discardRefused(projectId: Id): Promise<void>
}

const DATABASE = 'recolabel-outbox'
const VERSION = 1
const PENDING = 'pending'
const REFUSED = 'refused'

interface PendingRow {
  order?: number
  event_id: Id
  project_id: Id
  event: LabelEvent
}

interface RefusedRow extends RefusedEvent {
  event_id: Id
  project_id: Id
}

const NO_REASON = 'The server gave no reason.'

/** The outbox on disk; in memory where the browser allows no storage (a private window). */
export async function openOutbox(factory: IDBFactory | undefined = globalThis.indexedDB): Promise<Outbox> {
  try {
    if (factory === undefined) return new MemoryOutbox()
    const request = factory.open(DATABASE, VERSION)
    request.onupgradeneeded = () => {
      const pending = request.result.createObjectStore(PENDING, { keyPath: 'order', autoIncrement: true })
      pending.createIndex('event_id', 'event_id', { unique: true })
      pending.createIndex('project_id', 'project_id')
      const refused = request.result.createObjectStore(REFUSED, { keyPath: 'event_id' })
      refused.createIndex('project_id', 'project_id')
    }
    const database = await answerOf(request)
    // Another tab with a newer version of this page must not wait for us.
    database.onversionchange = () => database.close()
    return new SparedOutbox(new DiskOutbox(database), new MemoryOutbox())
  } catch {
    return new MemoryOutbox()
  }
}

/** The disk, and memory for what the disk does not take: it is full, or the database was closed under us. */
export class SparedOutbox implements Outbox {
  private isSpareUsed = false

  constructor(
    private readonly disk: Outbox,
    private readonly spare: Outbox,
  ) {}

  get durable(): boolean {
    return !this.isSpareUsed
  }

  async put(projectId: Id, event: LabelEvent): Promise<void> {
    try {
      await this.disk.put(projectId, event)
    } catch {
      this.isSpareUsed = true
      await this.spare.put(projectId, event)
    }
  }

  async projects(): Promise<Id[]> {
    return [...new Set([...(await this.disk.projects()), ...(await this.spare.projects())])]
  }

  async pending(projectId: Id, limit?: number): Promise<LabelEvent[]> {
    if (!this.isSpareUsed) return this.disk.pending(projectId, limit)
    const onDisk = await this.disk.pending(projectId, limit).catch(() => [])
    return [...onDisk, ...(await this.spare.pending(projectId))].slice(0, limit)
  }

  async acknowledge(projectId: Id, acks: readonly Ack[]): Promise<void> {
    if (this.isSpareUsed) {
      await this.spare.acknowledge(projectId, acks)
      return this.disk.acknowledge(projectId, acks).catch(() => undefined)
    }
    return this.disk.acknowledge(projectId, acks)
  }

  async refused(projectId: Id): Promise<RefusedEvent[]> {
    if (!this.isSpareUsed) return this.disk.refused(projectId)
    return [...(await this.disk.refused(projectId).catch(() => [])), ...(await this.spare.refused(projectId))]
  }

  async retry(projectId: Id): Promise<void> {
    await this.spare.retry(projectId)
    await this.disk.retry(projectId)
  }

  async discardRefused(projectId: Id): Promise<void> {
    await this.spare.discardRefused(projectId)
    await this.disk.discardRefused(projectId)
  }
}

class DiskOutbox implements Outbox {
  readonly durable = true
  /** Events that this tab has put here: ids are made by one tab, so nobody else can put them twice. */
  private readonly known = new Set<Id>()

  constructor(private readonly database: IDBDatabase) {}

  async put(projectId: Id, event: LabelEvent): Promise<void> {
    if (this.known.has(event.event_id)) return
    const transaction = this.begin('readwrite')
    const row: PendingRow = { event_id: event.event_id, project_id: projectId, event }
    transaction.objectStore(PENDING).add(row)
    // All is said in this one step: a tab that closes in the next moment cannot leave the transaction half spoken.
    transaction.commit()
    await doneOf(transaction)
    this.known.add(event.event_id)
  }

  async projects(): Promise<Id[]> {
    const cursors = this.begin('readonly').objectStore(PENDING).index('project_id').openKeyCursor(null, 'nextunique')
    return new Promise((resolve, reject) => {
      const found: Id[] = []
      cursors.onsuccess = () => {
        if (cursors.result === null) return resolve(found)
        found.push(String(cursors.result.key))
        cursors.result.continue()
      }
      cursors.onerror = () => reject(cursors.error)
    })
  }

  async pending(projectId: Id, limit?: number): Promise<LabelEvent[]> {
    const index = this.begin('readonly').objectStore(PENDING).index('project_id')
    const rows = (await answerOf(index.getAll(projectId, limit))) as PendingRow[]
    return rows.map((row) => row.event)
  }

  async acknowledge(projectId: Id, acks: readonly Ack[]): Promise<void> {
    const transaction = this.begin('readwrite')
    const pending = transaction.objectStore(PENDING)
    const refused = transaction.objectStore(REFUSED)
    for (const ack of acks) {
      const found = pending.index('event_id').get(ack.event_id)
      found.onsuccess = () => {
        const row = found.result as PendingRow | undefined
        if (row?.order === undefined) return
        if (ack.fate === 'refused') {
          const kept: RefusedRow = { ...refusedOf(row.event, ack), event_id: row.event_id, project_id: projectId }
          refused.put(kept)
        }
        pending.delete(row.order)
      }
    }
    await doneOf(transaction)
  }

  async refused(projectId: Id): Promise<RefusedEvent[]> {
    const index = this.begin('readonly').objectStore(REFUSED).index('project_id')
    return (await answerOf(index.getAll(projectId))) as RefusedRow[]
  }

  async retry(projectId: Id): Promise<void> {
    const transaction = this.begin('readwrite')
    const refused = transaction.objectStore(REFUSED)
    const pending = transaction.objectStore(PENDING)
    const found = refused.index('project_id').getAll(projectId)
    found.onsuccess = () => {
      for (const row of found.result as RefusedRow[]) {
        const again: PendingRow = { event_id: row.event_id, project_id: projectId, event: row.event }
        pending.add(again)
        refused.delete(row.event_id)
      }
    }
    await doneOf(transaction)
  }

  async discardRefused(projectId: Id): Promise<void> {
    const transaction = this.begin('readwrite')
    const refused = transaction.objectStore(REFUSED)
    const found = refused.index('project_id').getAllKeys(projectId)
    found.onsuccess = () => {
      for (const key of found.result) refused.delete(key)
    }
    await doneOf(transaction)
  }

  private begin(mode: IDBTransactionMode): IDBTransaction {
    // "strict": the promise of `put` means on disk, not in the disk's cache.
    return this.database.transaction([PENDING, REFUSED], mode, mode === 'readwrite' ? { durability: 'strict' } : {})
  }
}

/** The same rules without a disk. */
export class MemoryOutbox implements Outbox {
  readonly durable = false
  private waiting: { projectId: Id; event: LabelEvent }[] = []
  private aside: { projectId: Id; refused: RefusedEvent }[] = []

  async put(projectId: Id, event: LabelEvent): Promise<void> {
    const isKnown = this.waiting.some((row) => row.event.event_id === event.event_id)
    if (!isKnown) this.waiting.push({ projectId, event })
  }

  async projects(): Promise<Id[]> {
    return [...new Set(this.waiting.map((row) => row.projectId))]
  }

  async pending(projectId: Id, limit?: number): Promise<LabelEvent[]> {
    const rows = this.waiting.filter((row) => row.projectId === projectId).map((row) => row.event)
    return limit === undefined ? rows : rows.slice(0, limit)
  }

  async acknowledge(projectId: Id, acks: readonly Ack[]): Promise<void> {
    const fates = new Map(acks.map((ack) => [ack.event_id, ack]))
    for (const { event } of this.waiting) {
      const ack = fates.get(event.event_id)
      if (ack?.fate === 'refused') this.aside.push({ projectId, refused: refusedOf(event, ack) })
    }
    this.waiting = this.waiting.filter((row) => !fates.has(row.event.event_id))
  }

  async refused(projectId: Id): Promise<RefusedEvent[]> {
    return this.aside.filter((row) => row.projectId === projectId).map((row) => row.refused)
  }

  async retry(projectId: Id): Promise<void> {
    for (const { event } of await this.refused(projectId)) this.waiting.push({ projectId, event })
    await this.discardRefused(projectId)
  }

  async discardRefused(projectId: Id): Promise<void> {
    this.aside = this.aside.filter((row) => row.projectId !== projectId)
  }
}

function refusedOf(event: LabelEvent, ack: Ack): RefusedEvent {
  return { event, code: ack.code ?? 'refused', reason: ack.reason ?? NO_REASON }
}

function answerOf<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

function doneOf(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve()
    transaction.onabort = () => reject(transaction.error)
    transaction.onerror = () => reject(transaction.error)
  })
}
