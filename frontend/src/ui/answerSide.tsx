import { answerCount, answerWith, BATCH, leftInBatch, letters, pace, placeInBatch } from '../state/answering'
import { classes } from '../state/project'
import { question } from '../state/questions'
import { plural } from './format'
import { Inset } from './inset'

/** The classes with both keys that answer: the digit of draw mode, and the class's letter. */
export function AnswerLegend() {
  return (
    <section class="panel grow" aria-label="Classes and their keys">
      <div class="panel-title">
        <span>Which class?</span>
      </div>
      <ul class="class-list" data-testid="answer-legend">
        {classes.value.map((one, index) => {
          const digit = index < 10 ? String((index + 1) % 10) : null
          const letter = letters.value.get(one.class_uid) ?? null
          return (
            <li
              key={one.class_uid}
              class="class-row"
              data-testid="answer-class"
              data-class-uid={one.class_uid}
              data-name={one.name}
              data-digit={digit}
              data-letter={letter}
            >
              <button
                type="button"
                class="choose"
                disabled={question.value === null}
                title={`Answer with ${one.name}`}
                onClick={() => answerWith(one.class_uid)}
              >
                <span class="swatch" style={{ background: one.colour }} />
                <span class="grow cut" dir="auto">
                  {one.name}
                </span>
                {digit !== null && <kbd>{digit}</kbd>}
                {letter !== null && <kbd>{letter.toUpperCase()}</kbd>}
              </button>
            </li>
          )
        })}
      </ul>
      <ul class="answer-keys small">
        {KEYS.map(([key, words]) => (
          <li key={key}>
            <span>{words}</span>
            <kbd>{key}</kbd>
          </li>
        ))}
      </ul>
    </section>
  )
}

const KEYS = [
  ['Enter', 'the guess is right'],
  ['Space', 'skip: cannot tell'],
  ['Del', 'void: mixed, on a border'],
  ['⌫', 'take the last one back'],
  ['`', 'hold: the bare image'],
  ['+ -', 'less, more around it'],
  ['Esc', 'leave'],
] as const

/** Where in the image the pixel lies, and how far the batch is. */
export function AnswerProgress() {
  const asked = question.value
  return (
    <section class="panel" aria-label="Progress of the answers">
      <div class="panel-title">
        <span class="cut" dir="auto">
          {asked?.image_name ?? 'Image'}
        </span>
      </div>
      <Inset />
      <div
        class="row between"
        data-testid="answer-progress"
        data-place={placeInBatch.value}
        data-left={leftInBatch.value}
        data-answers={answerCount.value}
      >
        <span>
          Pixel {placeInBatch.value} of {BATCH}
        </span>
        <span class="hint">{plural(leftInBatch.value, 'pixel')} to go</span>
      </div>
      <div class="bar" aria-hidden="true">
        <div style={{ width: `${(100 * (placeInBatch.value - 1)) / BATCH}%` }} />
      </div>
      <div class="row between">
        <span class="hint">{plural(answerCount.value, 'answer')}</span>
        <span class="hint number" data-testid="answer-pace">
          {pace.value === null ? '' : `${pace.value.toFixed(0)} per minute`}
        </span>
      </div>
    </section>
  )
}
