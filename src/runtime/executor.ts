// What every executor offers, and the inline one: a single thread, no node: imports, used by the edge entry and as the reference for the pool.
import { Arena } from './memory.ts'
import { instantiate, type CoreModules, type KernelArgs, type KernelName, type Kernels } from './instance.ts'
import { loadModules, tune } from './module.ts'
import type { Program } from './program.ts'
import { BREATH, Walker, breathe, failure, plan, spans, type Part, type Span } from './walk.ts'

/** Runs programs. `open` makes one; it owns the memory that its programs are planned in. */
export interface Executor {
  /** The memory: tensors are reserved here. */
  readonly arena: Arena
  readonly threads: number
  /** The compiled core it runs. */
  readonly core: CoreModules
  /**
   * Walk the program once. Resolves when every call is done; rejects with RunError if a kernel or a worker failed. Lets the event loop turn at least
   * every 50 ms of such walks, so `while (!stopped) await run(step)` answers a signal handler that sets `stopped`.
   */
  run(program: Program): Promise<void>
  /** As run, and tells what each thread did when. */
  trace(program: Program): Promise<Span[]>
  /** One kernel call, now, on the calling thread. For set-up, tests and small work. */
  call<K extends KernelName>(kernel: K, args: KernelArgs<K>, items: number): void
  /** Stop the threads and free what can be freed. */
  close(): Promise<void>
}

/** Kernel calls as bound functions: what a thread executes. */
type Fn = (...args: number[]) => void

/** The executor of one thread: the calling one. */
export class InlineExecutor implements Executor {
  readonly threads = 1
  readonly arena: Arena
  core: CoreModules
  kernels: Kernels
  readonly #plans = new WeakMap<Program, { calls: number, parts: Part[] }>()
  readonly #walker = new Walker()
  #breath = performance.now()

  constructor(core: CoreModules = loadModules()) {
    this.core = core
    this.arena = new Arena(1, core.shared)
    this.kernels = instantiate(core, this.arena.memory, this.arena.scratch(0))
  }

  async run(program: Program): Promise<void> {
    this.runSync(program)
    if (performance.now() - this.#breath > BREATH) {
      await breathe()
      this.#breath = performance.now()
    }
  }

  /** As run, without a promise. */
  runSync(program: Program, ticks?: Float64Array): void {
    this.#walker.begin(this.#plan(program))
    try {
      this.#walker.advance(ticks)
    } catch (error) {
      throw failure(program.calls, this.#walker.call, 0, (error as Error).message)
    }
  }

  async trace(program: Program): Promise<Span[]> {
    const ticks = new Float64Array(program.calls.length + 1)
    ticks[0] = performance.now()
    this.runSync(program, ticks.subarray(1))
    return spans(this.#plan(program), ticks, 0, ticks[0]!)
  }

  call<K extends KernelName>(kernel: K, args: KernelArgs<K>, items: number): void {
    (this.kernels[kernel] as Fn)(...(args as number[]), 0, items)
  }

  close(): Promise<void> { return Promise.resolve() }

  #plan(program: Program): Part[] {
    const known = this.#plans.get(program)
    if (known?.calls === program.calls.length) return known.parts
    if (!this.core.tiles && program.calls.some(call => call.kernel.startsWith('gemm_'))) {
      this.core = tune(this.core)
      this.kernels = instantiate(this.core, this.arena.memory, this.arena.scratch(0))
    }
    const parts = plan(program.calls, this.kernels, 0, 1)
    this.#plans.set(program, { calls: program.calls.length, parts })
    return parts
  }
}
