/** Files on their way into a project, and the verdict on each. One bad file never stops the others. */

import { computed, signal } from '@preact/signals'
import { images as imageApi } from '../api/client'
import { ServerAway, sentenceOf } from '../api/problems'
import type { Id } from '../api/types'

export type UploadVerdict = 'waiting' | 'sending' | 'stored' | 'duplicate' | 'refused'

export interface Upload {
  id: number
  name: string
  verdict: UploadVerdict
  reason: string | null
}

export const uploads = signal<readonly Upload[]>([])
export const uploadCounts = computed(() => {
  const counts: Record<UploadVerdict, number> = { waiting: 0, sending: 0, stored: 0, duplicate: 0, refused: 0 }
  for (const upload of uploads.value) counts[upload.verdict] += 1
  return counts
})
export const isUploading = computed(() => uploadCounts.value.waiting + uploadCounts.value.sending > 0)

/** One after the other, so that images stand in the project in the order of their names. */
const AT_ONCE = 1
const TRIES_WHEN_AWAY = 5
let nextId = 1
let waiting: { upload: Upload; file: File; projectId: Id }[] = []
let running = 0
let onStored: () => void = () => undefined

/** Send files; `stored` is called whenever one became an image of the project. */
export function uploadFiles(projectId: Id, files: readonly File[], stored: () => void): void {
  onStored = stored
  const fresh = files.map((file) => {
    const upload: Upload = { id: nextId, name: file.name, verdict: 'waiting', reason: null }
    nextId += 1
    return { upload, file, projectId }
  })
  waiting.push(...fresh)
  uploads.value = [...uploads.value, ...fresh.map((one) => one.upload)]
  pump()
}

export function clearUploads(): void {
  uploads.value = uploads.value.filter((upload) => upload.verdict === 'waiting' || upload.verdict === 'sending')
}

export function stopUploads(): void {
  waiting = []
  uploads.value = uploads.value.filter((upload) => upload.verdict !== 'waiting')
}

function pump(): void {
  while (running < AT_ONCE) {
    const next = waiting.shift()
    if (next === undefined) return
    running += 1
    void send(next.projectId, next.upload, next.file).finally(() => {
      running -= 1
      pump()
    })
  }
}

async function send(projectId: Id, upload: Upload, file: File): Promise<void> {
  mark(upload.id, 'sending', null)
  for (let attempt = 1; ; attempt += 1) {
    try {
      const result = await imageApi.upload(projectId, file.name, file)
      mark(upload.id, result.verdict, result.verdict === 'duplicate' ? `the same image as ${result.image.name}` : null)
      if (result.verdict === 'stored') onStored()
      return
    } catch (error) {
      if (error instanceof ServerAway && attempt < TRIES_WHEN_AWAY) {
        await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** attempt))
        continue
      }
      const reason =
        error instanceof ServerAway ? 'The server does not answer. Drop the file again later.' : sentenceOf(error)
      mark(upload.id, 'refused', reason)
      return
    }
  }
}

function mark(id: number, verdict: UploadVerdict, reason: string | null): void {
  uploads.value = uploads.value.map((upload) => (upload.id === id ? { ...upload, verdict, reason } : upload))
}

/** All files of a drop, folders opened. Hidden files are left out: systems put them there, not people. */
export async function filesOfDrop(transfer: DataTransfer): Promise<File[]> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null)
  if (entries.length === 0) return [...transfer.files].filter(isVisible)
  const files: File[] = []
  for (const entry of entries) await collect(entry, files)
  return files.filter(isVisible).sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }))
}

export const isVisible = (file: File) => !file.name.startsWith('.') && file.name !== 'Thumbs.db'

async function collect(entry: FileSystemEntry, files: File[]): Promise<void> {
  if (entry.isFile) {
    files.push(await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)))
    return
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  for (;;) {
    // readEntries gives a hundred at a time and an empty list at the end.
    const batch = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (batch.length === 0) return
    for (const child of batch) await collect(child, files)
  }
}
