/** Every request the browser makes, by noun. Same origin; the cookie carries the token. */

import { problemOf, ServerAway } from './problems'
import type {
  ClassPatch,
  Evaluation,
  ExportContent,
  ExportFormat,
  Id,
  ImageInfo,
  ImageLabels,
  ImageMap,
  ImagePage,
  Job,
  LabelAcks,
  LabelClass,
  LabelEvent,
  ModelVersion,
  NewLabelClass,
  NewProject,
  NewTraining,
  Project,
  Question,
  QuestionPage,
  SettingsPatch,
  UploadResult,
  User,
  VersionMapReply,
} from './types'

const ROOT = '/api/v1'

type Query = Record<string, string | number | readonly string[] | null | undefined>

/** The address of a resource, for links and image sources. */
export function address(path: string, query: Query = {}): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined) continue
    if (typeof value === 'object') for (const one of value) search.append(name, one)
    else search.set(name, String(value))
  }
  const tail = search.toString()
  return `${ROOT}${path}${tail === '' ? '' : `?${tail}`}`
}

async function send(method: string, url: string, init: RequestInit = {}): Promise<Response> {
  let response: Response
  try {
    response = await fetch(url, { method, credentials: 'same-origin', ...init })
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw new ServerAway()
  }
  if (!response.ok) throw await problemOf(response)
  return response
}

async function ask<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
  const response = await send('GET', address(path, query), signal ? { signal } : {})
  return (await response.json()) as T
}

async function tell<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit =
    body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
  const response = await send(method, address(path), init)
  return (response.status === 204 ? undefined : await response.json()) as T
}

async function bytes(path: string, init: RequestInit): Promise<Uint8Array> {
  const response = await send('GET', address(path), init)
  return new Uint8Array(await response.arrayBuffer())
}

export const users = {
  me: () => ask<User>('/users/me'),
}

export const projects = {
  list: () => ask<Project[]>('/projects'),
  get: (id: Id) => ask<Project>(`/projects/${id}`),
  /** Labels that hold, by class_uid or "void". */
  classCounts: (id: Id) => ask<Record<Id, number>>(`/projects/${id}/class-counts`),
  create: (project: NewProject) => tell<Project>('POST', '/projects', project),
  rename: (id: Id, name: string) => tell<Project>('PATCH', `/projects/${id}`, { name }),
  configure: (id: Id, settings: SettingsPatch) => tell<Project>('PATCH', `/projects/${id}`, { settings }),
  remove: (id: Id) => tell<void>('DELETE', `/projects/${id}`),
  /** Null: work with the newest version again. */
  pin: (id: Id, version: number | null) => tell<Project>('PUT', `/projects/${id}/pinned-version`, { version }),
  addClass: (id: Id, labelClass: NewLabelClass) => tell<LabelClass>('POST', `/projects/${id}/classes`, labelClass),
  patchClass: (id: Id, classUid: Id, patch: ClassPatch) =>
    tell<LabelClass>('PATCH', `/projects/${id}/classes/${classUid}`, patch),
  exportAddress: (id: Id, format: ExportFormat, content: ExportContent) =>
    address(`/projects/${id}/export`, { format, content }),
}

export const images = {
  page: (projectId: Id, after: number | null, limit: number) =>
    ask<ImagePage>(`/projects/${projectId}/images`, { after, limit }),
  get: (id: Id) => ask<ImageInfo>(`/images/${id}`),
  remove: (id: Id) => tell<void>('DELETE', `/images/${id}`),
  upload: async (projectId: Id, name: string, body: Blob): Promise<UploadResult> => {
    const headers = { 'content-type': body.type === '' ? 'application/octet-stream' : body.type }
    const response = await send('PUT', address(`/projects/${projectId}/images`, { name }), { body, headers })
    return (await response.json()) as UploadResult
  },
  /** Say which image is open here, so that the worker looks at it first. */
  setOpen: (projectId: Id, imageId: Id, clientId: Id) =>
    tell<void>('PUT', `/projects/${projectId}/open-image`, { image_id: imageId, client_id: clientId }),
  /** The version of the pixels stands in the address, so that a replaced image is never drawn from a cache. */
  fileAddress: (image: ImageInfo) => address(`/images/${image.image_id}/file`, { v: image.sha256 }),
  thumbnailAddress: (image: ImageInfo) => address(`/images/${image.image_id}/thumbnail`, { v: image.sha256 }),
  fetchFile: async (image: ImageInfo, signal?: AbortSignal): Promise<Blob> => {
    const response = await send('GET', images.fileAddress(image), signal ? { signal } : {})
    return response.blob()
  },
}

export const maps = {
  of: (imageId: Id, signal?: AbortSignal) => ask<ImageMap[]>(`/images/${imageId}/maps`, {}, signal),
  plane: (
    imageId: Id,
    mapId: Id,
    plane: 'prediction' | 'confidence',
    signal: AbortSignal,
    priority: RequestPriority = 'auto',
  ) => bytes(`/images/${imageId}/maps/${mapId}/${plane}`, { signal, priority }),
}

/** Single images as chosen versions see them. */
export const versionMaps = {
  ask: (imageId: Id, version: number) => tell<VersionMapReply>('POST', `/images/${imageId}/version-maps/${version}`),
  prediction: async (imageId: Id, version: number, signal?: AbortSignal): Promise<Uint8Array> => {
    const path = `/images/${imageId}/version-maps/${version}/prediction`
    const response = await send('GET', address(path), signal ? { signal } : {})
    return new Uint8Array(await response.arrayBuffer())
  },
}

export const labels = {
  ofImage: (imageId: Id, after: number) => ask<ImageLabels>(`/images/${imageId}/labels`, { after }),
  append: (projectId: Id, events: LabelEvent[]) => tell<LabelAcks>('POST', `/projects/${projectId}/labels`, { events }),
}

export const questions = {
  /** @param exclude questions that are here already */
  next: (projectId: Id, imageId: Id | null, limit: number, exclude: readonly Id[]) =>
    ask<QuestionPage>(`/projects/${projectId}/questions`, { image_id: imageId, limit, exclude }),
  /** Nobody can tell: the pixel is not asked about again. */
  skip: (projectId: Id, { question_id, image_id, pixel }: Question) =>
    tell<void>('POST', `/projects/${projectId}/questions/${question_id}/skip`, { image_id, pixel }),
  unskip: (projectId: Id, { question_id }: Question) =>
    tell<void>('DELETE', `/projects/${projectId}/questions/${question_id}/skip`),
}

export const jobs = {
  list: (projectId: Id, limit: number) => ask<Job[]>(`/projects/${projectId}/jobs`, { limit }),
  train: (projectId: Id, training: NewTraining) => tell<Job>('POST', `/projects/${projectId}/jobs`, training),
  cancel: (jobId: Id) => tell<Job>('POST', `/jobs/${jobId}/cancel`),
}

export const evaluations = {
  get: (projectId: Id) => ask<Evaluation>(`/projects/${projectId}/evaluation`),
}

export const modelVersions = {
  list: (projectId: Id) => ask<ModelVersion[]>(`/projects/${projectId}/model-versions`),
  artifactAddress: (projectId: Id, version: number, name: string) =>
    address(`/projects/${projectId}/model-versions/${version}/artifacts/${name}`),
}
