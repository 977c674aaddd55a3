/** Numbers and times as people read them. */

export function percent(share: number, digits = 0): string {
  return `${(100 * share).toFixed(digits)} %`
}

/** "40 s", "3 min", "1 h 05 min". */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.round(whole / 60)} min`
  const minutes = Math.round((whole % 3600) / 60)
  return `${Math.floor(whole / 3600)} h ${String(minutes).padStart(2, '0')} min`
}

export function fileSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(0)} kB`
  return `${(bytes / 1024 ** 2).toFixed(1)} MB`
}

export function dateTime(iso: string): string {
  return new Date(iso).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' })
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`
}
