/** The shapes of the contract, by name. All but the hints come from the server's own description of its interface. */

import type { components } from './schema'

type Schemas = components['schemas']

export type Id = string
/** A class_uid, or "void": no class fits. */
export type ClassOrVoid = string

export type User = Schemas['User']
export type LabelClass = Schemas['LabelClass']
export type NewLabelClass = Schemas['NewLabelClass']
export type ClassPatch = Schemas['ClassPatch']
export type Project = Schemas['Project']
export type ProjectSettings = Schemas['ProjectSettings']
export type SettingsPatch = Schemas['SettingsPatch']
export type NewProject = Schemas['NewProject']
export type ImageInfo = Schemas['ImageInfo']
export type ImagePage = Schemas['ImagePage']
export type UploadResult = Schemas['UploadResult']
export type ImageMap = Schemas['ImageMap']
export type Pixel = Schemas['Pixel']
/** A position in sixteenths of a pixel. */
export type FixedPoint = Schemas['FixedPoint']
export type ClickEvent = Schemas['ClickEvent']
export type StrokeEvent = Schemas['StrokeEvent']
export type EraseEvent = Schemas['EraseEvent']
export type UndoEvent = Schemas['UndoEvent']
export type MaskEvent = Schemas['MaskEvent']
export type LabelEvent = ClickEvent | StrokeEvent | EraseEvent | UndoEvent | MaskEvent
export type StoredEvent = Schemas['StoredEvent']
export type Ack = Schemas['Ack']
export type LabelAcks = Schemas['LabelAcks']
export type ImageLabels = Schemas['ImageLabels']
export type Question = Schemas['Question']
/** How the pixel of a question was chosen. */
export type Asked = Question['asked']
export type QuestionPage = Schemas['QuestionPage']
export type Job = Schemas['Job']
export type TrainSpec = Schemas['TrainSpec']
export type NewTraining = Partial<Schemas['NewTraining']>
export type VersionMapReply = Schemas['VersionMapReply']
export type ModelVersion = Schemas['ModelVersion']
export type Evaluation = Schemas['Evaluation']
export type VersionEvaluation = Schemas['VersionEvaluation']
/** A measured number with its interval, or a sentence why there is none. */
export type Figure = Schemas['Figure']

/** What an update says. The feed has no schema in the description, so this mirrors `contract/updates.py` by hand. */
export type Hint =
  | { kind: 'labels'; image_id: Id; last_seq: number; client_id: Id }
  | { kind: 'images'; image_count: number }
  | { kind: 'job'; job: Job }
  | { kind: 'map'; image_id: Id; map: ImageMap }
  | { kind: 'version'; version: number }
  | { kind: 'project' }

export interface Update {
  update_id: number
  project_id: Id
  hint: Hint
}

export type ExportFormat = 'indexed-png' | 'jsonl'
export type ExportContent = 'predictions' | 'labels' | 'merged'
