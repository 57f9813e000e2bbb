import { expect, it } from 'vitest'
import { reproductions } from '../../src/experiments/reproductions/index.ts'

// Half a minute each at quick scale.
it.each([['sketched-regression', 'direction only'], ['dimension-free-sgd', 'reproduced']] as const)('%s: %s', async (name, verdict) => {
  const outcome = await reproductions.find(r => r.name === name)!.run({ scale: 'quick', seed: 1, data: null, log() {} })
  expect(outcome.verdict).toBe(verdict)
})
