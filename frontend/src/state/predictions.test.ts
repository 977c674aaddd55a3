import { expect, test } from 'vitest'
import type { ImageInfo, Job } from '../api/types'
import { countPredicted } from './predictions'

const images = (...uncertainties: (number | null)[]) =>
  uncertainties.map((uncertainty) => ({ uncertainty }) as ImageInfo)
const predict = (version: number, done: number) =>
  ({ spec: { kind: 'predict', model_version: version }, progress: { done } }) as Job

test.each<[string, (number | null)[], number, number | null, Job[], number, boolean]>([
  ['no map anywhere', [null, null], 2, null, [], 0, false],
  ['a sure map is a map: its uncertainty is 0', [0, null], 2, null, [], 1, false],
  ['a whole list needs no job', [0.5, null], 2, null, [predict(3, 2)], 1, false],
  ['a list in part counts what the newest version has drawn', [0.5, null], 900, 120, [predict(3, 70)], 70, true],
  ['not what an older one has', [0.5, null], 900, 120, [predict(2, 900)], 1, true],
  ['and is sure once all is drawn', [0.5, 0.5], 900, 120, [predict(3, 900)], 900, false],
])('%s', (_, uncertainties, total, nextAfter, jobs, count, isAtLeast) => {
  const list = { images: images(...uncertainties), total, nextAfter }

  expect(countPredicted(list, jobs, 3)).toEqual({ count, total, isAtLeast })
})
