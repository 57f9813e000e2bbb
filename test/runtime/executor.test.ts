import { describe, expect, it } from 'vitest'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { Program, share } from '../../src/runtime/program.ts'

describe('inline executor', () => {
  it('runs a program over its arena', () => {
    const ex = new InlineExecutor()
    const a = ex.arena.tensor(10), b = ex.arena.tensor(10)
    ex.runSync(new Program(ex.arena).emit('fill_f32', [a.ptr, 2.5], 10).emit('copy_f32', [b.ptr, a.ptr], 10))
    expect([...ex.arena.f32(b)]).toEqual(Array(10).fill(2.5))
  })
})

describe('share', () => {
  it('covers every item once, in order, at multiples of the grain', () => {
    for (const items of [0, 1, 7, 64, 65]) for (const grain of [1, 4, 16]) for (const threads of [1, 2, 3, 8]) {
      let next = 0
      for (let t = 0; t < threads; t++) {
        const [begin, end] = share({ items, grain }, t, threads)
        expect(begin).toBe(next)
        if (end > begin && t > 0) expect(begin % grain).toBe(0)
        next = end
      }
      expect(next).toBe(items)
    }
  })
})
