/** The project that is open: its classes, jobs and model versions, kept fresh by the server's hints. */

import { computed, signal } from '@preact/signals'
import { jobs as jobApi, projects as projectApi, modelVersions as versionApi } from '../api/client'
import { isGone, sentenceOf } from '../api/problems'
import type { ClassOrVoid, Hint, Id, Job, LabelClass, ModelVersion, NewTraining, Project } from '../api/types'
import { listenToUpdates } from '../api/updates'
import { VOID } from '../labels/events'
import { VOID_COLOUR } from '../labels/palette'
import { learnWhoIAm, me } from './login'
import { isServerAway, report } from './notices'
import { newestSeq, sendNow, startSync, whenJudged } from './sync'

export const project = signal<Project | null>(null)
export const jobs = signal<readonly Job[]>([])
export const modelVersions = signal<readonly ModelVersion[]>([])
/** The project could not be opened: the sentence to show instead of it. */
export const projectProblem = signal<string | null>(null)

export const classes = computed(() =>
  (project.value?.classes ?? [])
    .filter((labelClass) => !labelClass.retired)
    .toSorted((a, b) => a.position - b.position),
)
export const classesByUid = computed(() => new Map((project.value?.classes ?? []).map((one) => [one.class_uid, one])))

const ACTIVE = new Set(['queued', 'leased', 'running'])
export const isActive = (job: Job) => ACTIVE.has(job.state)
export const training = computed(() => jobs.value.find((job) => job.kind === 'train' && isActive(job)) ?? null)
/** A job for a single image is what the comparison of versions waits for, and nobody else's business. */
export const isForOneImage = ({ spec }: Job) => spec.kind === 'predict' && spec.image_id != null
export const predicting = computed(
  () => jobs.value.find((job) => job.kind === 'predict' && isActive(job) && !isForOneImage(job)) ?? null,
)
/** The newest training when it is over. */
export const lastTraining = computed(() => jobs.value.find((job) => job.kind === 'train' && !isActive(job)) ?? null)

/** The version that maps, fast head and the next training come from: the pinned one, else the newest. */
export const workingVersion = computed(() => project.value?.pinned_version ?? project.value?.newest_version ?? null)

/** Labels that hold in the whole project, by class. */
export const classCounts = signal<ReadonlyMap<ClassOrVoid, number>>(new Map())

export function nameOfClass(classUid: ClassOrVoid): string {
  if (classUid === VOID) return 'void'
  return classesByUid.value.get(classUid)?.name ?? 'a class that is gone'
}

export function colourOfClass(classUid: ClassOrVoid): string {
  if (classUid === VOID) return VOID_COLOUR
  return classesByUid.value.get(classUid)?.colour ?? VOID_COLOUR
}

export type HintListener = (hint: Hint) => void
const hintListeners = new Set<HintListener>()
const resumeListeners = new Set<() => void>()

/** Hear the hints of the open project, and when some may have been missed. */
export function whenHinted(listener: HintListener, resumed: () => void): () => void {
  hintListeners.add(listener)
  resumeListeners.add(resumed)
  return () => {
    hintListeners.delete(listener)
    resumeListeners.delete(resumed)
  }
}

let openId: Id | null = null

/** Open a project until the returned function is called. */
export function openProject(projectId: Id): () => void {
  openId = projectId
  project.value = null
  jobs.value = []
  modelVersions.value = []
  classCounts.value = new Map()
  projectProblem.value = null
  newestSeq.value = 0
  if (me.value === null) learnWhoIAm().catch(report)
  void refreshProject()
  void refreshJobs()
  void refreshVersions()
  const stopSync = startSync(projectId)
  const stopUpdates = listenToUpdates(projectId, { hint: take, resumed: resume, away: () => void noticeAway() })
  const stopJudged = whenJudged(() => refreshSoon())
  return () => {
    openId = null
    clearTimeout(soon)
    soon = undefined
    isServerAway.value = false
    stopSync()
    stopUpdates()
    stopJudged()
  }
}

export async function refreshProject(): Promise<void> {
  const id = openId
  if (id === null) return
  try {
    const [fresh, counts] = await Promise.all([projectApi.get(id), projectApi.classCounts(id)])
    if (openId !== id) return
    project.value = fresh
    classCounts.value = new Map(Object.entries(counts))
    newestSeq.value = Math.max(newestSeq.value, fresh.label_seq)
    projectProblem.value = null
  } catch (error) {
    const isShown = openId === id && project.value === null
    if (isShown) projectProblem.value = isGone(error) ? GONE : sentenceOf(error)
    if (!(isShown && isGone(error))) report(error)
  }
}

export const GONE = 'There is no such project on this server. Perhaps it was deleted, or the address is cut off.'

export async function refreshJobs(): Promise<void> {
  const id = openId
  if (id === null) return
  try {
    const fresh = await jobApi.list(id, 20)
    if (openId === id) jobs.value = fresh
  } catch (error) {
    if (!isGone(error)) report(error)
  }
}

export async function refreshVersions(): Promise<void> {
  const id = openId
  if (id === null) return
  try {
    const fresh = await versionApi.list(id)
    if (openId === id) modelVersions.value = fresh
  } catch (error) {
    if (!isGone(error)) report(error)
  }
}

/** Put a job that an answer or a hint brought into the list; an older state never replaces a newer one. */
export function mergeJob(list: readonly Job[], job: Job): Job[] {
  const known = list.find((one) => one.job_id === job.job_id)
  if (known === undefined) return [job, ...list]
  if (!isActive(known) && isActive(job)) return [...list]
  return list.map((one) => (one.job_id === job.job_id ? job : one))
}

export async function train(wish: NewTraining): Promise<void> {
  if (openId === null) return
  try {
    jobs.value = mergeJob(jobs.value, await jobApi.train(openId, wish))
  } catch (error) {
    report(error)
  }
}

export async function stopTraining(): Promise<void> {
  const active = training.value
  if (active === null) return
  try {
    jobs.value = mergeJob(jobs.value, await jobApi.cancel(active.job_id))
  } catch (error) {
    report(error)
  }
}

export async function setAutoTrain(isOn: boolean): Promise<void> {
  if (project.value === null) return
  try {
    project.value = await projectApi.configure(project.value.project_id, { auto_train: isOn })
  } catch (error) {
    report(error)
  }
}

/** Work with this version from now on; null: with the newest. */
export async function pinVersion(version: number | null): Promise<void> {
  if (project.value === null) return
  try {
    project.value = await projectApi.pin(project.value.project_id, version)
  } catch (error) {
    report(error)
  }
}

/** Change one class here as the server has answered. */
export function takeClass(labelClass: LabelClass): void {
  const open = project.value
  if (open === null) return
  const others = open.classes.filter((one) => one.class_uid !== labelClass.class_uid)
  project.value = { ...open, classes: [...others, labelClass].toSorted((a, b) => a.position - b.position) }
}

function take(hint: Hint): void {
  isServerAway.value = false
  if (hint.kind === 'job') jobs.value = mergeJob(jobs.value, hint.job)
  else if (hint.kind === 'version') {
    void refreshVersions()
    refreshSoon()
  } else if (hint.kind === 'labels') {
    newestSeq.value = Math.max(newestSeq.value, hint.last_seq)
    refreshSoon()
  } else if (hint.kind === 'project' || hint.kind === 'images') refreshSoon()
  for (const listener of hintListeners) listener(hint)
}

function resume(): void {
  isServerAway.value = false
  sendNow()
  void refreshProject()
  void refreshJobs()
  void refreshVersions()
  for (const listener of resumeListeners) listener()
}

/** The feed broke: find out whether the server is away or the login is. */
async function noticeAway(): Promise<void> {
  try {
    await learnWhoIAm()
  } catch (error) {
    if (error instanceof Error && error.name === 'ServerAway') isServerAway.value = true
    else report(error)
  }
}

let soon: ReturnType<typeof setTimeout> | undefined
/** Longer than a label takes to its overlay: the server is busy with that. */
const SOON_MS = 600

/** A label was made: count it before the server does. */
export function countLabel(classUid: ClassOrVoid): void {
  const counts = classCounts.peek()
  classCounts.value = new Map([...counts, [classUid, (counts.get(classUid) ?? 0) + 1]])
}

/** Many hints in a row ask once. */
function refreshSoon(): void {
  if (soon !== undefined) return
  soon = setTimeout(() => {
    soon = undefined
    void refreshProject()
  }, SOON_MS)
}
