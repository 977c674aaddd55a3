import { untracked, useSignalEffect } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { ClassOrVoid, Id } from '../api/types'
import { type CommandId, classPlace } from '../keys/commands'
import type { Scope } from '../keys/keymap'
import { listenToKeys } from '../keys/listen'
import { VOID } from '../labels/events'
import { keepAhead } from '../state/ahead'
import {
  activeClass,
  chooseClass,
  clearStage,
  click,
  image,
  imageProblem,
  isOpening,
  isReady,
  labelCountHere,
  openImage,
  redo,
  answer as sayAnswer,
  swapClass,
  undo,
} from '../state/annotation'
import {
  acceptGuess as acceptInAnswerMode,
  answerWith,
  changeContext,
  enterAnswering,
  isAnswering,
  keepAnswering,
  leaveAnswering,
  letters,
  skip,
  takeBack,
} from '../state/answering'
import { expectMoreNeighbours, forgetNeighbours, loadNeighbours, neighbourOf, setLabelCount } from '../state/imageList'
import { go, place } from '../state/location'
import { watchMaps } from '../state/maps'
import { notify } from '../state/notices'
import { prefer, preferences } from '../state/preferences'
import { classes, project, stopTraining, train, training, whenHinted } from '../state/project'
import {
  forgetAhead,
  forgetAllQuestions,
  forgetFarAhead,
  guess,
  leaveQuestions,
  leaveUnlessAbout,
  nextQuestion,
  previousQuestion,
  question,
  whyNone,
} from '../state/questions'
import { unsentCount } from '../state/sync'
import { changeOpacity, editor, isPeeking, pointer, predictedAt, resizeBrush, takeTool } from '../state/tools'
import { AnswerPrompt, AnswerVoice } from '../ui/answerPrompt'
import { AnswerLegend, AnswerProgress } from '../ui/answerSide'
import { Banner } from '../ui/banner'
import { ClassPanel } from '../ui/classPanel'
import { Filmstrip } from '../ui/filmstrip'
import { plural } from '../ui/format'
import { Header } from '../ui/header'
import { HelpDialog } from '../ui/helpDialog'
import { HelpIcon, QuestionIcon } from '../ui/icons'
import { Link } from '../ui/link'
import { ModelPanel } from '../ui/modelPanel'
import { OverlayPanel } from '../ui/overlayPanel'
import { QuestionBar } from '../ui/questionBar'
import { StageFoot } from '../ui/readOut'
import { Stage } from '../ui/stage'
import { ToolPanel } from '../ui/toolPanel'

const PAN_PX = 80
const ZOOM = 1.25

/** Where labels are made. */
export function AnnotatePage({ projectId, imageId }: { projectId: Id; imageId: Id }) {
  const [isHelpOpen, setHelpOpen] = useState(false)

  // Before the next frame, not after it: a question about another image must not wait for one.
  useLayoutEffect(() => {
    const closeImage = openImage(projectId, imageId)
    const stopMaps = watchMaps(imageId)
    return () => {
      closeImage()
      stopMaps()
    }
  }, [projectId, imageId])

  useEffect(() => clearStage, [])

  useEffect(() => {
    forgetNeighbours()
    forgetAllQuestions()
    // The model has learned: better questions than those far ahead can be had. The one on screen stays.
    const stop = whenHinted((hint) => {
      if (hint.kind === 'images') {
        expectMoreNeighbours()
        forgetAhead()
      }
      if (hint.kind === 'map' || hint.kind === 'version') forgetFarAhead()
    }, forgetFarAhead)
    const stopAhead = keepAhead()
    const stopAnswering = keepAnswering()
    return () => {
      stop()
      stopAhead()
      stopAnswering()
      forgetAllQuestions()
    }
  }, [projectId])

  useSignalEffect(() => {
    // The address and not the image drawn for it: a quick hand may be two images further by now.
    const opened = place.value
    if (opened.page === 'annotate') {
      untracked(() => {
        // Without a question Answer mode waits for one, wherever it is.
        if (isAnswering.value && question.value === null) return
        leaveUnlessAbout(opened.imageId)
        if (question.value === null) leaveAnswering()
      })
    }
  })

  const focusBefore = useRef<Element | null>(null)
  useSignalEffect(() => {
    if (isAnswering.value) {
      focusBefore.current = document.activeElement
      editor.peek()?.focus()
      return
    }
    const before = focusBefore.current
    if (before === null) return
    focusBefore.current = null
    // A control of Answer mode is gone with it, and the focus with the control.
    if (document.activeElement === document.body || document.activeElement === null) editor.peek()?.focus()
    else if (before instanceof HTMLElement && before.isConnected && before !== document.body) before.focus()
  })

  useSignalEffect(() => {
    const open = image.value
    if (open === null) return
    document.title = `${open.name} - ReCoLabel`
    void loadNeighbours(projectId, open)
  })

  useSignalEffect(() => {
    if (isReady.value && image.value !== null) setLabelCount(image.value.image_id, labelCountHere.value)
  })

  const showNextImage = async (step: 1 | -1) => {
    const next = await neighbourOf(imageId, step)
    if (next === null) return
    go({ page: 'annotate', projectId, imageId: next.image_id })
  }
  const follow = (asked: { image_id: Id } | null) => {
    if (asked !== null) go({ page: 'annotate', projectId, imageId: asked.image_id })
  }
  const askNext = async () => {
    // Where a random question leads is no reason to ask more about that image.
    const next = await nextQuestion(projectId, question.peek()?.asked === 'random' ? null : imageId)
    if (next === null && whyNone.peek() !== null) notify('done', whyNone.peek() ?? '')
    follow(next)
  }
  const answer = (classUid: ClassOrVoid) => {
    if (isAnswering.peek()) return answerWith(classUid)
    const asked = question.peek()
    if (asked === null || asked.image_id !== image.peek()?.image_id) return
    sayAnswer(asked, classUid)
    void askNext()
  }
  const acceptGuess = () => {
    if (isAnswering.peek()) return acceptInAnswerMode()
    const guessed = guess.peek()
    if (guessed !== null) answer(guessed.classUid)
  }
  const chooseOrAnswer = (place: number) => {
    const classUid = classes.peek()[place]?.class_uid
    if (classUid === undefined) return
    if (isAnswering.peek()) return answerWith(classUid)
    if (question.peek() !== null) answer(classUid)
    // An answer chooses as well: a click after it says what the hand said last.
    chooseClass(classUid)
  }
  const acceptPrediction = () => {
    const pixel = pointer.peek()
    const predicted = pixel === null ? null : predictedAt(pixel)
    if (pixel !== null && predicted !== null) click(pixel, predicted.classUid)
  }

  const run = (command: CommandId, phase: 'press' | 'release') => {
    const place = classPlace(command)
    if (place !== null) return phase === 'press' ? chooseOrAnswer(place) : undefined
    const shown = preferences.peek()
    const stage = editor.peek()
    if (command === 'view.peek') {
      isPeeking.value = phase === 'press'
      return
    }
    if (command === 'view.hand') return stage?.holdHand(phase === 'press')
    if (command === 'answer.skip') return holdOrSkip(phase)
    if (phase === 'release') return
    switch (command) {
      case 'view.zoomIn':
        return stage?.zoom(ZOOM)
      case 'view.zoomOut':
        return stage?.zoom(1 / ZOOM)
      case 'view.fit':
        return stage?.fit()
      case 'view.actualSize':
        return stage?.actualSize()
      case 'view.panLeft':
        return stage?.panBy(PAN_PX, 0)
      case 'view.panRight':
        return stage?.panBy(-PAN_PX, 0)
      case 'view.panUp':
        return stage?.panBy(0, PAN_PX)
      case 'view.panDown':
        return stage?.panBy(0, -PAN_PX)
      case 'view.toggleLabels':
        return prefer({ showLabels: !shown.showLabels })
      case 'view.togglePrediction':
        return prefer({ showPrediction: !shown.showPrediction })
      case 'view.toggleUncertainty':
        return prefer({ showUncertainty: !shown.showUncertainty })
      case 'view.toggleImage':
        return prefer({ showImage: !shown.showImage })
      case 'view.opacityDown':
        return changeOpacity(-1)
      case 'view.opacityUp':
        return changeOpacity(1)
      case 'class.void':
        return chooseClass(VOID)
      case 'class.swap':
        return swapClass()
      case 'tool.click':
        return takeTool('click')
      case 'tool.brush':
        return takeTool('brush')
      case 'tool.eraser':
        return takeTool('eraser')
      case 'tool.eyedropper':
        return takeTool('eyedropper')
      case 'brush.smaller':
        return resizeBrush(-1)
      case 'brush.larger':
        return resizeBrush(1)
      case 'label.undo':
        return undo()
      case 'label.redo':
        return redo()
      case 'label.acceptPrediction':
        return acceptPrediction()
      case 'image.next':
        return void showNextImage(1)
      case 'image.previous':
        return void showNextImage(-1)
      case 'question.next':
        return void askNext()
      case 'question.previous':
        return follow(previousQuestion())
      case 'question.acceptGuess':
        return acceptGuess()
      case 'question.void':
        return answer(VOID)
      case 'question.leave':
        return isAnswering.peek() ? leaveAnswering() : leaveQuestions()
      case 'answer.enter':
        return void enterAnswering(projectId)
      case 'answer.takeBack':
        return takeBack()
      case 'answer.closer':
        return changeContext(1)
      case 'answer.wider':
        return changeContext(-1)
      case 'model.train':
        return training.peek() === null ? void train({}) : undefined
      case 'model.stop':
        return void stopTraining()
      case 'help.keys':
        return setHelpOpen(true)
      case 'help.saved':
        return saySaved()
      case 'mode.leave':
        return takeTool('click')
    }
  }

  // One listener for all images: a key that is held down while the image changes stays held.
  const latestRun = useRef(run)
  latestRun.current = run
  useEffect(
    () => listenToKeys(window, { scopes, typed, run: (command, phase) => latestRun.current(command, phase) }),
    [],
  )

  const open = image.value
  return (
    // biome-ignore lint/a11y: only passes the focus on; what can be clicked are the buttons inside
    <div class={isAnswering.value ? 'frame on-workbench answering' : 'frame on-workbench'} onClick={passFocusOn}>
      <Header
        project={{ name: project.value?.name ?? '', projectId }}
        page="annotate"
        annotate={{ page: 'annotate', projectId, imageId }}
        crumb={open?.name ?? null}
      >
        {!isAnswering.value && (
          <button
            type="button"
            class="button"
            data-testid="next-question"
            title="Ask me about the pixel the model is least sure of (N)"
            onClick={() => void askNext()}
          >
            <QuestionIcon />
            Ask me <kbd>N</kbd>
          </button>
        )}
        <button
          type="button"
          class="button"
          data-testid="answer-mode"
          title={isAnswering.value ? 'Leave Answer mode (Esc)' : 'Answer one pixel after another from the keyboard (A)'}
          onClick={() => (isAnswering.peek() ? leaveAnswering() : void enterAnswering(projectId))}
        >
          {isAnswering.value ? 'Leave' : 'Answer'} <kbd>{isAnswering.value ? 'Esc' : 'A'}</kbd>
        </button>
        <button
          type="button"
          class="button icon quiet"
          data-testid="help"
          aria-label="Keys (?)"
          title="Keys (?)"
          onClick={() => setHelpOpen(true)}
        >
          <HelpIcon />
        </button>
      </Header>
      <main class="workbench">
        <div class="side left">
          {isAnswering.value ? (
            <AnswerLegend />
          ) : (
            <>
              <ToolPanel />
              <ClassPanel />
            </>
          )}
        </div>
        <div class="stage-area">
          <Stage />
          {imageProblem.value !== null ? (
            <div class="stage-note" role="alert">
              <p>{imageProblem.value}</p>
              <Link to={{ page: 'images', projectId }} class="button">
                All images
              </Link>
            </div>
          ) : (
            isOpening.value && (
              <div class="stage-note late" role="status">
                <p class="floating">Loading the image…</p>
              </div>
            )
          )}
          <div class="stage-top">
            <Banner />
            <AnswerPrompt />
            {!isAnswering.value && (
              <QuestionBar
                onAccept={acceptGuess}
                onVoid={() => answer(VOID)}
                onNext={() => void askNext()}
                onLeave={leaveQuestions}
              />
            )}
          </div>
          <StageFoot />
        </div>
        {!isAnswering.value && (
          <Filmstrip onPrevious={() => void showNextImage(-1)} onNext={() => void showNextImage(1)} />
        )}
        <div class="side right">
          {isAnswering.value ? <AnswerProgress /> : <ModelPanel />}
          <OverlayPanel />
        </div>
      </main>
      <AnswerVoice />
      <p class="sr-only" aria-live="polite">
        {activeClass.value !== null && `Class ${classNameNow()}`}
      </p>
      {isHelpOpen && <HelpDialog onClose={() => setHelpOpen(false)} />}
    </div>
  )
}

/** After a mouse click on a control keys are meant for the image: Enter answers and does not press the button again. */
function passFocusOn(event: MouseEvent): void {
  if (event.detail === 0 || !(event.target instanceof Element)) return
  const control = event.target.closest('button[type="button"], .switch, .range')
  if (control !== null && control.closest('dialog') === null) editor.peek()?.focus()
}

const DRAWING: readonly Scope[] = ['draw', 'view', 'navigate', 'model', 'always']
const ANSWERING: readonly Scope[] = ['question', ...DRAWING]

/** No letter is a command in here. */
const ANSWER_MODE: readonly Scope[] = ['answer', 'always']

function scopes(): readonly Scope[] {
  if (isAnswering.peek()) return ANSWER_MODE
  return question.peek() === null ? DRAWING : ANSWERING
}

/** In Answer mode a letter is a class, or nothing. */
function typed(letter: string): boolean {
  if (!isAnswering.peek()) return false
  const found = [...letters.peek()].find(([, one]) => one === letter)
  if (found !== undefined) answerWith(found[0])
  return true
}

const TAP_MS = 500
let handHeld: { since: number; x: number; y: number } | null = null

/** Space: a tap skips the question, held down it moves the picture. */
function holdOrSkip(phase: 'press' | 'release'): void {
  const stage = editor.peek()
  const at = { x: stage?.viewport.originX ?? 0, y: stage?.viewport.originY ?? 0 }
  stage?.holdHand(phase === 'press')
  if (phase === 'press') {
    handHeld = { since: Date.now(), ...at }
    return
  }
  const held = handHeld
  handHeld = null
  if (held === null || Date.now() - held.since > TAP_MS || held.x !== at.x || held.y !== at.y) return
  skip()
}

function classNameNow(): string {
  return classes.value.find((one) => one.class_uid === activeClass.value)?.name ?? 'void'
}

function saySaved(): void {
  const count = unsentCount.peek()
  const sentence =
    count === 0
      ? 'Everything is saved. Every label is saved at once.'
      : `${plural(count, 'label')} still on the way; kept in this browser until the server has them.`
  notify('done', sentence)
}
