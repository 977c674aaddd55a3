import { signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import type { Evaluation, Figure, Id, VersionEvaluation } from '../api/types'
import { evaluation, watchEvaluation } from '../state/evaluation'
import { watchImages } from '../state/imageList'
import { colourOfClass, nameOfClass } from '../state/project'
import { Curve, type CurvePoint, type CurveSeries } from '../ui/curve'
import { FigureBar, FigureText } from '../ui/figure'
import { duration, plural } from '../ui/format'
import { ProjectPage } from '../ui/projectPage'

type Measure = 'overlap' | 'right'
const along = signal<'labels' | 'minutes'>('labels')
const measure = signal<Measure>('overlap')
/** The version whose classes are shown; null: the newest. */
const chosen = signal<number | null>(null)

/** How good the model is, in numbers that say how sure they are. */
export function EvaluationPage({ projectId }: { projectId: Id }) {
  useEffect(() => watchImages(projectId, (kind) => kind === 'images'), [projectId])
  useEffect(() => {
    chosen.value = null
    return watchEvaluation(projectId)
  }, [projectId])
  const found = evaluation.value
  return (
    <ProjectPage
      projectId={projectId}
      page="evaluation"
      title="How good is the model?"
      hint={
        <p class="hint">
          Some questions are about pixels drawn at random from all images, and a part of the answers is kept away from
          every training. Only those measure the model fairly. In brackets stands where the true number lies, 95 times
          out of 100.
        </p>
      }
    >
      {found === null ? <p class="hint">Counting…</p> : <Numbers found={found} />}
    </ProjectPage>
  )
}

function Numbers({ found }: { found: Evaluation }) {
  const newest = found.versions.at(-1)
  const shown = found.versions.find(({ version }) => version === chosen.value) ?? newest
  return (
    <div class="stack evaluation">
      <Advice found={found} />
      <CurveCard found={found} />
      {shown === undefined ? (
        <Counts found={found} />
      ) : (
        <>
          {found.versions.length > 1 && <VersionChoice versions={found.versions} shown={shown} />}
          <Classes found={found} shown={shown} />
          <div class="evaluation-pair">
            <Confusion shown={shown} />
            <Calibration shown={shown} />
          </div>
          <Unseen shown={shown} />
        </>
      )}
      <div class="evaluation-pair">
        <Guidance found={found} />
        <Pace found={found} />
      </div>
    </div>
  )
}

/** What to do now. */
function Advice({ found: { stop, next_class } }: { found: Evaluation }) {
  return (
    <section class="card evaluation-card" data-testid="advice">
      <h2 class="row">
        {stop.stop ? 'You can stop' : 'More labels may help'}
        {stop.stop && <span class="badge accent">the curve is flat</span>}
      </h2>
      <p data-testid="stop-signal" data-stop={stop.stop}>
        {stop.why}
      </p>
      <p data-testid="next-class" data-class={next_class.class_uid}>
        <strong>Next: </strong>
        {next_class.why}
      </p>
    </section>
  )
}

function seriesOf(found: Evaluation, what: Measure, where: 'labels' | 'minutes'): CurveSeries[] {
  const x = (point: { label_count: number; active_minutes: number }) =>
    where === 'labels' ? point.label_count : point.active_minutes
  const ofVersions = (figureOf: (version: VersionEvaluation) => Figure): CurvePoint[] =>
    found.versions.map((version) => ({ x: x(version), figure: figureOf(version), name: `version ${version.version}` }))
  if (what === 'right') {
    const onScreen = found.on_screen.map((point, i) => ({ x: x(point), figure: point.right, name: `answers ${i + 1}` }))
    return [
      { name: 'versions', kind: 'estimate', points: ofVersions(({ accuracy }) => accuracy) },
      { name: 'what was on screen', kind: 'screen', points: onScreen },
    ]
  }
  const withTruth = found.versions.filter(({ truth }) => truth !== null)
  return [
    { name: 'from random clicks', kind: 'estimate', points: ofVersions(({ mean_iou }) => mean_iou) },
    {
      name: 'against true masks',
      kind: 'truth',
      points: withTruth.flatMap((version) =>
        version.truth === null
          ? []
          : [{ x: x(version), figure: version.truth.mean_iou, name: `version ${version.version}, true masks` }],
      ),
    },
  ]
}

function CurveCard({ found }: { found: Evaluation }) {
  const series = seriesOf(found, measure.value, along.value).filter(({ points }) => points.length > 0)
  const newest = found.versions.at(-1)
  const isShare = measure.value === 'right'
  const hasValue = series.some(({ points }) => points.some(({ figure }) => figure.value !== null))
  return (
    <section class="card evaluation-card">
      <div class="row between">
        <h2>{isShare ? 'Pixels that are right' : 'Overlap, mean over classes'}</h2>
        <span class="row">
          <Choice
            name="What is measured"
            value={measure.value}
            options={[
              ['overlap', 'Overlap'],
              ['right', 'Right pixels'],
            ]}
            choose={(value) => {
              measure.value = value
            }}
          />
          <Choice
            name="Along"
            value={along.value}
            options={[
              ['labels', 'Labels'],
              ['minutes', 'Minutes'],
            ]}
            choose={(value) => {
              along.value = value
            }}
          />
        </span>
      </div>
      <p class="hint small">
        {isShare
          ? 'Out of 100 pixels anywhere in your images, so many have the right class.'
          : 'For each class, the area where model and truth agree, as a part of the area that either of them names (IoU); then the mean over the classes, so that small ones count as much as large ones. 1 is perfect.'}
      </p>
      <div data-testid="curve" data-along={along.value}>
        {hasValue && <Curve series={series} isShare={isShare} along={along.value} />}
      </div>
      {newest === undefined ? (
        <p class="hint" data-testid="curve-missing">
          There is no model version yet: the first point comes with the first training.
        </p>
      ) : (
        <dl class="pairs wide">
          <div>
            <dt>version {newest.version}, from random clicks</dt>
            <dd>
              <FigureText figure={isShare ? newest.accuracy : newest.mean_iou} isShare={isShare} testId="curve" />
              {!isShare && newest.mean_over.length > 0 && newest.mean_over.length < newest.classes.length && (
                <span class="hint small">
                  {' '}
                  over {newest.mean_over.length} of {newest.classes.length} classes; of the others too few clicks are
                  known
                </span>
              )}
            </dd>
          </div>
          {newest.truth !== null && !isShare && (
            <div>
              <dt>
                version {newest.version}, against the true masks of {plural(newest.truth.images, 'image')}
              </dt>
              <dd>
                <FigureText figure={newest.truth.mean_iou} testId="curve-true" />
                {newest.truth.same_classes !== null && newest.mean_over.length < newest.classes.length && (
                  <span class="hint small">
                    {' '}
                    over all classes in the masks; {newest.truth.same_classes.toFixed(2)} over the{' '}
                    {plural(newest.mean_over.length, 'class', 'classes')} beside
                  </span>
                )}
              </dd>
            </div>
          )}
        </dl>
      )}
    </section>
  )
}

interface ChoiceProps<T extends string> {
  name: string
  value: T
  options: readonly (readonly [T, string])[]
  choose: (value: T) => void
}

function Choice<T extends string>({ name, value, options, choose }: ChoiceProps<T>) {
  return (
    <fieldset class="segments plain" aria-label={name}>
      {options.map(([option, words]) => (
        <button
          key={option}
          type="button"
          aria-pressed={option === value}
          data-testid={`show-${option}`}
          onClick={() => choose(option)}
        >
          {words}
        </button>
      ))}
    </fieldset>
  )
}

function VersionChoice({ versions, shown }: { versions: readonly VersionEvaluation[]; shown: VersionEvaluation }) {
  return (
    <label class="row evaluation-choice">
      Below: version
      <select
        class="field small"
        data-testid="evaluated-version"
        value={shown.version}
        onChange={(event) => {
          chosen.value = Number(event.currentTarget.value)
        }}
      >
        {versions.toReversed().map(({ version }) => (
          <option key={version} value={version}>
            {version}
          </option>
        ))}
      </select>
    </label>
  )
}

/** Each class: its overlap, its labels. */
function Classes({ found, shown }: { found: Evaluation; shown: VersionEvaluation }) {
  const counts = new Map(found.label_counts.map((count) => [count.class_uid, count]))
  const hasTruth = shown.truth !== null
  return (
    <section class="card evaluation-card">
      <h2>Class by class</h2>
      <table class="evaluation-table" data-testid="classes">
        <thead>
          <tr>
            <th scope="col">class</th>
            <th scope="col">labels</th>
            <th scope="col">of them kept for measuring</th>
            <th scope="col" colSpan={2}>
              overlap by version {shown.version}
            </th>
            {hasTruth && <th scope="col">against true masks</th>}
          </tr>
        </thead>
        <tbody>
          {shown.classes.map(({ class_uid, iou, true_iou }) => (
            <tr key={class_uid} data-testid="class-figures" data-class={class_uid}>
              <th scope="row">
                <span class="row">
                  <span class="swatch" style={{ background: colourOfClass(class_uid) }} />
                  <span dir="auto">{nameOfClass(class_uid)}</span>
                </span>
              </th>
              <td class="number">{counts.get(class_uid)?.labels ?? 0}</td>
              <td class="number">{counts.get(class_uid)?.held_out ?? 0}</td>
              <td class="evaluation-bar-cell">
                <FigureBar figure={iou} colour={colourOfClass(class_uid)} />
              </td>
              <td>
                <FigureText figure={iou} />
              </td>
              {hasTruth && <td class="number">{true_iou === null ? 'not in the masks' : true_iou.toFixed(2)}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

/** Before the first version: labels only. */
function Counts({ found }: { found: Evaluation }) {
  return (
    <section class="card evaluation-card">
      <h2>Labels so far</h2>
      <dl class="pairs">
        {found.label_counts.map(({ class_uid, labels, held_out }) => (
          <div key={class_uid}>
            <dt dir="auto">{nameOfClass(class_uid)}</dt>
            <dd class="number">
              {labels}
              {held_out > 0 && <span class="faint"> ({held_out} kept for measuring)</span>}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  )
}

/** What is taken for what. */
function Confusion({ shown }: { shown: VersionEvaluation }) {
  const { class_uids: classUids, counts } = shown.confusion
  const total = counts.flat().reduce((sum, count) => sum + count, 0)
  const largest = Math.max(1, ...counts.flat())
  return (
    <section class="card evaluation-card">
      <h2>What is taken for what</h2>
      {total === 0 ? (
        <p class="hint">No random click that this version has not learnt from is known yet.</p>
      ) : (
        <div class="evaluation-scroll">
          <table class="evaluation-table confusion" data-testid="confusion">
            <caption class="hint small">Rows: what you said. Columns: what version {shown.version} says.</caption>
            <thead>
              <tr>
                <td />
                {classUids.map((uid) => (
                  <th key={uid} scope="col" dir="auto">
                    {nameOfClass(uid)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {classUids.map((said, row) => (
                <tr key={said}>
                  <th scope="row" dir="auto">
                    {nameOfClass(said)}
                  </th>
                  {classUids.map((predicted, column) => {
                    const count = counts[row]?.[column] ?? 0
                    return (
                      <td
                        key={predicted}
                        class={row === column ? 'number agrees' : 'number differs'}
                        style={{ '--share': `${Math.round((100 * count) / largest)}%` }}
                      >
                        {count === 0 ? '' : count}
                      </td>
                    )
                  })}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}

/** Is it as often right as it thinks? */
function Calibration({ shown }: { shown: VersionEvaluation }) {
  const { bins, error, error_by_chance: byChance, overconfidence } = shown.calibration
  return (
    <section class="card evaluation-card" data-testid="calibration">
      <h2>Is it right as often as it is sure?</h2>
      {bins.length === 0 ? (
        <p class="hint">{error.missing}</p>
      ) : (
        <>
          <table class="evaluation-table">
            <thead>
              <tr>
                <th scope="col">it is sure</th>
                <th scope="col" colSpan={2}>
                  and right
                </th>
                <th scope="col">clicks</th>
              </tr>
            </thead>
            <tbody>
              {bins.map(({ low, sure, right }) => (
                <tr key={low}>
                  <td class="number">{Math.round(100 * sure)} %</td>
                  <td class="evaluation-bar-cell">
                    <FigureBar figure={right} colour="var(--accent)" />
                  </td>
                  <td>
                    <FigureText figure={right} isShare />
                  </td>
                  <td class="number">{right.clicks}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <p>
            How sure minus how often right: <FigureText figure={overconfidence} isShare testId="overconfidence" />
          </p>
          <p>
            Mean distance of the two (ECE): <FigureText figure={error} testId="calibration-error" />
            {byChance !== null && (
              <span class="hint small"> Chance alone gives up to {byChance.toFixed(2)} with so many clicks.</span>
            )}
          </p>
        </>
      )}
    </section>
  )
}

/** Clicks that came after the training: test, then train. */
function Unseen({ shown }: { shown: VersionEvaluation }) {
  const rows = [
    ['random questions', 'the truth about all pixels', shown.after.random, shown.on_screen.random],
    [
      'guided questions',
      'harder than most pixels, so lower than the truth',
      shown.after.guided,
      shown.on_screen.guided,
    ],
    ['pixels of your own choice', 'nobody knows how hard', shown.after.free, shown.on_screen.free],
  ] as const
  return (
    <section class="card evaluation-card">
      <h2>On clicks that came later</h2>
      <p class="hint small">
        Each new click tests the picture before anything learns from it. What was on screen is this version’s
        prediction, or the quick fit that stands on it.
      </p>
      <table class="evaluation-table" data-testid="unseen">
        <thead>
          <tr>
            <th scope="col">clicks on</th>
            <th scope="col">version {shown.version} was right</th>
            <th scope="col">the screen was right</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([name, meaning, version, screen]) => (
            <tr key={name}>
              <th scope="row">
                {name}
                <span class="faint small"> {meaning}</span>
              </th>
              <td>
                <FigureText figure={version} isShare />
              </td>
              <td>
                <FigureText figure={screen} isShare />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

function Guidance({ found: { guidance } }: { found: Evaluation }) {
  return (
    <section class="card evaluation-card" data-testid="guidance">
      <h2>What guided questions are worth</h2>
      <p data-testid="guidance-said">{guidance.said}</p>
      <dl class="pairs">
        <div>
          <dt>guided answers that corrected the model</dt>
          <dd>
            <FigureText figure={guidance.guided} isShare />
          </dd>
        </div>
        <div>
          <dt>random answers that did</dt>
          <dd>
            <FigureText figure={guidance.random} isShare />
          </dd>
        </div>
      </dl>
    </section>
  )
}

function Pace({ found: { work, label_count } }: { found: Evaluation }) {
  return (
    <section class="card evaluation-card" data-testid="pace">
      <h2>Your pace</h2>
      {work.missing !== null && <p class="hint">{work.missing}</p>}
      <dl class="pairs number">
        {work.seconds_per_answer !== null && (
          <div>
            <dt>seconds per click</dt>
            <dd data-testid="seconds-per-click">{work.seconds_per_answer.toFixed(1)}</dd>
          </div>
        )}
        {work.answers_per_minute !== null && (
          <div>
            <dt>clicks per minute</dt>
            <dd>{work.answers_per_minute.toFixed(0)}</dd>
          </div>
        )}
        <div>
          <dt>work, without pauses</dt>
          <dd>{duration(60 * work.active_minutes)}</dd>
        </div>
        <div>
          <dt>labels</dt>
          <dd>{label_count.toLocaleString('en')}</dd>
        </div>
      </dl>
    </section>
  )
}
