import { expect, test } from 'vitest'
import { lettersOf } from './letters'

const named = (...classes: [name: string, key?: string][]) =>
  classes.map(([name, key]) => ({ class_uid: name, name, key: key ?? null }))
const written = (classes: ReturnType<typeof named>) => [...lettersOf(classes)].map(([, letter]) => letter).join('')

test.each([
  ['the first letter of the name', named(['road'], ['car']), { road: 'r', car: 'c' }],
  ['the first that is free', named(['road'], ['rider'], ['rid']), { road: 'r', rider: 'i', rid: 'd' }],
  ['a chosen letter before all proposals', named(['road'], ['car', 'r']), { road: 'o', car: 'r' }],
  ['accents are left out', named(['Écluse'], ['Möwe']), { Écluse: 'e', Möwe: 'm' }],
  ['the alphabet where the name has none', named(['天空'], ['2']), { 天空: 'a', 2: 'b' }],
  ['spaces and digits are no letters', named(['2 wheels']), { '2 wheels': 'w' }],
])('%s', (_, classes, letters) => {
  expect(Object.fromEntries(lettersOf(classes))).toEqual(letters)
})

test('no letter stands for two classes, and the twenty-seventh has none', () => {
  const many = named(...Array.from({ length: 27 }, (_, i): [string] => [`a${i}`]))

  expect(new Set(written(many)).size).toBe(26)
  expect(lettersOf(many).has('a26')).toBe(false)
})
