import { describe, expect, it } from 'vitest'
import { mmaModels } from '../../src/numerics/mma.ts'
import { agree, distinctModels } from '../mma-agree.ts'

const quick = distinctModels.filter(name => mmaModels[name]!.algorithm === 'gst-fdpa')

describe('kernel and oracle agree on 10^5 provoking cases', () => {
  it.each(distinctModels)('%s', name => expect(agree(name, 1e5, 20251)).toBeGreaterThan(0.4))
  it.each(quick)('%s, plain kernel', name => expect(agree(name, 1e5, 20252, 12, 12, true)).toBeGreaterThan(0.4))
})
