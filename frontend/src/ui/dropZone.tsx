import { useRef, useState } from 'preact/hooks'
import type { Id } from '../api/types'
import { report } from '../state/notices'
import { filesOfDrop, isVisible, uploadFiles } from '../state/uploads'
import { ImagesIcon } from './icons'

interface DropZoneProps {
  projectId: Id
  isLarge: boolean
  onStored: () => void
}

/** Takes files and whole folders, dropped or chosen. */
export function DropZone({ projectId, isLarge, onStored }: DropZoneProps) {
  const [isOver, setOver] = useState(false)
  const fileInput = useRef<HTMLInputElement>(null)
  const folderInput = useRef<HTMLInputElement>(null)

  const take = (input: HTMLInputElement) => {
    uploadFiles(projectId, [...(input.files ?? [])].filter(isVisible), onStored)
    // The same files can then be chosen again.
    input.value = ''
  }

  return (
    <section
      class={`drop-zone${isLarge ? ' large' : ''}${isOver ? ' over' : ''}`}
      data-testid="drop-zone"
      aria-label="Add images"
      onDragOver={(event) => {
        event.preventDefault()
        setOver(true)
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault()
        setOver(false)
        if (event.dataTransfer === null) return
        filesOfDrop(event.dataTransfer).then((files) => uploadFiles(projectId, files, onStored), report)
      }}
    >
      <ImagesIcon />
      <span>Drop images or a folder here</span>
      <span class="row">
        <button type="button" class="button" onClick={() => fileInput.current?.click()}>
          Choose files
        </button>
        <button type="button" class="button" onClick={() => folderInput.current?.click()}>
          Choose a folder
        </button>
      </span>
      <span class="faint small">JPEG, PNG, WebP, TIFF, BMP</span>
      <input
        ref={fileInput}
        type="file"
        multiple
        hidden
        aria-label="Image files"
        data-testid="file-input"
        onChange={(event) => take(event.currentTarget)}
      />
      <input
        ref={(input) => {
          folderInput.current = input
          if (input !== null) input.webkitdirectory = true
        }}
        type="file"
        multiple
        hidden
        aria-label="A folder of images"
        onChange={(event) => take(event.currentTarget)}
      />
    </section>
  )
}
