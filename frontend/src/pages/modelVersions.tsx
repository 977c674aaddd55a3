import { useEffect } from 'preact/hooks'
import { modelVersions as versionApi } from '../api/client'
import type { Id, ModelVersion } from '../api/types'
import { watchImages } from '../state/imageList'
import { modelVersions, pinVersion, project, training, workingVersion } from '../state/project'
import { newestSeq } from '../state/sync'
import { ExportPanel } from '../ui/exportPanel'
import { dateTime, duration, fileSize, plural } from '../ui/format'
import { DownloadIcon, ModelIcon } from '../ui/icons'
import { JobProgress } from '../ui/jobProgress'
import { ProjectPage } from '../ui/projectPage'
import { accuracyOf, VersionComparison } from '../ui/versionComparison'

const METHODS = { supervised: 'labels only', cutout: 'CutOut', cutmix: 'CutMix', classmix: 'ClassMix' }
const CANDIDATES: Readonly<Record<string, string>> = { deep: 'trained network', 'fast head': 'quick fit' }

/** The model versions of a project and everything that can be taken away. */
export function ModelsPage({ projectId }: { projectId: Id }) {
  useEffect(() => watchImages(projectId, (kind) => kind === 'images' || kind === 'map'), [projectId])
  const versions = modelVersions.value
  return (
    <ProjectPage
      projectId={projectId}
      page="models"
      title="Model versions"
      hint={<p class="hint">Each training adds one. Older versions stay as they are, and you can go back to them.</p>}
    >
      <div class="split">
        <div>
          <Pinned />
          {versions.length >= 2 && <VersionComparison versions={versions} />}
          {versions.length === 0 && <NoVersion />}
          {versions.map((version) => (
            <Version key={version.version} version={version} />
          ))}
        </div>
        <ExportPanel projectId={projectId} />
      </div>
    </ProjectPage>
  )
}

function NoVersion() {
  const active = training.value
  return (
    <div class="card empty" data-testid="no-version">
      <ModelIcon />
      {active === null ? (
        <>
          <h2>No model version yet</h2>
          <p class="hint">
            Click a few pixels of at least two classes on the Annotate page, then press Train. The first version appears
            here when the training is over.
          </p>
        </>
      ) : (
        <>
          <h2>{active.state === 'queued' ? 'A training waits' : 'A training runs'}</h2>
          <div class="job">
            <JobProgress job={active} />
          </div>
          <p class="hint">The first version appears here when it is over.</p>
        </>
      )}
    </div>
  )
}

/** A version is pinned: what that means, and how it ends. */
function Pinned() {
  const pinned = project.value?.pinned_version ?? null
  const newest = project.value?.newest_version ?? null
  if (pinned === null) return null
  return (
    <div class="card pinned" role="status" data-testid="pinned">
      <p>
        <strong>You work with version {pinned}.</strong> It draws the predictions, and the next training starts from it.
        New trainings still add versions, but those take no prediction over.
      </p>
      <button type="button" class="button" data-testid="follow-newest" onClick={() => void pinVersion(null)}>
        Follow the newest again{newest !== null && newest !== pinned ? ` (version ${newest})` : ''}
      </button>
    </div>
  )
}

/** Keep this version, or go back to it. */
function PinButton({ version }: { version: number }) {
  const pinned = project.value?.pinned_version ?? null
  if (pinned === version) {
    return (
      <button type="button" class="button" data-testid="unpin" onClick={() => void pinVersion(null)}>
        Unpin
      </button>
    )
  }
  const isOlder = version < (workingVersion.value ?? 0)
  return (
    <button
      type="button"
      class="button"
      data-testid={isOlder ? 'roll-back' : 'pin'}
      title="Predictions are drawn by this version from now on, and the next training starts from it. Nothing is deleted."
      onClick={() => void pinVersion(version)}
    >
      {isOlder ? 'Roll back to this version' : 'Pin this version'}
    </button>
  )
}

/** Name, value, and what it means. */
type Fact = readonly [string, string, string]

function Version({ version }: { version: ModelVersion }) {
  const { metrics, spec } = version
  const files = Object.entries(version.artifacts)
  const isCurrent = version.label_seq >= newestSeq.value
  const facts: Fact[] = [
    ['labels', version.label_count.toLocaleString('en'), 'Labels that this version has learned from'],
    ['accuracy', accuracyOf(version), 'Share of labelled pixels, kept out of the training, that it gets right'],
    ['training time', `${duration(metrics.seconds)}, ${stepsOf(version)}`, 'In each step it sees a few images'],
    [
      'kind',
      CANDIDATES[metrics.chosen] ?? metrics.chosen,
      'Each training makes a quick fit and a trained network; the better of the two is published',
    ],
    [
      'method',
      `${METHODS[spec.method]}${spec.use_reco ? ' + ReCo' : ''}`,
      'How it learns from images without labels: ClassMix, CutMix and CutOut cut and mix them, ReCo contrasts classes',
    ],
    [
      'started from',
      version.parent === null ? 'general image features' : `version ${version.parent}`,
      'What the network knew before this training',
    ],
    [
      'label position',
      version.label_seq.toLocaleString('en'),
      'It knows the project’s labels up to this event of the log',
    ],
    ['random seed', String(spec.seed), 'The same seed, labels and code give the same version'],
    ['code', version.code_version, 'The version of ReCoLabel that trained it'],
  ]
  return (
    <article class="card version" data-testid="version-row" data-version={version.version}>
      <div class="row between">
        <h2 class="row">
          Version {version.version}
          {project.value?.pinned_version === version.version && <span class="badge accent">pinned</span>}
          {isCurrent ? (
            <span class="badge accent">knows all labels</span>
          ) : (
            <span class="badge warn">newer labels exist</span>
          )}
        </h2>
        <span class="row">
          <time class="faint" dateTime={version.created_at}>
            {dateTime(version.created_at)}
          </time>
          <PinButton version={version.version} />
        </span>
      </div>
      <dl class="pairs number">
        {facts.map(([name, value, meaning]) => (
          <div key={name} title={meaning}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <div class="chips">
        {files.map(([name, bytes]) => (
          <a
            key={name}
            class="button"
            data-testid="download-artifact"
            href={versionApi.artifactAddress(version.project_id, version.version, name)}
            download={`version-${version.version}-${name}`}
          >
            <DownloadIcon />
            {name}
            <span class="faint small">{fileSize(bytes)}</span>
          </a>
        ))}
      </div>
      <details data-testid="version-config">
        <summary class="hint small">All settings of this training</summary>
        <pre class="small">{JSON.stringify(version.config, null, 2)}</pre>
        <p class="hint small">
          <code>
            recolabel train {JSON.stringify(project.value?.name ?? '')} --reproduce {version.version}
          </code>{' '}
          runs it again and compares the bits.
        </p>
      </details>
      <p class="hint small">
        Download all {files.length === 4 ? 'four' : files.length} into one folder, or use{' '}
        <code>recolabel export-model</code>.
      </p>
    </article>
  )
}

/** "37 of 60 steps" when a person stopped it. */
function stepsOf({ config, metrics }: ModelVersion): string {
  const planned = (config?.training as { steps?: unknown } | undefined)?.steps
  const done = metrics.steps
  return typeof planned === 'number' && planned !== done ? `${done} of ${planned} steps` : plural(done, 'step')
}
