import { describe, expect, it } from 'vitest'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { open } from '../../src/runtime/open.ts'
import { Profiler } from '../../src/runtime/profile.ts'
import { Program } from '../../src/runtime/program.ts'
import type { Span } from '../../src/runtime/walk.ts'

/** Two calls shared by two threads, one done by the first alone. */
function sample(executor: { arena: InlineExecutor['arena'] }): Program {
  const x = executor.arena.tensor(100)
  const p = new Program(executor.arena)
  p.scope('a', () => p.emit('fill_f32', [x.ptr, 1], 100, 1, { flops: 8e6, bytes: 4e6 }).emit('fill_f32', [x.ptr, 2], 1))
  return p.scope('b', () => p.emit('copy_f32', [x.ptr, x.ptr], 100))
}

describe('profile', () => {
  it('adds up what the threads report', async () => {
    const inline = new InlineExecutor()
    const program = sample(inline)
    const span = (thread: number, call: number, begin: number, end: number): Span => ({ thread, call, begin, end })
    const reported = [
      span(0, 0, 0, 4), span(0, -1, 4, 4), span(0, 1, 4, 6), span(0, -1, 6, 6), span(0, 2, 6, 9), span(0, -1, 9, 10),
      span(1, 0, 0, 2), span(1, -1, 2, 4), span(1, -1, 4, 6), span(1, 2, 6, 10), span(1, -1, 10, 10),
    ]
    const profiler = new Profiler({ threads: 2, arena: inline.arena, core: inline.core, run: async () => {}, trace: async () => reported, call: () => {}, close: async () => {} })
    await profiler.run(program)
    await profiler.run(program)
    const near = (values: object) => Object.fromEntries(Object.entries(values).map(([k, v]) => [k, typeof v === 'number' ? expect.closeTo(v, 9) : v]))
    expect(profiler.rows('label')).toEqual([
      near({ name: 'a', calls: 4, compute: 0.008, wait: 0.004, slowest: 0.012, flops: 16e6, bytes: 8e6 }),
      near({ name: 'b', calls: 2, compute: 0.007, wait: 0.001, slowest: 0.008, flops: 0, bytes: 0 }),
    ])
    expect(profiler.rows('kernel').map(r => [r.name, r.calls])).toEqual([['fill_f32', 4], ['copy_f32', 2]])
    expect(profiler.total).toMatchObject(near({ programs: 2, walked: 0.02, compute: 0.015, wait: 0.005 }))
    expect(profiler.table('label', 2).split('\n').slice(0, 3)).toEqual([
      expect.stringMatching(/^ +calls +ms +wait ms +% +GFLOP\/s +GB\/s$/), expect.stringMatching(/^a +2 +4.000 +2.000 +\d+\.\d +1.3 +0.7$/), expect.stringMatching(/^b +1 +3.500 +0.500 +\d+\.\d$/),
    ])
    const { traceEvents } = profiler.chromeTrace()
    expect(traceEvents).toHaveLength(2 + 22)
    expect(traceEvents[2]).toMatchObject({ name: 'fill_f32', ph: 'X', tid: 0, dur: 4000, args: { label: 'a', items: 100 } })
  })

  it.each([1, 2])('of a real run on %i threads: times add up to no more than the wall', async threads => {
    const executor = await open({ threads })
    try {
      const profiler = new Profiler(executor)
      const program = sample(executor)
      for (let i = 0; i < 20; i++) await profiler.run(program)
      const { programs, wall, compute, wait } = profiler.total
      expect(programs).toBe(20)
      expect(compute).toBeGreaterThan(0)
      expect(compute + wait).toBeLessThanOrEqual(wall)
      expect(Object.fromEntries(profiler.rows().map(r => [r.name, r.calls]))).toEqual({ 'a fill_f32': 40, 'b copy_f32': 20 })
    } finally { await executor.close() }
  })
})
