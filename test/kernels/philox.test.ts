import { describe, expect, it } from 'vitest'
import { philox4x32 } from '../../src/oracle/philox.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'

describe('Philox4x32-10', () => {
  it('kernel equals the oracle for any range, four blocks at a time or one', () => {
    const ex = new InlineExecutor()
    const step = ex.arena.from([0, 0])
    ex.arena.u32(step).set([0x89abcdef, 0x01234567])
    const seed: [number, number] = [0xdeadbeef, 0x12345678], stream = 7, blocks = 23
    const dst = ex.arena.tensor(4 * blocks)
    for (const [begin, end] of [[0, 5], [5, 6], [6, 23]]) ex.kernels.philox_words(dst.ptr, seed[0], seed[1], stream, step.ptr, begin!, end!)
    const expected = Array.from({ length: blocks }, (_, i) => philox4x32([i, stream, 0x89abcdef, 0x01234567], seed)).flat()
    expect([...ex.arena.u32(dst)]).toEqual(expected)
  })
})
