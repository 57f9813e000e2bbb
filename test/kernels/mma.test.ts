import { describe, expect, it } from 'vitest'
import { mmaModels } from '../../src/numerics/mma.ts'
import { agree, distinctModels } from '../mma-agree.ts'

/** Those that have a quick kernel beside the plain one. */
const quick = distinctModels.filter(name => mmaModels[name]!.algorithm === 'gst-fdpa' || mmaModels[name]!.algorithm.endsWith('t-fdpa') && mmaModels[name]!.rounding === 'rz-f32')

describe('kernel and oracle agree on provoking cases', () => {
  it.each(distinctModels)('%s, 10^5', name => expect(agree(name, 1e5, 20251)).toBeGreaterThan(0.4))
  it.each(quick)('%s, plain kernel, 2 10^4', name => expect(agree(name, 2e4, 20252, 12, 12, true)).toBeGreaterThan(0.4))
})
