import { useEffect, useRef } from 'preact/hooks'
import { images as imageApi } from '../api/client'
import { image } from '../state/annotation'
import { neighbours } from '../state/imageList'
import { LeftIcon, RightIcon } from './icons'
import { Link } from './link'

interface FilmstripProps {
  onPrevious: () => void
  onNext: () => void
}

/** The images around the open one. */
export function Filmstrip({ onPrevious, onNext }: FilmstripProps) {
  const list = useRef<HTMLUListElement>(null)
  const openId = image.value?.image_id
  const shown = neighbours.value
  useEffect(() => {
    list.current?.querySelector('[aria-current="true"]')?.scrollIntoView({ block: 'nearest', inline: 'center' })
  }, [openId, shown])
  const at = shown.findIndex((one) => one.image_id === openId)
  return (
    <nav class="filmstrip" aria-label="Images">
      <button
        type="button"
        class="button icon"
        data-testid="previous-image"
        aria-label="Previous image (D)"
        title="Previous image (D)"
        disabled={at <= 0}
        onClick={onPrevious}
      >
        <LeftIcon />
      </button>
      <ul ref={list}>
        {shown.map((one) => {
          const count = one.label_count
          return (
            <li key={one.image_id}>
              <Link
                to={{ page: 'annotate', projectId: one.project_id, imageId: one.image_id }}
                class="filmstrip-link"
                aria-current={one.image_id === openId ? 'true' : undefined}
                title={one.name}
              >
                <img src={imageApi.thumbnailAddress(one)} alt={one.name} loading="lazy" decoding="async" />
                {count > 0 && <span class="count number">{count}</span>}
              </Link>
            </li>
          )
        })}
      </ul>
      <button
        type="button"
        class="button icon"
        data-testid="next-image"
        aria-label="Next image (F)"
        title="Next image (F)"
        disabled={at < 0 || at === shown.length - 1}
        onClick={onNext}
      >
        <RightIcon />
      </button>
    </nav>
  )
}
