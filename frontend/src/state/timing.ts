/** Marks on the browser's timeline: where a click is on its way to the overlay that answers it. */

/** From a click to the changed overlay; read by whoever measures, e.g. with a PerformanceObserver. */
export type Moment =
  | 'click'
  | 'kept' // on this machine's disk
  | 'sent'
  | 'acked'
  | 'hinted' // the server says that there is a map
  | 'fetched'
  | 'painted'

const KEPT = 4000
let marked = 0

export function mark(moment: Moment, detail: Readonly<Record<string, string | number>>): void {
  // The browser keeps marks for ever, and a day of labelling makes many.
  marked += 1
  if (marked > KEPT) {
    marked = 1
    performance.clearMarks()
  }
  performance.mark(`recolabel:${moment}`, { detail })
}
