/** Who may import whom. The table is the architecture; what is not in it is not wanted. */

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, test } from 'vitest'

/** Part -> what of ours it may import: whole folders, or single files where a folder would be too much. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  canvas: ['canvas'],
  keys: ['keys'],
  api: ['api'],
  // Of the server they know the shapes and the ways to say no, never how to reach it.
  labels: ['labels', 'canvas/geometry', 'canvas/raster', 'api/types', 'api/problems'],
  state: ['state', 'labels', 'canvas', 'keys', 'api'],
  ui: ['ui', 'state', 'labels', 'canvas', 'keys', 'api'],
  pages: ['pages', 'ui', 'state', 'labels', 'keys', 'api'],
  app: ['pages', 'ui', 'state', 'api'],
  main: ['app', 'styles'],
}

/** Package or browser service -> the only parts that may use it. */
const OUTSIDE: readonly { what: string; pattern: RegExp; parts: readonly string[] }[] = [
  { what: 'Preact', pattern: /from 'preact(\/|')/, parts: ['ui', 'pages', 'app', 'main'] },
  { what: 'signals', pattern: /from '@preact\//, parts: ['state', 'ui', 'pages'] },
  { what: 'requests', pattern: /\b(fetch|XMLHttpRequest|EventSource|WebSocket)\(/, parts: ['api'] },
  { what: 'IndexedDB', pattern: /\bindexedDB\b/, parts: ['labels'] },
  { what: 'local storage', pattern: /\b(local|session)Storage\b/, parts: ['state'] },
]

interface Source {
  /** Path below src without its ending, e.g. canvas/layers/image. */
  name: string
  part: string
  text: string
}

const sources: readonly Source[] = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((path) => /\.tsx?$/.test(path) && !/\.test\.tsx?$|\.d\.ts$/.test(path))
  .map((path) => {
    const name = path.replaceAll('\\', '/').replace(/\.tsx?$/, '')
    return { name, part: name.split('/')[0] ?? '', text: readFileSync(join('src', path), 'utf8') }
  })

/** What a file imports of ours, as paths below src. */
function importsOf({ name, text }: Source): string[] {
  const found = text.matchAll(/(?:from|import) '(\.[^']+)'/g)
  return [...found].map(([, path]) => normalize(join(dirname(name), path ?? '')))
}

test('all sources are looked at', () => {
  expect(new Set(sources.map((source) => source.part))).toEqual(new Set(Object.keys(MAY_IMPORT)))
})

test.each(sources)('$name imports along the arrows', (source) => {
  const allowed = MAY_IMPORT[source.part] ?? []

  const unwanted = importsOf(source).filter(
    (path) => !allowed.some((part) => path === part || path.startsWith(`${part}/`)),
  )

  expect(unwanted).toEqual([])
})

describe.each(OUTSIDE)('$what', ({ pattern, parts }) => {
  test('is used by the parts that may, and by no other', () => {
    const users = sources.filter((source) => pattern.test(source.text))

    expect(users.length).toBeGreaterThan(0)
    expect(users.filter((source) => !parts.includes(source.part)).map((source) => source.name)).toEqual([])
  })
})

test('no file imports itself by a detour', () => {
  const graph = new Map(sources.map((source) => [source.name, importsOf(source)]))
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name)) cycles.push([...path.slice(path.indexOf(name)), name].join(' -> '))
    else if (!done.has(name)) {
      for (const next of graph.get(name) ?? []) visit(next, [...path, name])
      done.add(name)
    }
  }
  for (const name of graph.keys()) visit(name, [])

  expect(cycles).toEqual([])
})

test('no file is named after nothing', () => {
  const names = sources.map((source) => source.name.split('/').at(-1))

  expect(names.filter((name) => /^(utils?|helpers?|common|misc|models)$/.test(name ?? ''))).toEqual([])
})
