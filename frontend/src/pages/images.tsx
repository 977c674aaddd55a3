import { useEffect, useRef, useState } from 'preact/hooks'
import { images as imageApi } from '../api/client'
import type { Id, ImageInfo } from '../api/types'
import { imageList, isListLoaded, loadFirstImages, loadMoreImages, watchImages } from '../state/imageList'
import { report } from '../state/notices'
import { isUploading } from '../state/uploads'
import { DropZone } from '../ui/dropZone'
import { TrashIcon } from '../ui/icons'
import { Link } from '../ui/link'
import { ProjectPage } from '../ui/projectPage'
import { UploadPanel } from '../ui/uploadPanel'

/** The images of a project. */
export function ImagesPage({ projectId }: { projectId: Id }) {
  useEffect(
    () => watchImages(projectId, (kind) => kind === 'images' || kind === 'labels' || kind === 'version'),
    [projectId],
  )

  const { images, total } = imageList.value
  const [first] = images
  const isEmpty = isListLoaded.value && total === 0
  const refresh = () => void loadFirstImages(projectId)

  return (
    <ProjectPage
      projectId={projectId}
      page="images"
      title="Images"
      hint={<p class="hint number">{countSentence(total, isListLoaded.value)}</p>}
      action={
        first !== undefined && (
          <Link
            to={{
              page: 'annotate',
              projectId,
              imageId: (images.find((one) => one.label_count === 0) ?? first).image_id,
            }}
            class="button primary tall"
            data-testid="start-annotating"
          >
            Start annotating
          </Link>
        )
      }
    >
      <DropZone projectId={projectId} isLarge={isEmpty && !isUploading.value} onStored={refresh} />
      <UploadPanel />
      <ul class="thumbnails">
        {images.map((image) => (
          <Thumbnail key={image.image_id} image={image} onRemoved={refresh} />
        ))}
      </ul>
      <MoreWhenSeen projectId={projectId} count={images.length} />
    </ProjectPage>
  )
}

function countSentence(total: number, isLoaded: boolean): string {
  if (!isLoaded) return 'Loading…'
  if (total === 0) return 'Add images to begin.'
  return `${total.toLocaleString('en')} ${total === 1 ? 'image' : 'images'}`
}

function Thumbnail({ image, onRemoved }: { image: ImageInfo; onRemoved: () => void }) {
  const [isSure, setSure] = useState(false)
  const remove = async () => {
    if (!isSure) return setSure(true)
    try {
      await imageApi.remove(image.image_id)
      onRemoved()
    } catch (error) {
      report(error)
    }
  }
  return (
    <li>
      <figure class="card thumbnail" data-testid="thumbnail" data-image-id={image.image_id}>
        <img src={imageApi.thumbnailAddress(image)} alt="" loading="lazy" decoding="async" />
        <figcaption>
          <Link
            to={{ page: 'annotate', projectId: image.project_id, imageId: image.image_id }}
            class="cut cover"
            dir="auto"
            title={image.name}
          >
            {image.name}
          </Link>
          <span class="row between small faint number">
            <span>
              {image.width} × {image.height}
            </span>
            <span>{image.label_count === 0 ? 'no labels' : labelsOf(image.label_count)}</span>
          </span>
        </figcaption>
        <button
          type="button"
          class={isSure ? 'button remove danger' : 'button icon remove'}
          aria-label={isSure ? `Really remove ${image.name} with its labels` : `Remove ${image.name}`}
          title="Remove from the project"
          onClick={() => void remove()}
          onBlur={() => setSure(false)}
        >
          {isSure ? 'Remove?' : <TrashIcon />}
        </button>
      </figure>
    </li>
  )
}

const labelsOf = (count: number) => `${count.toLocaleString('en')} ${count === 1 ? 'label' : 'labels'}`

/** Loads the next window when the end of the grid comes into view. */
function MoreWhenSeen({ projectId, count }: { projectId: Id; count: number }) {
  const end = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const element = end.current
    if (element === null) return
    const watcher = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) void loadMoreImages(projectId)
      },
      { rootMargin: '600px' },
    )
    watcher.observe(element)
    return () => watcher.disconnect()
  }, [projectId, count])
  return <div ref={end} />
}
