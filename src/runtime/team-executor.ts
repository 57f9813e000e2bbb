// What executors with several threads have in common, whoever starts the threads: one program at a time, and an end to all when a thread fails.
import { RunError, UsageError } from '../errors.ts'
import type { Executor } from './executor.ts'
import type { CoreModules, KernelArgs, KernelName, Kernels } from './instance.ts'
import type { Arena } from './memory.ts'
import type { Program } from './program.ts'
import { Halted, Mailbox, readTrace, type Command, type Failure } from './team.ts'
import { BREATH, breathe, failure, type Span } from './walk.ts'

/** Milliseconds given to a worker to say why it failed, or to end. */
const GRACE = 1000

export abstract class TeamExecutor implements Executor {
  readonly threads: number
  readonly arena: Arena
  readonly core: CoreModules
  /** The calling thread's instance of the core. */
  readonly kernels: Kernels
  readonly #mailbox: Mailbox
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

  constructor(threads: number, core: CoreModules, arena: Arena, kernels: Kernels) {
    this.threads = threads
    this.core = core
    this.arena = arena
    this.kernels = kernels
    this.#mailbox = new Mailbox(arena, kernels)
  }

  /** Walk what the command says with all threads. Rejects, with Halted, when the team was halted; whoever halts it says why to broken(). */
  protected abstract lead(command: Command): Promise<void>
  /** Make every thread leave its barrier, for good. */
  protected abstract halt(): void
  /** End the threads, which are halted. `soon` resolves when they have had time enough to end by themselves. */
  protected abstract stop(soon: Promise<void>): Promise<void>

  run(program: Program): Promise<void> { return this.#enqueue(() => this.#walk(program)) }

  trace(program: Program): Promise<Span[]> {
    let spans: Span[] = []
    return this.#enqueue(async () => {
      await this.#walk(program, command => { spans = readTrace(program, this.kernels, command, this.threads) })
      return spans
    })
  }

  call<K extends KernelName>(kernel: K, args: KernelArgs<K>, items: number): void {
    if (this.#pending) throw new UsageError(`call of ${kernel}: a program is running; await run() first`)
    ;(this.kernels[kernel] as (...args: number[]) => void)(...(args as number[]), 0, items)
  }

  async close(): Promise<void> {
    this.broken(new UsageError('the executor is closed'))
    await this.stop(grace())
  }

  /** A thread failed, or died, or the executor is closed: nothing runs any more, for the first such reason. */
  protected broken(reason: Error | Failure): void {
    this.#broken ??= reason instanceof Error ? reason : failure(this.#running?.calls ?? [], reason.call, reason.thread, reason.message)
    this.halt()
    this.#giveReason()
  }

  #enqueue<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#pending++ === 0 ? job() : this.#last.then(job, job)
    this.#last = result
    return result
  }

  /** Walk a program with all threads. Ticks are noted if there is someone to `read` them. */
  async #walk(program: Program, read?: (command: Command) => void): Promise<void> {
    try {
      if (this.#broken) throw this.#broken
      this.#running = program
      const command = this.#mailbox.post(program, read !== undefined)
      try {
        await this.lead(command)
      } catch (error) {
        if (!(error instanceof Halted)) throw error
        await Promise.race([this.#reason, grace()])
        throw this.#broken ?? new RunError('a thread failed and did not say why')
      }
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
}

const grace = (): Promise<void> => new Promise(resolve => {
  const timer = setTimeout(resolve, GRACE) as unknown
  if (typeof timer === 'object') (timer as { unref(): void }).unref() // in node it must not keep the process alive
})
