import type { ComponentChildren } from 'preact'
import type { Id } from '../api/types'
import { imageList } from '../state/imageList'
import type { Place } from '../state/location'
import { project } from '../state/project'
import { Banner } from './banner'
import { Header } from './header'

interface ProjectPageProps {
  projectId: Id
  page: Place['page']
  title: string
  /** Below the title. */
  hint: ComponentChildren
  /** Beside the title. */
  action?: ComponentChildren
  children: ComponentChildren
}

/** A page of the open project that scrolls below the header: all but the one with the stage. */
export function ProjectPage({ projectId, page, title, hint, action, children }: ProjectPageProps) {
  const [first] = imageList.value.images
  return (
    <div class="frame">
      <Header
        project={{ name: project.value?.name ?? '', projectId }}
        page={page}
        annotate={first === undefined ? null : { page: 'annotate', projectId, imageId: first.image_id }}
      />
      <Banner />
      <main class="scroll">
        <div class="page">
          <div class="page-head">
            <div>
              <h1>{title}</h1>
              {hint}
            </div>
            {action}
          </div>
          {children}
        </div>
      </main>
    </div>
  )
}
