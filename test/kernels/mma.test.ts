import { describe, expect, it } from 'vitest'
import { agree, distinctModels } from '../mma-agree.ts'

describe('kernel and oracle agree on 10^5 provoking cases', () => {
  it.each(distinctModels)('%s', name => expect(agree(name, 1e5, 20251)).toBeGreaterThan(0.4))
})
