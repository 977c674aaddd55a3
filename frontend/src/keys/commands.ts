/** Everything that a key, a button or the help page can name. One list, so that they cannot drift apart. */

interface CommandText {
  readonly title: string
  /** Runs again while the key is held down. */
  readonly repeats?: true
  /** Lasts as long as the key is held: it has a press and a release. */
  readonly isHeld?: true
}

const COMMAND_TEXTS = {
  'view.zoomIn': { title: 'Zoom in', repeats: true },
  'view.zoomOut': { title: 'Zoom out', repeats: true },
  'view.fit': { title: 'Fit the whole image' },
  'view.actualSize': { title: 'Show at 100 %' },
  'view.hand': { title: 'Move the image by dragging', isHeld: true },
  'view.panLeft': { title: 'Move the view to the left', repeats: true },
  'view.panRight': { title: 'Move the view to the right', repeats: true },
  'view.panUp': { title: 'Move the view up', repeats: true },
  'view.panDown': { title: 'Move the view down', repeats: true },
  'view.toggleLabels': { title: 'Show or hide labels' },
  'view.togglePrediction': { title: 'Show or hide the prediction' },
  'view.toggleUncertainty': { title: 'Show or hide uncertainty' },
  'view.toggleImage': { title: 'Show or hide the image' },
  'view.peek': { title: 'Bare image while held', isHeld: true },
  'view.opacityDown': { title: 'Overlay weaker', repeats: true },
  'view.opacityUp': { title: 'Overlay stronger', repeats: true },
  'class.1': { title: 'Class 1' },
  'class.2': { title: 'Class 2' },
  'class.3': { title: 'Class 3' },
  'class.4': { title: 'Class 4' },
  'class.5': { title: 'Class 5' },
  'class.6': { title: 'Class 6' },
  'class.7': { title: 'Class 7' },
  'class.8': { title: 'Class 8' },
  'class.9': { title: 'Class 9' },
  'class.10': { title: 'Class 10' },
  'class.void': { title: 'Void: no class fits' },
  'class.swap': { title: 'Back to the class used before' },
  'tool.click': { title: 'Click tool: one pixel' },
  'tool.brush': { title: 'Brush' },
  'tool.eraser': { title: 'Eraser' },
  'tool.eyedropper': { title: 'Take the class under the cursor' },
  'brush.smaller': { title: 'Smaller brush', repeats: true },
  'brush.larger': { title: 'Larger brush', repeats: true },
  'label.undo': { title: 'Undo', repeats: true },
  'label.redo': { title: 'Redo', repeats: true },
  'label.acceptPrediction': { title: 'Accept the prediction under the cursor' },
  'image.next': { title: 'Next image', repeats: true },
  'image.previous': { title: 'Previous image', repeats: true },
  'question.next': { title: 'Next question' },
  'question.previous': { title: 'Previous question' },
  'question.acceptGuess': { title: 'The guess is right' },
  'question.void': { title: 'No class fits this pixel' },
  'question.leave': { title: 'Stop answering' },
  'answer.enter': { title: 'Answer mode: one pixel after another' },
  'answer.skip': { title: 'Skip: cannot tell', isHeld: true },
  'answer.takeBack': { title: 'Take the last answer back' },
  'answer.closer': { title: 'Less around the pixel', repeats: true },
  'answer.wider': { title: 'More around the pixel', repeats: true },
  'model.train': { title: 'Train now' },
  'model.stop': { title: 'Stop training' },
  'help.keys': { title: 'Show the keys' },
  'help.saved': { title: 'Say what is saved' },
  'mode.leave': { title: 'Close or cancel' },
} as const satisfies Record<string, CommandText>

export type CommandId = keyof typeof COMMAND_TEXTS

export interface Command extends CommandText {
  readonly id: CommandId
}

/** Command id -> what it is called and how its key behaves. */
export const COMMANDS = Object.fromEntries(
  Object.entries(COMMAND_TEXTS).map(([id, text]) => [id, { id, ...text }]),
) as Readonly<Record<CommandId, Command>>

/** The place of the class that a command picks, from 0; null for other commands. Place 0 is the key 1. */
export function classPlace(id: CommandId): number | null {
  const place = /^class\.(\d+)$/.exec(id)?.[1]
  return place === undefined ? null : Number(place) - 1
}
