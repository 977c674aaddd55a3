import type { ComponentChildren } from 'preact'
import type { Place } from '../state/location'
import { type Preferences, prefer, preferences } from '../state/preferences'
import { unsentCount } from '../state/sync'
import { Brand, HalfIcon, MoonIcon, SunIcon } from './icons'
import { Link } from './link'

interface HeaderProps {
  /** Name and place of the open project; null on the list of projects. */
  project: { name: string; projectId: string } | null
  page: Place['page']
  /** Where the Annotate tab leads; null when the project has no image yet. */
  annotate?: Place | null
  crumb?: string | null
  children?: ComponentChildren
}

/** The bar on top of every page. */
export function Header({ project, page, annotate = null, crumb = null, children }: HeaderProps) {
  const current = (name: Place['page']) => (page === name ? 'page' : undefined)
  return (
    <header class="header">
      <Link to={{ page: 'projects' }} class="brand" aria-label="ReCoLabel: all projects">
        <Brand />
        <span>ReCoLabel</span>
      </Link>
      {project !== null && (
        <>
          <div class="crumbs">
            <span aria-hidden="true">/</span>
            <strong class="cut" dir="auto" title={project.name}>
              {project.name}
            </strong>
          </div>
          <nav class="tabs" aria-label="Pages of the project">
            <Link to={{ page: 'images', projectId: project.projectId }} aria-current={current('images')}>
              Images
            </Link>
            {annotate !== null && (
              <Link to={annotate} aria-current={current('annotate')} data-testid="tab-annotate">
                Annotate
              </Link>
            )}
            <Link
              to={{ page: 'models', projectId: project.projectId }}
              aria-current={current('models')}
              data-testid="tab-models"
            >
              Models
            </Link>
            <Link
              to={{ page: 'evaluation', projectId: project.projectId }}
              aria-current={current('evaluation')}
              data-testid="tab-evaluation"
            >
              Quality
            </Link>
          </nav>
        </>
      )}
      <div class="crumbs grow">
        {crumb !== null && (
          <span class="cut" dir="auto" title={crumb}>
            {crumb}
          </span>
        )}
      </div>
      {project !== null && <SaveState />}
      {children}
      <ThemeButton />
    </header>
  )
}

/** How many labels are still on their way. */
function SaveState() {
  const count = unsentCount.value
  return (
    <span class={count > 0 ? 'save-state unsent' : 'save-state'} role="status" data-testid="unsent" data-count={count}>
      <span class="dot" aria-hidden="true" />
      {count === 0 ? 'all saved' : `${count} unsent`}
    </span>
  )
}

const NEXT_THEME: Record<Preferences['theme'], Preferences['theme']> = {
  system: 'light',
  light: 'dark',
  dark: 'system',
}
const THEME_NAMES = { system: 'as the system', light: 'light', dark: 'dark' }

function ThemeButton() {
  const { theme } = preferences.value
  const name = `Colours: ${THEME_NAMES[theme]}. Change to ${THEME_NAMES[NEXT_THEME[theme]]}`
  return (
    <button
      type="button"
      class="button icon quiet"
      aria-label={name}
      title={name}
      onClick={() => prefer({ theme: NEXT_THEME[theme] })}
    >
      {theme === 'system' ? <HalfIcon /> : theme === 'light' ? <SunIcon /> : <MoonIcon />}
    </button>
  )
}
