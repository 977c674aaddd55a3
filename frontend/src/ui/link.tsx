import type { ComponentChildren } from 'preact'
import { go, type Place, pathOf } from '../state/location'

interface LinkProps {
  to: Place
  class?: string
  title?: string
  dir?: 'auto'
  'aria-label'?: string
  'aria-current'?: 'page' | 'true' | undefined
  'data-testid'?: string
  children: ComponentChildren
}

/** A link within the app. With a modifier key it stays what a link is: a new tab, a copy of the address. */
export function Link({ to, children, ...rest }: LinkProps) {
  return (
    <a
      {...rest}
      href={pathOf(to)}
      onClick={(event) => {
        if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
        event.preventDefault()
        go(to)
      }}
    >
      {children}
    </a>
  )
}
