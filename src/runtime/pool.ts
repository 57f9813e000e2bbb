// The pool executor: Piscina owns the workers' life, shared memory carries the work. Each worker runs a single Piscina task that lasts as long as the
// pool (team.ts); the caller is thread 0 and computes its share, so `threads` threads need threads - 1 workers.
//
// The caller blocks while it walks a program, but sleeps at a barrier for at most PATIENCE before it lets the event loop turn: so the death of a worker
// is seen, and ends the run with a RunError instead of a hang. After a failure the pool only closes.
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Piscina } from 'piscina'
import { RunError } from '../errors.ts'
import type { CoreModules } from './instance.ts'
import { Arena } from './memory.ts'
import { loadSharedModules } from './shared-module.ts'
import { TeamExecutor } from './team-executor.ts'
import { Halted, Member, SPINS, halt, type Command, type Crew, type Failure, type Post } from './team.ts'
import { breathe } from './walk.ts'

/** Milliseconds the caller sleeps at a barrier before it lets the event loop turn. */
const PATIENCE = 50

// Node runs JavaScript: when this file runs from src/ (in tests), the worker is the built one in dist/.
const WORKER = fileURLToPath(new URL('./worker.js', import.meta.url.replace(/\/src\/runtime\/pool\.ts$/, '/dist/runtime/pool.js')))

export class PoolExecutor extends TeamExecutor {
  /** Piscina's pool. For tests, which end its threads. */
  readonly workers: Piscina
  readonly #leader: Member
  readonly #tasks: Promise<void>[]

  /** Start `threads - 1` workers; they are awaited by the first run. `threads` is at least 2. */
  constructor(threads: number, core: CoreModules = loadSharedModules()) {
    const arena = new Arena(threads, true)
    const crew: Crew = { core, memory: arena.memory, threads, spins: threads > availableParallelism() ? 0 : SPINS }
    const leader = new Member(crew, { thread: 0, scratch: arena.scratch(0), patience: PATIENCE })
    super(threads, core, arena, leader.kernels)
    this.#leader = leader
    const count = threads - 1
    this.workers = new Piscina({ filename: WORKER, minThreads: count, maxThreads: count, idleTimeout: Infinity, atomics: 'disabled', workerData: crew })
    this.#tasks = Array.from({ length: count }, async (_, i) => {
      const post: Post = { thread: i + 1, scratch: arena.scratch(i + 1), patience: -1 }
      try {
        const failed = await this.workers.run(post) as Failure | undefined
        if (failed) this.broken(failed)
      } catch (error) {
        this.broken(new RunError(`thread ${post.thread} died: ${(error as Error).message}`))
      }
    })
  }

  protected async lead(command: Command): Promise<void> {
    try {
      await this.#leader.lead(command, breathe)
    } catch (error) {
      if (error instanceof Halted) throw error
      this.broken(this.#leader.fail(error))
      throw new Halted()
    }
  }

  protected halt(): void { halt(this.kernels) }

  protected async stop(soon: Promise<void>): Promise<void> {
    await Promise.race([Promise.all(this.#tasks), soon])
    await this.workers.destroy()
    await Promise.all(this.#tasks)
  }
}
