import { useEffect } from 'preact/hooks'
import { modelVersions as versionApi } from '../api/client'
import type { Id, ModelVersion } from '../api/types'
import { imageList, loadFirstImages } from '../state/imageList'
import { modelVersions, project } from '../state/project'
import { newestSeq } from '../state/sync'
import { Banner } from '../ui/banner'
import { ExportPanel } from '../ui/exportPanel'
import { dateTime, duration, fileSize, percent, plural } from '../ui/format'
import { Header } from '../ui/header'
import { DownloadIcon, ModelIcon } from '../ui/icons'

const METHODS = { supervised: 'supervised', cutout: 'CutOut', cutmix: 'CutMix', classmix: 'ClassMix' }

/** The model versions of a project and everything that can be taken away. */
export function ModelsPage({ projectId }: { projectId: Id }) {
  useEffect(() => {
    void loadFirstImages(projectId)
  }, [projectId])
  const [first] = imageList.value.images
  const versions = modelVersions.value
  return (
    <div class="frame">
      <Header
        project={{ name: project.value?.name ?? '', projectId }}
        page="models"
        annotate={first === undefined ? null : { page: 'annotate', projectId, imageId: first.image_id }}
      />
      <Banner />
      <main class="scroll">
        <div class="page">
          <div class="page-head">
            <div>
              <h1>Model versions</h1>
              <p class="hint">Each training publishes one. None is ever replaced.</p>
            </div>
          </div>
          <div class="split">
            <div>
              {versions.length === 0 && (
                <div class="card empty">
                  <ModelIcon />
                  <h2>No model version yet</h2>
                  <p class="hint">
                    Click some pixels of at least two classes, then press Train. The first version stands here when the
                    training is over.
                  </p>
                </div>
              )}
              {versions.map((version) => (
                <Version key={version.version} version={version} />
              ))}
            </div>
            <ExportPanel projectId={projectId} />
          </div>
        </div>
      </main>
    </div>
  )
}

function Version({ version }: { version: ModelVersion }) {
  const { metrics, spec } = version
  const isCurrent = version.label_seq >= newestSeq.value
  const method = `${METHODS[spec.method]}${spec.use_reco ? ' + ReCo' : ''}`
  const facts: [string, string][] = [
    ['labels', plural(version.label_count, 'label')],
    ['method', method],
    ['published', metrics.chosen],
    ['accuracy on held-out pixels', accuracyOf(version)],
    ['steps', metrics.steps.toLocaleString('en')],
    ['time', duration(metrics.seconds)],
    ['seed', String(spec.seed)],
    ['started from', version.parent === null ? 'backbone weights' : `version ${version.parent}`],
    ['label position', version.label_seq.toLocaleString('en')],
    ['code', version.code_version],
  ]
  return (
    <article class="card version" data-testid="version-row" data-version={version.version}>
      <div class="row between">
        <h2 class="row">
          Version {version.version}
          {isCurrent ? <span class="badge accent">all labels</span> : <span class="badge warn">labels came since</span>}
        </h2>
        <time class="faint" dateTime={version.created_at}>
          {dateTime(version.created_at)}
        </time>
      </div>
      <dl class="pairs number">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd class="cut" title={value}>
              {value}
            </dd>
          </div>
        ))}
      </dl>
      <div class="chips">
        {Object.entries(version.artifacts).map(([name, bytes]) => (
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
    </article>
  )
}

function accuracyOf({ metrics }: ModelVersion): string {
  if (metrics.accuracy === null || metrics.held_out_pixels === 0) return 'too few labels to say'
  return `${percent(metrics.accuracy)} of ${metrics.held_out_pixels}`
}
