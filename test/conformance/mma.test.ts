// The sets `mma` (in the repository) and `hw` (third-party data under its own licence, beside the repository where present).
import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { runHw, run as hw } from '../../src/conformance/sets/hw.ts'
import { runMma, run as mma } from '../../src/conformance/sets/mma.ts'
import { mmaElement } from '../../src/oracle/mma.ts'

const offByOne: typeof mmaElement = (...args) => mmaElement(...args) ^ 1

describe('mma', () => {
  it('is bit equal', async () => {
    const { cases, passed, failures } = await mma('test/vectors/mma')
    expect(failures).toEqual([])
    expect([cases, passed]).toEqual([2564, 2564])
  })
  it('notices a wrong last bit', async () => {
    let nans = 0
    const countNaN: typeof mmaElement = (config, ...rest) => {
      const d = mmaElement(config, ...rest)
      const [sign, infinity] = config.model.accumulator === 'f16' ? [0x8000, 0x7c00] : [0x80000000, 0x7f800000]
      if (d % sign > infinity) nans++
      return d ^ 1
    }
    expect((await runMma('test/vectors/mma', { countNaN })).passed).toBe(nans) // any NaN equals any NaN
    expect(nans).toBeLessThan(400)
  })
})

const hwDir = '../shared/vectors/hw'
if (!existsSync(hwDir)) console.log(`hw: ${hwDir} is absent; GPU outputs not compared`)
describe.skipIf(!existsSync(hwDir))('hw', () => {
  it('is bit equal to the GPUs', async () => {
    const { cases, passed, failures } = await hw(hwDir)
    expect(failures).toEqual([])
    expect([cases, passed]).toEqual([1920, 1920])
  })
  it('notices a wrong last bit', async () => expect((await runHw(hwDir, { offByOne })).passed).toBe(0))
})
