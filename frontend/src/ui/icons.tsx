/** The icons: one grid of 16, one line of 1.6, round ends. Decoration only; the button that holds one has the name. */

import type { ComponentChildren } from 'preact'

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      {children}
    </svg>
  )
}

export const ClickIcon = () => (
  <Icon>
    <circle cx="8" cy="8" r="2.2" />
    <path d="M8 1.5v2.7M8 11.8v2.7M1.5 8h2.7M11.8 8h2.7" />
  </Icon>
)
export const BrushIcon = () => (
  <Icon>
    <path d="M13.6 2.4 7 9" />
    <path d="M6.4 9.2c1.2.2 2 1.2 1.8 2.4-.3 1.6-2.6 2.3-5.7 1.6 1-.6 1.3-1.2 1.5-2.2.2-1.2 1.2-2 2.4-1.8z" />
  </Icon>
)
export const EraserIcon = () => (
  <Icon>
    <path d="m6.4 13.5-3.7-3.7a1 1 0 0 1 0-1.4l5.7-5.7a1 1 0 0 1 1.4 0l3.5 3.5a1 1 0 0 1 0 1.4l-5.9 5.9z" />
    <path d="m5.4 5.7 5 5M6.4 13.5h7" />
  </Icon>
)
export const UndoIcon = () => (
  <Icon>
    <path d="M5.5 3 2.5 6l3 3" />
    <path d="M2.5 6h6.8a4 4 0 0 1 0 8H6" />
  </Icon>
)
export const RedoIcon = () => (
  <Icon>
    <path d="m10.5 3 3 3-3 3" />
    <path d="M13.5 6H6.7a4 4 0 0 0 0 8H10" />
  </Icon>
)
export const PlusIcon = () => (
  <Icon>
    <path d="M8 3v10M3 8h10" />
  </Icon>
)
export const MinusIcon = () => (
  <Icon>
    <path d="M3 8h10" />
  </Icon>
)
export const FitIcon = () => (
  <Icon>
    <path d="M2.5 5.5v-3h3M10.5 2.5h3v3M13.5 10.5v3h-3M5.5 13.5h-3v-3" />
  </Icon>
)
export const CloseIcon = () => (
  <Icon>
    <path d="m4 4 8 8M12 4l-8 8" />
  </Icon>
)
export const TrashIcon = () => (
  <Icon>
    <path d="M2.5 4.2h11M6 4V2.5h4V4M4 4.2l.6 9.3h6.8l.6-9.3M6.7 7v3.8M9.3 7v3.8" />
  </Icon>
)
export const PencilIcon = () => (
  <Icon>
    <path d="m10.8 2.8 2.4 2.4-7.8 7.8-3 .6.6-3z" />
  </Icon>
)
export const PlayIcon = () => (
  <Icon>
    <path d="M4.8 3v10l8-5z" />
  </Icon>
)
export const StopIcon = () => (
  <Icon>
    <rect x="3.8" y="3.8" width="8.4" height="8.4" rx="1" />
  </Icon>
)
export const LeftIcon = () => (
  <Icon>
    <path d="m10 3-5 5 5 5" />
  </Icon>
)
export const RightIcon = () => (
  <Icon>
    <path d="m6 3 5 5-5 5" />
  </Icon>
)
export const CheckIcon = () => (
  <Icon>
    <path d="m3 8.5 3.2 3.2L13 4.8" />
  </Icon>
)
export const RingIcon = () => (
  <Icon>
    <circle cx="8" cy="8" r="5" />
  </Icon>
)
export const HelpIcon = () => (
  <Icon>
    <path d="M5.6 6a2.4 2.4 0 1 1 3.6 2.1c-.8.5-1.2.9-1.2 1.7M8 12.4v.1" />
  </Icon>
)
export const SunIcon = () => (
  <Icon>
    <circle cx="8" cy="8" r="2.8" />
    <path d="M8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9" />
  </Icon>
)
export const MoonIcon = () => (
  <Icon>
    <path d="M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8z" />
  </Icon>
)
export const HalfIcon = () => (
  <Icon>
    <circle cx="8" cy="8" r="5.5" />
    <path d="M8 2.5v11a5.5 5.5 0 0 0 0-11z" fill="currentColor" />
  </Icon>
)
export const ImagesIcon = () => (
  <Icon>
    <rect x="2" y="3" width="12" height="10" rx="1.5" />
    <path d="m2.5 11.5 3.5-3.8 2.8 2.8 1.8-1.7 2.9 2.7" />
    <circle cx="10.6" cy="6" r="1" />
  </Icon>
)
export const ModelIcon = () => (
  <Icon>
    <path d="M8 1.8 13.6 5v6L8 14.2 2.4 11V5z" />
    <path d="M2.6 5.1 8 8.2l5.4-3.1M8 8.2V14" />
  </Icon>
)
export const DownloadIcon = () => (
  <Icon>
    <path d="M8 2.5v7.3M4.8 6.9 8 10.1l3.2-3.2M2.8 13.2h10.4" />
  </Icon>
)
export const QuestionIcon = () => (
  <Icon>
    <path d="M2.5 5.5v-3h3M10.5 2.5h3v3M13.5 10.5v3h-3M5.5 13.5h-3v-3" />
    <path d="M6.4 6.6a1.7 1.7 0 1 1 2.5 1.5c-.6.3-.9.7-.9 1.2M8 11.2v.1" />
  </Icon>
)

/** The sign of the app: two regions, a click. */
export const Brand = () => (
  <svg viewBox="0 0 20 20" aria-hidden="true" focusable="false">
    <rect width="20" height="20" rx="5" fill="#3d5bd9" />
    <path d="M0 5a5 5 0 0 1 5-5h3v20H5a5 5 0 0 1-5-5z" fill="#009e73" />
    <path d="M0 15.4 20 9v6a5 5 0 0 1-5 5H5a5 5 0 0 1-5-4.6z" fill="#e69f00" />
    <circle cx="13" cy="6" r="2.4" fill="#fff" />
  </svg>
)
