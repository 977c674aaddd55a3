import { VOID } from '../labels/events'
import { imageProblem } from '../state/annotation'
import {
  acceptGuess,
  answerNote,
  answerWith,
  canTakeBack,
  isAnswerable,
  isAnswering,
  leaveAnswering,
  skip,
  spoken,
  takeBack,
} from '../state/answering'
import { colourOfClass, nameOfClass } from '../state/project'
import { guess, isAsking, question, whyNone } from '../state/questions'
import { percent } from './format'
import { CloseIcon } from './icons'

/** Answer mode's question: the model's guess, and the keys that say otherwise. */
export function AnswerPrompt() {
  if (!isAnswering.value) return null
  const asked = question.value
  return (
    <section
      class="floating answer-prompt"
      data-testid="answer-prompt"
      data-question-id={asked?.question_id}
      data-image-id={asked?.image_id}
      data-asked={asked?.asked}
      aria-label="Answer mode"
    >
      <div class="answer-question">
        {asked === null ? <NoQuestion /> : <Guess />}
        <p
          class={answerNote.value === null ? 'hint small cut' : 'answer-note small'}
          data-testid="answer-note"
          title={answerNote.value ?? hintNow()}
        >
          {answerNote.value ?? hintNow()}
        </p>
      </div>
      <div class="question-actions">
        {asked !== null && (
          <>
            <button
              type="button"
              class="button"
              data-testid="answer-skip"
              title="Cannot tell: this pixel is not asked about again"
              onClick={skip}
            >
              Skip <kbd>Space</kbd>
            </button>
            <button
              type="button"
              class="button"
              data-testid="answer-void"
              title="Mixed, or on a border: the training leaves this pixel out"
              onClick={() => answerWith(VOID)}
            >
              Void <kbd>Del</kbd>
            </button>
          </>
        )}
        <button
          type="button"
          class="button"
          data-testid="answer-back"
          title="Take the last answer back, and answer it again"
          disabled={!canTakeBack.value}
          onClick={takeBack}
        >
          Back <kbd>⌫</kbd>
        </button>
        <button
          type="button"
          class="button icon quiet"
          data-testid="answer-leave"
          aria-label="Leave Answer mode (Esc)"
          title="Leave Answer mode (Esc)"
          onClick={leaveAnswering}
        >
          <CloseIcon />
        </button>
      </div>
    </section>
  )
}

/** What a screen reader hears. Always on the page, for one that comes with its words goes unheard. */
export function AnswerVoice() {
  return (
    <>
      <p class="sr-only" aria-live="polite" data-testid="answer-spoken">
        {spoken.value}
      </p>
      <p class="sr-only" aria-live="assertive">
        {answerNote.value}
      </p>
    </>
  )
}

function Guess() {
  const guessed = guess.value
  if (guessed === null) return <strong class="answer-guess">Which class is this pixel?</strong>
  const name = nameOfClass(guessed.classUid)
  return (
    <div class="row">
      <span class="swatch large" style={{ background: colourOfClass(guessed.classUid) }} />
      <strong class="answer-guess cut" dir="auto" data-testid="guess">
        {name}
      </strong>
      {guessed.confidence !== null && <span class="faint number">{percent(guessed.confidence)}</span>}
      <button type="button" class="button primary" data-testid="accept-guess" onClick={acceptGuess}>
        Yes <kbd>Enter</kbd>
      </button>
    </div>
  )
}

function NoQuestion() {
  return (
    <strong class="answer-guess" data-testid="answer-empty">
      {isAsking.value || whyNone.value === null ? 'Looking for a pixel to ask about…' : 'No question just now'}
    </strong>
  )
}

/** What is good to know about this question. */
function hintNow(): string {
  const asked = question.value
  if (asked === null) return isAsking.value ? '' : (whyNone.value ?? '')
  if (imageProblem.value !== null) return 'This image cannot be shown; Space goes on.'
  if (!isAnswerable.value) return 'The image is on its way…'
  if (asked.asked === 'random') return 'Drawn at random to measure the model, so its guess is hidden.'
  // The server asked before this guess was there.
  return asked.guess === null && guess.value !== null ? 'Enter agrees; a digit or letter says otherwise.' : asked.why
}
