import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { images as imageApi } from '../api/client'
import type { Id, ImageInfo, ModelVersion } from '../api/types'
import { composePlane } from '../canvas/layers/plane'
import { predictionColours } from '../canvas/layers/prediction'
import { image as openImage } from '../state/annotation'
import { imageList } from '../state/imageList'
import { report } from '../state/notices'
import { colourOfClass } from '../state/project'
import { differenceOf, type VersionView, watchVersionMap } from '../state/versionMaps'
import { percent, plural } from './format'

/** Longest side of what is painted here: a look at the whole picture needs no more. */
const LONGEST_SIDE = 1600
const OPACITY = 0.6
const SMALL_STEP = 2
const LARGE_STEP = 10

/** Two versions on one picture, either side of a line that can be moved. */
export function VersionComparison({ versions }: { versions: readonly ModelVersion[] }) {
  const [wanted, setWanted] = useState<{ left?: number; right?: number; imageId?: Id }>({})
  const numbers = versions.map((one) => one.version)
  const right = numbers.find((one) => one === wanted.right) ?? numbers[0]
  const left = numbers.find((one) => one === wanted.left) ?? numbers[1]
  const choices = imageList.value.images
  const picture = choices.find((one) => one.image_id === wanted.imageId) ?? firstToLookAt(choices)
  if (left === undefined || right === undefined || picture === undefined) return null
  return (
    <section class="card comparison" aria-labelledby="comparison-title" data-testid="comparison">
      <h2 id="comparison-title">Compare two versions</h2>
      <div class="comparison-choices">
        <VersionChoice
          side="left"
          value={left}
          versions={versions}
          onChoose={(number) => setWanted({ ...wanted, left: number })}
        />
        <label class="grow">
          <span class="sr-only">Picture</span>
          <select
            class="field small"
            data-testid="compare-image"
            value={picture.image_id}
            onChange={(event) => setWanted({ ...wanted, imageId: event.currentTarget.value })}
          >
            {choices.map((one) => (
              <option key={one.image_id} value={one.image_id}>
                {one.name}
              </option>
            ))}
          </select>
        </label>
        <VersionChoice
          side="right"
          value={right}
          versions={versions}
          onChoose={(number) => setWanted({ ...wanted, right: number })}
        />
      </div>
      <Curtain
        key={`${picture.image_id} ${picture.sha256}`}
        picture={picture}
        left={versions.find((one) => one.version === left) as ModelVersion}
        right={versions.find((one) => one.version === right) as ModelVersion}
      />
    </section>
  )
}

/** The picture that was open last, else the one that the model is least sure of. */
function firstToLookAt(choices: readonly ImageInfo[]): ImageInfo | undefined {
  const last = choices.find((one) => one.image_id === openImage.value?.image_id)
  return last ?? choices.toSorted((a, b) => (b.uncertainty ?? -1) - (a.uncertainty ?? -1))[0]
}

interface ChoiceProps {
  side: 'left' | 'right'
  value: number
  versions: readonly ModelVersion[]
  onChoose: (version: number) => void
}

function VersionChoice({ side, value, versions, onChoose }: ChoiceProps) {
  return (
    <label>
      <span class="sr-only">Version on the {side}</span>
      <select
        class="field small"
        data-testid={`compare-${side}`}
        value={String(value)}
        onChange={(event) => onChoose(Number(event.currentTarget.value))}
      >
        {versions.map(({ version }) => (
          <option key={version} value={String(version)}>
            Version {version}
          </option>
        ))}
      </select>
    </label>
  )
}

interface CurtainProps {
  picture: ImageInfo
  left: ModelVersion
  right: ModelVersion
}

function Curtain({ picture, left, right }: CurtainProps) {
  const [position, setPosition] = useState(50)
  const stage = useRef<HTMLDivElement>(null)
  const bitmap = useBitmap(picture)
  const leftView = useVersionView(picture.image_id, left.version)
  const rightView = useVersionView(picture.image_id, right.version)
  const difference = useMemo(
    () => (leftView.kind === 'ready' && rightView.kind === 'ready' ? differenceOf(leftView, rightView) : null),
    [leftView, rightView],
  )
  const moveTo = (clientX: number) => {
    const box = stage.current?.getBoundingClientRect()
    if (box !== undefined && box.width > 0) setPosition(held((100 * (clientX - box.left)) / box.width))
  }
  const onKeyDown = (event: KeyboardEvent) => {
    const next = positionAfter(event.key, event.shiftKey, position)
    if (next === null) return
    event.preventDefault()
    event.stopPropagation()
    setPosition(next)
  }
  return (
    <>
      <div class="comparison-names">
        <Name side="left" version={left} />
        <Name side="right" version={right} />
      </div>
      <div
        ref={stage}
        class="comparison-stage"
        style={{ '--ratio': picture.width / picture.height, '--at': `${position}%` }}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId)
          moveTo(event.clientX)
        }}
        onPointerMove={(event) => {
          if (event.currentTarget.hasPointerCapture(event.pointerId)) moveTo(event.clientX)
        }}
      >
        <Side side="left" picture={picture} bitmap={bitmap} view={leftView} />
        <Side side="right" picture={picture} bitmap={bitmap} view={rightView} />
        <div
          role="slider"
          tabIndex={0}
          class="comparison-line"
          data-testid="comparison-slider"
          aria-label={`Line between version ${left.version} and version ${right.version}`}
          aria-orientation="horizontal"
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={Math.round(position)}
          aria-valuetext={`version ${left.version} on ${Math.round(position)} % of the width`}
          onKeyDown={onKeyDown}
        />
        <Waiting side="left" version={left} view={leftView} />
        <Waiting side="right" version={right} view={rightView} />
      </div>
      <p class="hint small" role="status" data-testid="comparison-difference">
        {difference === null
          ? 'Move the line with the mouse, or with the arrow keys.'
          : left.version === right.version
            ? 'Both sides show the same version: choose another one.'
            : `They name different classes on ${percent(difference, 1)} of the picture.`}
      </p>
    </>
  )
}

const held = (position: number) => Math.min(100, Math.max(0, position))

/** Where a key moves the line; null: it is none of ours. */
export function positionAfter(key: string, isShift: boolean, position: number): number | null {
  const step = isShift ? LARGE_STEP : SMALL_STEP
  if (key === 'ArrowLeft' || key === 'ArrowDown') return held(position - step)
  if (key === 'ArrowRight' || key === 'ArrowUp') return held(position + step)
  if (key === 'PageDown') return held(position - LARGE_STEP)
  if (key === 'PageUp') return held(position + LARGE_STEP)
  if (key === 'Home') return 0
  if (key === 'End') return 100
  return null
}

function Name({ side, version }: { side: 'left' | 'right'; version: ModelVersion }) {
  return (
    <div class={side} data-testid={`comparison-name-${side}`}>
      <strong>Version {version.version}</strong>
      <span class="hint small">
        {plural(version.label_count, 'label')} · accuracy {accuracyOf(version)}
      </span>
    </div>
  )
}

export function accuracyOf({ metrics }: ModelVersion): string {
  if (metrics.accuracy === null || metrics.held_out_pixels === 0) return 'not measured: too few labels'
  return `${percent(metrics.accuracy)} of ${plural(metrics.held_out_pixels, 'pixel')}`
}

interface SideProps {
  side: 'left' | 'right'
  picture: ImageInfo
  bitmap: ImageBitmap | null
  view: VersionView
}

/** The picture with what one version sees in it; the style sheet shows the part on its side of the line. */
function Side({ side, picture, bitmap, view }: SideProps) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const ready = view.kind === 'ready' ? view : null
  const shrink = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height))
  const width = Math.max(1, Math.round(picture.width * shrink))
  const height = Math.max(1, Math.round(picture.height * shrink))
  const palette = ready?.map.class_uids.map(colourOfClass).join(' ') ?? ''
  useEffect(() => {
    const context = canvas.current?.getContext('2d')
    if (context == null) return
    context.clearRect(0, 0, width, height)
    if (bitmap !== null) context.drawImage(bitmap, 0, 0, width, height)
    if (ready !== null) paint(context, ready, palette.split(' '), width, height)
  }, [bitmap, ready, palette, width, height])
  return (
    <canvas
      ref={canvas}
      class={`comparison-side ${side}`}
      width={width}
      height={height}
      role="img"
      aria-label={
        ready === null
          ? `${picture.name}, not drawn yet`
          : `${picture.name} as version ${ready.map.model_version} sees it`
      }
      data-testid={`comparison-${side}`}
      data-state={view.kind}
      data-map-version={ready?.map.model_version ?? undefined}
    />
  )
}

function paint(
  context: CanvasRenderingContext2D,
  { map, prediction }: { map: { width: number; height: number }; prediction: Uint8Array },
  palette: readonly string[],
  width: number,
  height: number,
): void {
  const whole = { x: 0, y: 0, width: map.width, height: map.height }
  const pixels = new ImageData(map.width, map.height)
  const out = new Uint32Array(pixels.data.buffer)
  composePlane({ bytes: prediction, ...map }, whole, 1, predictionColours(palette, null), out)
  const layer = document.createElement('canvas')
  layer.width = map.width
  layer.height = map.height
  layer.getContext('2d')?.putImageData(pixels, 0, 0)
  context.globalAlpha = OPACITY
  context.imageSmoothingEnabled = false
  context.drawImage(layer, 0, 0, width, height)
  context.globalAlpha = 1
}

function Waiting({ side, version, view }: { side: 'left' | 'right'; version: ModelVersion; view: VersionView }) {
  if (view.kind === 'ready') return null
  const isBad = view.kind === 'failed'
  return (
    <p
      class={`comparison-note floating small ${side}${isBad ? ' mistake' : ''}`}
      role={isBad ? 'alert' : 'status'}
      data-testid={`comparison-waiting-${side}`}
    >
      {isBad
        ? view.sentence
        : view.kind === 'drawing' && view.isQueued
          ? `Version ${version.version} draws this picture as soon as the worker is free.`
          : `Version ${version.version} draws this picture…`}
    </p>
  )
}

function useVersionView(imageId: Id, version: number): VersionView {
  const [view, setView] = useState<VersionView>({ kind: 'asking' })
  useEffect(() => watchVersionMap(imageId, version, setView), [imageId, version])
  return view
}

/** The picture, decoded; null while it is on its way. */
function useBitmap(picture: ImageInfo): ImageBitmap | null {
  const [bitmap, setBitmap] = useState<ImageBitmap | null>(null)
  useEffect(() => {
    const aborter = new AbortController()
    let mine: ImageBitmap | null = null
    const load = async () => {
      try {
        mine = await createImageBitmap(await imageApi.fetchFile(picture, aborter.signal))
        if (aborter.signal.aborted) mine.close()
        else setBitmap(mine)
      } catch (error) {
        if (!aborter.signal.aborted) report(error)
      }
    }
    void load()
    return () => {
      aborter.abort()
      mine?.close()
    }
  }, [picture.image_id, picture.sha256])
  return bitmap
}
