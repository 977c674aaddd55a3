/** Which page is shown where. */

import { useEffect } from 'preact/hooks'
import type { Id } from './api/types'
import { AnnotatePage } from './pages/annotate'
import { ImagesPage } from './pages/images'
import { LoginPage } from './pages/login'
import { ModelsPage } from './pages/modelVersions'
import { ProjectsPage } from './pages/projects'
import { type Place, place } from './state/location'
import { learnWhoIAm, needsLogin } from './state/login'
import { report } from './state/notices'
import { openProject, project, projectProblem } from './state/project'
import { Header } from './ui/header'
import { Link } from './ui/link'
import { Notices } from './ui/notices'

export function App() {
  useEffect(() => {
    learnWhoIAm().catch(report)
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
  if (at.page === 'nowhere') return <Nowhere sentence="There is no page at this address." />
  return <ProjectFrame key={at.projectId} projectId={at.projectId} at={at} />
}

/** Keeps a project open while its pages change. */
function ProjectFrame({ projectId, at }: { projectId: Id; at: Place }) {
  useEffect(() => openProject(projectId), [projectId])
  const name = project.value?.name
  useEffect(() => {
    if (name !== undefined && at.page !== 'annotate') document.title = `${name} - ReCoLabel`
  }, [name, at.page])
  if (projectProblem.value !== null) return <Nowhere sentence={projectProblem.value} />
  if (at.page === 'annotate') return <AnnotatePage projectId={projectId} imageId={at.imageId} />
  if (at.page === 'models') return <ModelsPage projectId={projectId} />
  return <ImagesPage projectId={projectId} />
}

function Nowhere({ sentence }: { sentence: string }) {
  return (
    <div class="frame">
      <Header project={null} page="nowhere" />
      <div />
      <main class="scroll">
        <div class="page">
          <div class="card empty">
            <h1>Nothing here</h1>
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
