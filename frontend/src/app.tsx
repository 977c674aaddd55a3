/** Which page is shown where. */

import { useEffect } from 'preact/hooks'
import type { Id } from './api/types'
import { AnnotatePage } from './pages/annotate'
import { EvaluationPage } from './pages/evaluation'
import { ImagesPage } from './pages/images'
import { LoginPage } from './pages/login'
import { ModelsPage } from './pages/modelVersions'
import { ProjectsPage } from './pages/projects'
import { type Place, place } from './state/location'
import { learnWhoIAm, needsLogin } from './state/login'
import { report } from './state/notices'
import { GONE, openProject, project, projectProblem } from './state/project'
import { sendLeftBehind } from './state/sync'
import { Header } from './ui/header'
import { Link } from './ui/link'
import { Notices } from './ui/notices'

export function App() {
  useEffect(() => {
    learnWhoIAm().then(sendLeftBehind).catch(report)
  }, [])
  if (needsLogin.value) return <LoginPage />
  return (
    <>
      <Page at={place.value} />
      <Notices />
    </>
  )
}

function Page({ at }: { at: Place }) {
  if (at.page === 'projects') return <ProjectsPage />
  if (at.page === 'nowhere') return <Nowhere title="Nothing here" sentence="There is no page at this address." />
  return <ProjectFrame key={at.projectId} projectId={at.projectId} at={at} />
}

/** Keeps a project open while its pages change. */
function ProjectFrame({ projectId, at }: { projectId: Id; at: Place }) {
  useEffect(() => openProject(projectId), [projectId])
  const name = project.value?.name
  useEffect(() => {
    if (name !== undefined && at.page !== 'annotate') document.title = `${name} - ReCoLabel`
  }, [name, at.page])
  if (projectProblem.value !== null) {
    const title = projectProblem.value === GONE ? 'Nothing here' : 'The project cannot be shown now'
    return <Nowhere title={title} sentence={projectProblem.value} />
  }
  if (at.page === 'annotate') return <AnnotatePage projectId={projectId} imageId={at.imageId} />
  if (at.page === 'evaluation') return <EvaluationPage projectId={projectId} />
  if (at.page === 'models') return <ModelsPage projectId={projectId} />
  return <ImagesPage projectId={projectId} />
}

function Nowhere({ title, sentence }: { title: string; sentence: string }) {
  useEffect(() => {
    document.title = `${title} - ReCoLabel`
  }, [title])
  return (
    <div class="frame">
      <Header project={null} page="nowhere" />
      <div />
      <main class="scroll">
        <div class="page">
          <div class="card empty">
            <h1>{title}</h1>
            <p>{sentence}</p>
            <Link to={{ page: 'projects' }} class="button">
              All projects
            </Link>
          </div>
        </div>
      </main>
    </div>
  )
}
