import { classes, colourOfClass, nameOfClass } from '../state/project'
import { guess, isAsking, question, questionNumber } from '../state/questions'
import { percent } from './format'
import { CloseIcon } from './icons'

interface QuestionBarProps {
  onAccept: () => void
  onVoid: () => void
  onNext: () => void
  onLeave: () => void
}

/** Which class is this pixel? */
export function QuestionBar({ onAccept, onVoid, onNext, onLeave }: QuestionBarProps) {
  const asked = question.value
  if (asked === null) return null
  const guessed = guess.value
  return (
    <section
      class="floating question-bar"
      data-testid="question"
      data-question-id={asked.question_id}
      aria-label="Question"
    >
      <div class="question-text" aria-live="polite">
        <strong>
          <span class="sr-only">Question {questionNumber.value}. </span>
          Which class is this pixel?
        </strong>
        <span class="row hint small">
          {guessed === null ? (
            <span class="cut" title={asked.why}>
              {asked.asked === 'random' ? 'Drawn at random: it measures the model, so no guess is shown.' : asked.why}
            </span>
          ) : (
            <>
              <span>Model’s guess:</span>
              <span class="swatch" style={{ background: colourOfClass(guessed.classUid) }} />
              <span data-testid="guess" title={asked.why}>
                {nameOfClass(guessed.classUid)}
                {guessed.confidence !== null && ` (${percent(guessed.confidence)})`}
              </span>
            </>
          )}
        </span>
        <span class="hint small cut" data-testid="question-keys">
          {digitsOf(classes.value.length)} answers, Esc stops, hold <kbd>`</kbd> to see the bare image
        </span>
      </div>
      <div class="question-actions">
        {guessed !== null && (
          <button type="button" class="button primary" data-testid="accept-guess" onClick={onAccept}>
            {nameOfClass(guessed.classUid).length > 14 ? 'Yes' : nameOfClass(guessed.classUid)} <kbd>Enter</kbd>
          </button>
        )}
        <button
          type="button"
          class="button"
          title="No class fits this pixel, or several do: the training leaves it out"
          onClick={onVoid}
        >
          Void <kbd>Del</kbd>
        </button>
        <button type="button" class="button" data-testid="skip-question" disabled={isAsking.value} onClick={onNext}>
          Skip <kbd>N</kbd>
        </button>
        <button type="button" class="button icon quiet" aria-label="Leave the questions (Esc)" onClick={onLeave}>
          <CloseIcon />
        </button>
      </div>
    </section>
  )
}

/** The digit keys of so many classes; 0 is the tenth. */
function digitsOf(count: number): string {
  if (count === 1) return '1'
  return count < 10 ? `1-${count}` : '1-9 or 0'
}
