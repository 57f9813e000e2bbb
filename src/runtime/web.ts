// The web executor: the same programs, plans and barriers as the pool, on web workers. A page may not wait on shared memory, so it computes nothing: all
// `threads` threads are workers, and the first of them leads. Browsers share memory only with pages that are cross-origin isolated.
import { RunError, UsageError } from '../errors.ts'
import { instantiate, type CoreModules } from './instance.ts'
import { Arena } from './memory.ts'
import { loadSharedModules } from './shared-module.ts'
import { TeamExecutor } from './team-executor.ts'
import { Halted, SPINS, halt, type Command, type Crew } from './team.ts'
import type { Enlist, Report } from './web-worker.ts'

/** Options of `open` in a page. */
export interface WebOptions {
  /** How many workers compute; default: as many as the browser says there are cores. */
  threads?: number
  /** The core over shared memory, if it was compiled elsewhere. */
  core?: CoreModules
  /** Makes a worker that runs runtime/web-worker.js; for bundlers that do not know `new Worker(new URL(...))`. */
  worker?: () => Worker
}

const newWorker = (): Worker => new Worker(new URL('./web-worker.js', import.meta.url), { type: 'module' })

/** An Executor of web workers over shared memory. */
export class WebExecutor extends TeamExecutor {
  readonly #workers: Worker[]
  #done: (() => void) | null = null
  #halted: (() => void) | null = null

  /** Start the workers; they are awaited by the first run. Throws RunError where memory cannot be shared, UsageError for a bad number of threads. */
  constructor({ threads = globalThis.navigator?.hardwareConcurrency, core: compiled, worker = newWorker }: WebOptions = {}) {
    if (worker === newWorker && typeof Worker === 'undefined') throw new RunError('threads need web workers, and this runtime has none: use blockscale in Node, blockscale/edge (one thread) elsewhere')
    if (!Number.isInteger(threads) || threads < 1) throw new UsageError(`threads: ${threads}, must be a positive integer`)
    if (globalThis.crossOriginIsolated === false) {
      throw new RunError('threads need shared memory, and this page is not cross-origin isolated: serve it with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp, or use blockscale/edge, one thread')
    }
    const core = compiled ?? loadSharedModules()
    const arena = new Arena(threads + 1, true) // the page's own instance needs scratch memory too
    super(threads, core, arena, instantiate(core, arena.memory, arena.scratch(threads)))
    const crew: Crew = { core, memory: arena.memory, threads, spins: threads > (globalThis.navigator?.hardwareConcurrency ?? 0) ? 0 : SPINS }
    this.#workers = Array.from({ length: threads }, (_, thread) => {
      const started = worker()
      started.onmessage = ({ data }: MessageEvent<Report>) => {
        if (data) this.broken(data)
        else this.#done?.()
      }
      started.onerror = event => this.broken(new RunError(`thread ${thread} died: ${event.message ?? 'its script could not be loaded'}`))
      started.postMessage({ crew, post: { thread, scratch: arena.scratch(thread), patience: -1 } } satisfies Enlist)
      return started
    })
  }

  protected lead(command: Command): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#done = resolve
      this.#halted = () => reject(new Halted())
      this.#workers[0]!.postMessage(command)
    })
  }

  protected halt(): void {
    halt(this.kernels)
    this.#halted?.()
  }

  protected async stop(): Promise<void> { for (const worker of this.#workers) worker.terminate() }
}
