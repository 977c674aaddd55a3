/** The shapes of the contract as the browser uses them. Field by field they mirror `backend/recolabel/contract`. */

export type Id = string

export interface User {
  user_id: string
  name: string
}

export interface LabelClass {
  class_uid: Id
  name: string
  colour: string
  key: string | null
  position: number
  retired: boolean
}

export interface NewLabelClass {
  name: string
  colour?: string | null
  key?: string | null
}

export interface ClassPatch {
  name?: string
  colour?: string
  key?: string
  retired?: boolean
}

export interface ProjectSettings {
  auto_train: boolean
}

export interface Project {
  project_id: Id
  name: string
  created_at: string
  classes: LabelClass[]
  settings: ProjectSettings
  image_count: number
  label_count: number
  label_seq: number
  newest_version: number | null
}

export interface NewProject {
  name: string
  classes: NewLabelClass[]
}

export interface ImageInfo {
  image_id: Id
  project_id: Id
  name: string
  width: number
  height: number
  sha256: string
  position: number
  added_at: string
  label_count: number
  last_seq: number
  uncertainty: number | null
}

export interface ImagePage {
  images: ImageInfo[]
  total: number
  next_after: number | null
}

export type Verdict = 'stored' | 'duplicate'

export interface UploadResult {
  verdict: Verdict
  image: ImageInfo
}

export interface ImageMap {
  map_id: Id
  image_id: Id
  job_id: Id
  model_version: number | null
  step: number
  label_seq: number
  width: number
  height: number
  class_uids: Id[]
  created_at: string
  stale: boolean
}

export interface Pixel {
  x: number
  y: number
}

/** A position in sixteenths of a pixel. */
export interface FixedPoint {
  x: number
  y: number
}

/** A class_uid, or "void": no class fits. */
export type ClassOrVoid = Id

interface EventBase {
  event_id: Id
  image_id: Id
  image_sha256: string
  client_id: Id
  client_seq: number
  client_time: string
}

export interface ClickEvent extends EventBase {
  kind: 'click'
  class_uid: ClassOrVoid
  pixel: Pixel
  question_id?: Id | null
}

export interface StrokeEvent extends EventBase {
  kind: 'stroke'
  class_uid: ClassOrVoid
  points: FixedPoint[]
  radius: number
}

export interface EraseEvent extends EventBase {
  kind: 'erase'
  points: FixedPoint[]
  radius: number
  targets: Id[]
}

export interface UndoEvent extends EventBase {
  kind: 'undo'
  targets: Id[]
}

export interface ClassSpans {
  class_uid: ClassOrVoid
  /** y, x of the first pixel and length, flattened. */
  spans: number[]
}

export interface MaskEvent extends EventBase {
  kind: 'mask'
  classes: ClassSpans[]
}

export type LabelEvent = ClickEvent | StrokeEvent | EraseEvent | UndoEvent | MaskEvent

export interface StoredEvent {
  seq: number
  annotator_id: string
  server_time: string
  event: LabelEvent
}

export interface Ack {
  event_id: Id
  fate: 'stored' | 'duplicate' | 'refused'
  seq: number | null
  code: string | null
  reason: string | null
}

export interface LabelAcks {
  acks: Ack[]
  label_seq: number
}

export interface ImageLabels {
  image_id: Id
  last_seq: number
  events: StoredEvent[]
}

export interface Question {
  question_id: Id
  image_id: Id
  image_name: string
  pixel: Pixel
  guess: Id | null
  second_guess: Id | null
  confidence: number | null
  model_version: number | null
  why: string
}

export interface QuestionPage {
  questions: Question[]
  note: string | null
}

export type JobState = 'queued' | 'leased' | 'running' | 'succeeded' | 'failed' | 'cancelled'
export type Method = 'supervised' | 'cutout' | 'cutmix' | 'classmix'

export interface TrainSpec {
  kind: 'train'
  method: Method
  use_reco: boolean
  steps: number | null
  seed: number
  warm_start_version: number | null
}

export interface PredictSpec {
  kind: 'predict'
  model_version: number
}

export interface Losses {
  supervised: number | null
  pseudo: number | null
  contrast: number | null
  total: number | null
}

export interface Progress {
  done: number
  total: number
  stage: string
  losses: Losses | null
  eta_seconds: number | null
}

export interface Job {
  job_id: Id
  project_id: Id
  kind: 'train' | 'predict'
  state: JobState
  spec: TrainSpec | PredictSpec
  label_seq: number
  attempt: number
  progress: Progress
  cancel_requested: boolean
  model_version: number | null
  error: string | null
  created_at: string
  finished_at: string | null
}

export interface NewTraining {
  method?: Method
  use_reco?: boolean
  steps?: number | null
  seed?: number
  warm_start?: boolean
}

export interface Metrics {
  steps: number
  seconds: number
  held_out_clicks: number
  accuracy: number | null
  chosen: string
}

export interface ModelVersion {
  model_version_id: Id
  project_id: Id
  version: number
  job_id: Id
  label_seq: number
  label_count: number
  parent: number | null
  spec: TrainSpec
  class_uids: Id[]
  config: Record<string, unknown>
  metrics: Metrics
  code_version: string
  created_at: string
  artifacts: Record<string, number>
}

export type Hint =
  | { kind: 'labels'; image_id: Id; last_seq: number; client_id: Id }
  | { kind: 'images'; image_count: number }
  | { kind: 'job'; job: Job }
  | { kind: 'map'; image_id: Id; map_id: Id; model_version: number | null }
  | { kind: 'version'; version: number }
  | { kind: 'project' }

export interface Update {
  update_id: number
  project_id: Id
  hint: Hint
}

export type ExportFormat = 'indexed-png' | 'jsonl'
export type ExportContent = 'predictions' | 'labels' | 'merged'
