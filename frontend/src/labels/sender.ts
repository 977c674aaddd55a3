/** Brings the outbox to the server: batches, patience, no limit to retries, one tab at a time. */

import { Problem } from '../api/problems'
import type { Ack, Id, LabelAcks, LabelEvent } from '../api/types'
import type { Outbox } from './outbox'

export const MAX_BATCH = 256
const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 30_000

export type SendingState =
  | 'resting' // nothing to send
  | 'sending'
  | 'waiting' // the server is away; another try follows by itself
  | 'locked out' // the server wants a login; everything is kept

/** What the sender needs from the world; given, so that tests own the clock and the dice. */
export interface SenderWorld {
  post(projectId: Id, events: LabelEvent[]): Promise<LabelAcks>
  /** Resolves after `millis`, or at once when `signal` aborts. */
  wait(millis: number, signal: AbortSignal): Promise<void>
  random(): number
  /** Runs `work` while no other tab does; rejects nothing, returns when `work` has ended. */
  alone(name: string, signal: AbortSignal, work: () => Promise<void>): Promise<void>
}

export interface SenderReports {
  state(state: SendingState): void
  /** Events left the outbox: stored, duplicate or refused. */
  acknowledged(events: readonly LabelEvent[], acks: LabelAcks): void
}

/** Wait before try number `failures` + 1: doubling from half a second to half a minute, spread by half. */
export function waitAfter(failures: number, random: number): number {
  const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.max(0, failures - 1))
  return longest * (0.5 + random / 2)
}

export class Sender {
  private readonly stopping = new AbortController()
  private rousing = new AbortController()
  private hasNews = true

  constructor(
    private readonly projectId: Id,
    private readonly outbox: Outbox,
    private readonly world: SenderWorld,
    private readonly reports: SenderReports,
  ) {}

  /** Send until `stop`. Resolves when stopped. */
  run(): Promise<void> {
    return this.world.alone(`recolabel-sender-${this.projectId}`, this.stopping.signal, async () => {
      let failures = 0
      while (!this.stopping.signal.aborted) {
        failures = await this.sendOnce(failures)
      }
    })
  }

  /** Something was put into the outbox, or the network is back: look now instead of later. */
  wake(): void {
    this.hasNews = true
    this.rousing.abort()
  }

  stop(): void {
    this.stopping.abort()
    this.rousing.abort()
  }

  /** One look into the outbox and at most one batch; returns the failures in a row so far. */
  private async sendOnce(failures: number): Promise<number> {
    this.hasNews = false
    const events = await this.outbox.pending(this.projectId, MAX_BATCH)
    if (events.length === 0) {
      this.reports.state('resting')
      await this.rest(LONGEST_WAIT_MS)
      return 0
    }
    if (failures === 0) this.reports.state('sending')
    try {
      await this.deliver(events)
      return 0
    } catch (error) {
      const isLockedOut = error instanceof Problem && error.status === 401
      this.reports.state(isLockedOut ? 'locked out' : 'waiting')
      this.hasNews = false
      await this.rest(waitAfter(failures + 1, this.world.random()))
      return failures + 1
    }
  }

  private async deliver(events: LabelEvent[]): Promise<void> {
    let answer: LabelAcks
    try {
      answer = await this.world.post(this.projectId, events)
    } catch (error) {
      if (!isFinal(error)) throw error
      if (events.length > 1) {
        // One event makes the whole batch unreadable to the server: find it, so that it blocks no other.
        const middle = Math.ceil(events.length / 2)
        await this.deliver(events.slice(0, middle))
        await this.deliver(events.slice(middle))
        return
      }
      answer = { acks: events.map((event) => refusal(event, error)), label_seq: 0 }
    }
    await this.outbox.acknowledge(this.projectId, answer.acks)
    this.reports.acknowledged(events, answer)
  }

  private async rest(millis: number): Promise<void> {
    if (this.hasNews || this.stopping.signal.aborted) return
    this.rousing = new AbortController()
    await this.world.wait(millis, this.rousing.signal)
  }
}

/** Sending the same bytes again cannot help: they are unreadable, too many, or their project is gone. */
function isFinal(error: unknown): error is Problem {
  if (!(error instanceof Problem)) return false
  return error.status === 422 || error.status === 413 || error.status === 400 || error.code === 'project_not_found'
}

function refusal(event: LabelEvent, problem: Problem): Ack {
  const code = problem.code === '' ? 'refused' : problem.code
  return { event_id: event.event_id, fate: 'refused', seq: null, code, reason: problem.message }
}

/** The browser's clock, dice and locks. */
export function browserWorld(post: SenderWorld['post']): SenderWorld {
  return {
    post,
    random: Math.random,
    wait: (millis, signal) =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, millis)
        signal.addEventListener('abort', () => {
          clearTimeout(timer)
          resolve()
        })
      }),
    alone: async (name, signal, work) => {
      // Web Locks exist on secure origins only (loopback counts); without them ids still keep doubles out.
      if (!('locks' in navigator)) return work()
      try {
        await navigator.locks.request(name, { signal }, work)
      } catch (error) {
        if (!signal.aborted) throw error
      }
    },
  }
}
