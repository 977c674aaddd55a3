import type { ComponentChildren } from 'preact'
import { useEffect, useId, useRef } from 'preact/hooks'
import { CloseIcon } from './icons'

interface DialogProps {
  title: string
  isRoomy?: boolean
  onClose: () => void
  children: ComponentChildren
}

/** A modal dialog: the browser keeps the focus inside and closes it with Escape. */
export function Dialog({ title, isRoomy = false, onClose, children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null)
  const titleId = useId()
  /** A press that began inside and ended on the backdrop marked text; it does not mean to close. */
  const beganOutside = useRef(false)
  useEffect(() => {
    element.current?.showModal()
  }, [])
  return (
    <dialog
      ref={element}
      class={isRoomy ? 'roomy' : undefined}
      aria-labelledby={titleId}
      onClose={onClose}
      onPointerDown={(event) => {
        beganOutside.current = event.target === element.current
      }}
      onClick={(event) => {
        if (event.target === element.current && beganOutside.current) element.current?.close()
      }}
      onKeyDown={(event) => event.stopPropagation()}
    >
      <div class="dialog-body">
        <div class="row between">
          <h2 id={titleId}>{title}</h2>
          <button type="button" class="button icon quiet" aria-label="Close" onClick={() => element.current?.close()}>
            <CloseIcon />
          </button>
        </div>
        {children}
      </div>
    </dialog>
  )
}
