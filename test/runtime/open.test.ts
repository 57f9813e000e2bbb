import { availableParallelism } from 'node:os'
import { describe, expect, it } from 'vitest'
import { UsageError } from '../../src/errors.ts'
import { availableThreads, open } from '../../src/runtime/open.ts'

describe('open', () => {
  it.each([1, 2])('%i threads', async threads => {
    const executor = await open({ threads })
    try { expect(executor.threads).toBe(threads) } finally { await executor.close() }
  })

  it.each([0, -1, 1.5, NaN, '2' as never])('refuses %s threads', async threads => {
    await expect(open({ threads })).rejects.toThrow(UsageError)
  })

  it('asks Slurm before the system', () => {
    expect(availableThreads({ SLURM_CPUS_PER_TASK: '3' })).toBe(3)
    expect(availableThreads({})).toBe(availableParallelism())
    expect(availableThreads({ SLURM_CPUS_PER_TASK: '' })).toBe(availableParallelism())
  })
})
