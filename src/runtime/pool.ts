// The pool executor: Piscina owns the workers' life, shared memory carries the work. Each worker runs a single Piscina task that lasts as long as the
// pool (team.ts); the caller is thread 0 and computes its share, so `threads` threads need threads - 1 workers.
//
// The caller blocks while it walks a program, but sleeps at a barrier for at most PATIENCE before it lets the event loop turn: so the death of a worker
// is seen, and ends the run with a RunError instead of a hang. After a failure the pool only closes.
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Piscina } from 'piscina'
import { RunError, UsageError } from '../errors.ts'
import type { Executor } from './executor.ts'
import { instantiate, type CoreModules, type KernelArgs, type KernelName, type Kernels } from './instance.ts'
import { Arena } from './memory.ts'
import { loadModules } from './module.ts'
import type { Program } from './program.ts'
import { Halted, Mailbox, Member, SPINS, type Command } from './team.ts'
import { BREATH, breathe, failure, plan, spans, type Span } from './walk.ts'
import type { Crew, Failure, Post } from './worker.ts'

/** Milliseconds the caller sleeps at a barrier before it lets the event loop turn. */
const PATIENCE = 50
/** Milliseconds given to a worker to say why it failed, or to end its task. */
const GRACE = 1000

// Node runs JavaScript: when this file runs from src/ (in tests), the worker is the built one in dist/.
const WORKER = fileURLToPath(new URL('./worker.js', import.meta.url.replace(/\/src\/runtime\/pool\.ts$/, '/dist/runtime/pool.js')))

export class PoolExecutor implements Executor {
  readonly threads: number
  readonly arena: Arena
  /** The caller's instance of the core. */
  readonly kernels: Kernels
  /** Piscina's pool. For tests, which end its threads. */
  readonly workers: Piscina
  readonly #leader: Member
  readonly #mailbox: Mailbox
  readonly #tasks: Promise<void>[]
  /** The program being walked, for error messages. */
  #running: Program | null = null
  /** Programs given to run() and not done; each waits for the one before. */
  #pending = 0
  #last: Promise<unknown> = Promise.resolve()
  /** Why no more programs can be walked. */
  #broken: Error | null = null
  #giveReason!: () => void
  readonly #reason = new Promise<void>(resolve => { this.#giveReason = resolve })
  #breath = performance.now()

  /** Start `threads - 1` workers; they are awaited by the first run. `threads` is at least 2. */
  constructor(threads: number, modules: CoreModules = loadModules(true)) {
    this.threads = threads
    this.arena = new Arena(threads, true)
    this.kernels = instantiate(modules, this.arena.memory, this.arena.scratch(0))
    const spins = threads > availableParallelism() ? 0 : SPINS
    this.#leader = new Member(this.kernels, this.arena.memory, 0, threads, spins, PATIENCE)
    this.#mailbox = new Mailbox(this.arena, this.kernels)
    const workerData: Crew = { modules, memory: this.arena.memory, threads, spins }
    const count = threads - 1
    this.workers = new Piscina({ filename: WORKER, minThreads: count, maxThreads: count, idleTimeout: Infinity, atomics: 'disabled', workerData })
    this.#tasks = Array.from({ length: count }, async (_, i) => {
      const post: Post = { thread: i + 1, scratch: this.arena.scratch(i + 1) }
      try {
        const failed = await this.workers.run(post) as Failure | undefined
        if (failed) this.#break(failure(this.#running?.calls ?? [], failed.call, post.thread, failed.message))
      } catch (error) {
        this.#break(new RunError(`thread ${post.thread} died: ${(error as Error).message}`))
      }
    })
  }

  run(program: Program): Promise<void> { return this.#enqueue(() => this.#walk(program)) }

  trace(program: Program): Promise<Span[]> { return this.#enqueue(() => this.#trace(program)) }

  call<K extends KernelName>(kernel: K, args: KernelArgs<K>, items: number): void {
    if (this.#pending) throw new UsageError(`call of ${kernel}: a program is running; await run() first`)
    ;(this.kernels[kernel] as (...args: number[]) => void)(...(args as number[]), 0, items)
  }

  async close(): Promise<void> {
    this.#break(new UsageError('the executor is closed'))
    await Promise.race([Promise.all(this.#tasks), grace()])
    await this.workers.destroy()
    await Promise.all(this.#tasks)
  }

  #enqueue<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#pending++ === 0 ? job() : this.#last.then(job, job)
    this.#last = result
    return result
  }

  async #trace(program: Program): Promise<Span[]> {
    const plans = Array.from({ length: this.threads }, (_, t) => plan(program.calls, this.kernels, t, this.threads))
    let noted: Float64Array[] = []
    await this.#walk(program, ({ ticks, stride }) => {
      noted = plans.map((parts, t) => new Float64Array(this.arena.memory.buffer, ticks + t * stride, parts.length + 2).slice())
    })
    const [origin, start] = noted[0]! as unknown as [number, number]
    const all = plans.map((parts, t) => spans(parts, noted[t]!.subarray(1), t, origin + start - noted[t]![0]!))
    // A worker notes the end of the last barrier only after it has let this thread go: take this thread's word for it.
    const end = all[0]!.findLast(span => span.call < 0)?.end
    for (const worker of all.slice(1)) {
      const last = worker.at(-1)
      if (last) last.end = Math.max(last.begin, end!)
    }
    return all.flat()
  }

  /** Walk a program with the workers. Ticks are noted if there is someone to `read` them. */
  async #walk(program: Program, read?: (command: Command) => void): Promise<void> {
    try {
      if (this.#broken) throw this.#broken
      this.#running = program
      const command = this.#mailbox.post(program, read !== undefined)
      await this.#lead(program, command)
      read?.(command)
      this.#mailbox.done()
      if (performance.now() - this.#breath > BREATH) {
        await breathe()
        this.#breath = performance.now()
      }
    } finally {
      this.#running = null
      this.#pending--
    }
  }

  async #lead(program: Program, command: Command): Promise<void> {
    try {
      await this.#leader.lead(command, breathe)
    } catch (error) {
      if (!(error instanceof Halted)) this.#break(failure(program.calls, this.#leader.call, 0, (error as Error).message))
      await Promise.race([this.#reason, grace()])
      throw this.#broken ?? new RunError('a worker failed and did not say why')
    }
  }

  /** Nothing runs any more, for this reason. */
  #break(reason: Error): void {
    this.#broken ??= reason
    this.#leader.halt()
    this.#giveReason()
  }
}

const grace = (): Promise<void> => new Promise(resolve => setTimeout(resolve, GRACE).unref())
