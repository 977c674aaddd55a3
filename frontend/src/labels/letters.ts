/** The letter that answers with a class: its own, or the first letter of its name that nobody else has. */

import type { LabelClass } from '../api/types'

type Lettered = Pick<LabelClass, 'class_uid' | 'name' | 'key'>

/**
 * class_uid -> letter, a to z, no letter twice. Letters that people chose come first; the others are proposed in the
 * order of the list, and a class whose name has no free letter gets the first free one of the alphabet. Past 26 classes
 * there are none left.
 */
export function lettersOf(classes: readonly Lettered[]): ReadonlyMap<string, string> {
  const letters = new Map<string, string>()
  const taken = new Set<string>()
  const give = (classUid: string, letter: string) => {
    letters.set(classUid, letter)
    taken.add(letter)
  }
  for (const { class_uid, key } of classes) if (key !== null && !taken.has(key)) give(class_uid, key)
  for (const { class_uid, name } of classes) {
    if (letters.has(class_uid)) continue
    const letter = [...plainLetters(name), ...ALPHABET].find((one) => !taken.has(one))
    if (letter !== undefined) give(class_uid, letter)
  }
  return letters
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz'

/** The letters a to z of a name; "Möwe" has m, o, w, e. */
function plainLetters(name: string): string[] {
  return [...name.normalize('NFKD').toLowerCase()].filter((letter) => ALPHABET.includes(letter))
}
