import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RunError, UsageError } from '../../src/errors.ts'
import { InlineExecutor, type Executor } from '../../src/runtime/executor.ts'
import { PoolExecutor } from '../../src/runtime/pool.ts'
import { Program } from '../../src/runtime/program.ts'
import { bits, build, operations, type Step } from './programs.ts'
import { rehearse } from './rehearse.ts'

const steps = fc.array(fc.record({
  operation: fc.constantFrom(...Object.keys(operations)), a: fc.nat(100), b: fc.nat(100), seed: fc.nat(1000), shared: fc.boolean(),
}), { minLength: 1, maxLength: 12 })

/** The bits that `walk` leaves in the results of `steps`; each step runs twice, as in training. */
async function outcome(executor: Executor, steps: readonly Step[], walk = (program: Program) => executor.run(program)): Promise<Uint32Array> {
  const mark = executor.arena.mark()
  const { program, results } = build(executor.arena, steps)
  await walk(program)
  await walk(program)
  const got = bits(executor.arena, results)
  executor.arena.release(mark)
  return got
}

/** Call `body` with a pool that is closed afterwards. */
async function withPool<T>(threads: number, body: (pool: PoolExecutor) => Promise<T>): Promise<T> {
  const pool = new PoolExecutor(threads)
  try { return await body(pool) } finally { await pool.close() }
}

describe('the same bits on any number of threads', () => {
  const inline = new InlineExecutor()
  const pools: PoolExecutor[] = []
  beforeAll(() => { for (const threads of [2, 3, 8]) pools.push(new PoolExecutor(threads)) })
  afterAll(() => Promise.all(pools.map(pool => pool.close())))

  it('inline and on pools of 2, 3 and 8', async () => {
    await fc.assert(fc.asyncProperty(steps, async steps => {
      const want = await outcome(inline, steps)
      for (const pool of pools) expect(await outcome(pool, steps), `${pool.threads} threads`).toEqual(want)
    }), { numRuns: 20 })
  })

  it('for every operation by itself', async () => {
    for (const operation of Object.keys(operations)) for (let seed = 0; seed < 6; seed++) {
      const steps = [{ operation, a: 0, b: 1, seed, shared: true }]
      const want = await outcome(inline, steps)
      for (const pool of pools) expect(await outcome(pool, steps), `${operation} ${seed}, ${pool.threads} threads`).toEqual(want)
    }
  })

  it('and the operations reach every kernel', () => {
    const apart: Record<string, string> = {
      mt19937_seed: 'one item', mt19937_words: 'one item', mt19937_skip: 'one item', mt19937_normal_f32: 'one item',
      set_scratch: 'no kernel', set_gemm_tile: 'no kernel', set_pack_shape: 'no kernel', gemm_tile_shape: 'no kernel', gemm_tile_time: 'no kernel', barrier: 'no kernel', barrier_resume: 'no kernel', barrier_halt: 'no kernel', memory: 'no kernel',
    }
    const reached = new Set<string>()
    const mark = inline.arena.mark()
    for (const operation of Object.keys(operations)) for (let seed = 0; seed < 100; seed++) {
      for (const call of build(inline.arena, [{ operation, a: 0, b: 1, seed, shared: true }]).program.calls) reached.add(call.kernel)
      inline.arena.release(mark)
    }
    expect(Object.keys(inline.kernels).filter(name => !name.startsWith('_') && !reached.has(name) && !(name in apart)), 'add an operation to programs.ts').toEqual([])
  })

  it('in any order that the barriers allow', async () => {
    await fc.assert(fc.asyncProperty(steps, fc.integer({ min: 2, max: 9 }), fc.infiniteStream(fc.nat()), async (steps, threads, stream) => {
      const want = await outcome(inline, steps)
      const random = (n: number) => (stream.next().value as number) % n
      expect(await outcome(inline, steps, async program => rehearse(program, inline.kernels, threads, random))).toEqual(want)
    }), { numRuns: 40 })
  })

  it('a rehearsal finds a promise of nowait() that is not kept', () => {
    const { arena } = inline
    const from = arena.from(Float32Array.from({ length: 100 }, (_, i) => i)), to = arena.tensor(100)
    const program = new Program(arena)
    program.nowait(() => program.emit('fill_f32', [to.ptr, 7], 100).emit('copy_f32', [to.ptr, from.ptr], 50))
    const outcomes = new Set(Array.from({ length: 20 }, (_, seed) => {
      rehearse(program, inline.kernels, 2, n => (seed = seed * 5 + 1) % 7 % n)
      return arena.f32(to).join()
    }))
    expect(outcomes.size).toBeGreaterThan(1)
  })

  it('from memory that grew after the workers started', async () => {
    for (const pool of pools) {
      const bytes = pool.arena.memory.buffer.byteLength
      const big = pool.arena.tensor(bytes / 4 + 1e6), copy = pool.arena.tensor(1e6)
      const tail = big.ptr + bytes
      await pool.run(new Program(pool.arena).emit('fill_f32', [tail, 3], 1e6).emit('copy_f32', [copy.ptr, tail], 1e6))
      expect(pool.arena.f32(copy).every(v => v === 3)).toBe(true)
    }
  })

  it('with more programs than the threads remember, some changed after they ran', async () => {
    const [pool] = pools as [PoolExecutor]
    const x = pool.arena.tensor(1000)
    const programs = Array.from({ length: 150 }, (_, i) => new Program(pool.arena).emit('fill_f32', [x.ptr, i], 1000))
    for (const round of [0, 1]) for (const [i, program] of programs.entries()) {
      if (round) program.emit('fill_f32', [x.ptr, -i], 1000)
      await pool.run(program)
      expect(new Set(pool.arena.f32(x)), `program ${i}`).toEqual(new Set([round ? -i : i]))
    }
  })

  it('when programs are not awaited one by one, nothing overlaps', async () => {
    const [pool] = pools as [PoolExecutor]
    const x = pool.arena.tensor(1 << 20)
    const programs = [1, 2, 3].map(v => new Program(pool.arena).emit('fill_f32', [x.ptr, v], 1 << 20))
    await Promise.all(programs.map(program => pool.run(program)))
    expect(pool.arena.f32(x).every(v => v === 3)).toBe(true)
  })

  it('leaves the arena as it was', async () => {
    for (const pool of pools) {
      const mark = pool.arena.mark()
      await outcome(pool, [{ operation: 'gemm', a: 0, b: 1, seed: 0, shared: true }])
      expect(pool.arena.mark()).toBe(mark)
    }
  })
})

const MiB = 1 << 20
/** An address so close to the end of the memory that the f32 `elements` after it are inside and those after them are not. */
const edge = (executor: Executor, elements: number) => executor.arena.memory.buffer.byteLength - elements * 4

describe('failures end a run', () => {
  it('a kernel that traps on a worker', () => withPool(2, async pool => {
    const program = new Program(pool.arena)
    program.scope('layers.0', () => program.scope('fc1', () => program.emit('fill_f32', [edge(pool, MiB), 1], 2 * MiB)))
    await expect(pool.run(program)).rejects.toThrow(/^kernel fill_f32 at layers\.0\.fc1 failed on thread 1: .*out of bounds/)
    await expect(pool.run(program)).rejects.toThrow(RunError)
  }))

  it('a kernel that traps on the calling thread', () => withPool(2, async pool => {
    const program = new Program(pool.arena)
    program.scope('head', () => program.emit('fill_f32', [edge(pool, 0), 1], MiB, MiB)).emit('fill_f32', [pool.arena.tensor(10).ptr, 1], 10)
    await expect(pool.run(program)).rejects.toThrow(/^kernel fill_f32 at head failed on thread 0: .*out of bounds/)
    await expect(pool.run(program)).rejects.toThrow(RunError)
  }))

  it('a kernel that traps inline, which can go on', async () => {
    const inline = new InlineExecutor()
    const program = new Program(inline.arena)
    program.scope('head', () => program.emit('fill_f32', [edge(inline, 0), 1], 1))
    await expect(inline.run(program)).rejects.toThrow(/^kernel fill_f32 at head failed on thread 0: .*out of bounds/)
    await inline.run(new Program(inline.arena).emit('fill_f32', [inline.arena.tensor(1).ptr, 1], 1))
  })

  it('a worker that dies between programs', () => withPool(3, async pool => {
    const program = new Program(pool.arena).emit('fill_f32', [pool.arena.tensor(10).ptr, 1], 10)
    await pool.run(program)
    await pool.workers.threads[1]!.terminate()
    await expect(pool.run(program)).rejects.toThrow(/^thread 2 died: worker exited with code/)
  }))

  it('a worker that dies while programs run', () => withPool(2, async pool => {
    const big = pool.arena.tensor(1 << 20)
    const program = new Program(pool.arena)
    for (let i = 0; i < 100; i++) program.emit('fill_f32', [big.ptr, i], 1 << 20)
    await pool.run(program)
    const ended = (async () => { for (;;) await pool.run(program) })()
    setTimeout(() => pool.workers.threads[0]!.terminate(), 20)
    const killed = performance.now()
    await expect(ended).rejects.toThrow(/^thread 1 died: worker exited with code/)
    expect(performance.now() - killed).toBeLessThan(2000)
  }))

  it('a pool that is closed while it runs', async () => {
    const pool = new PoolExecutor(4)
    const program = new Program(pool.arena).emit('fill_f32', [pool.arena.tensor(10).ptr, 1], 10)
    const ended = expect((async () => { for (;;) await pool.run(program) })()).rejects.toThrow('the executor is closed')
    await pool.close()
    await ended
    await expect(pool.run(program)).rejects.toThrow(UsageError)
    await pool.close()
  })
})

describe('life of a pool', () => {
  it('opens and closes many times, leaving no thread', async () => {
    for (let i = 0; i < 12; i++) await withPool(2 + i % 3, async pool => {
      if (i % 4 === 3) return
      const x = pool.arena.tensor(100)
      await pool.run(new Program(pool.arena).emit('fill_f32', [x.ptr, i], 100))
      expect(pool.workers.threads.length).toBe(pool.threads - 1)
      await pool.close()
      expect(pool.workers.threads.length).toBe(0)
    })
  })

  it('lets timers run while it goes from program to program', () => withPool(2, async pool => {
    const x = pool.arena.tensor(1 << 16)
    const program = new Program(pool.arena).emit('fill_f32', [x.ptr, 1], 1 << 16)
    let stopped = false
    setTimeout(() => { stopped = true }, 10)
    while (!stopped) await pool.run(program)
  }))

  it('refuses a call while a program runs', () => withPool(2, async pool => {
    const x = pool.arena.tensor(10)
    const run = pool.run(new Program(pool.arena).emit('fill_f32', [x.ptr, 1], 10))
    expect(() => pool.call('fill_f32', [x.ptr, 2], 10)).toThrow(UsageError)
    await run
    pool.call('fill_f32', [x.ptr, 2], 10)
    expect(pool.arena.f32(x)[9]).toBe(2)
  }))

  it('traces what each thread did', () => withPool(2, async pool => {
    const x = pool.arena.tensor(1000)
    const program = new Program(pool.arena).emit('fill_f32', [x.ptr, 1], 1000).emit('fill_f32', [x.ptr, 1], 1, 1).emit('fill_f32', [x.ptr, 2], 1000)
    const spans = await pool.trace(program)
    expect(spans.map(s => [s.thread, s.call])).toEqual([[0, 0], [0, -1], [0, 1], [0, -1], [0, 2], [0, -1], [1, 0], [1, -1], [1, -1], [1, 2], [1, -1]])
    for (const s of spans) expect(s.end, JSON.stringify(spans)).toBeGreaterThanOrEqual(s.begin)
    expect(pool.arena.f32(x)[0]).toBe(2)
  }))
})
