import { PathTool } from './brush'

/** Makes all pixels under its path unlabelled again. */
export class EraserTool extends PathTool {
  constructor() {
    super('eraser', 'erase')
  }
}
