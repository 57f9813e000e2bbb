// Opening an executor in Node (also Deno and Bun): one thread runs inline, more run as a pool.
import { availableParallelism } from 'node:os'
import { UsageError } from '../errors.ts'
import { InlineExecutor, type Executor } from './executor.ts'

/** Options of `open` in Node, Deno and Bun. */
export interface OpenOptions {
  /** How many threads compute, the calling one included; `auto` (default): as many as this process may use. Never changes a result. */
  threads?: number | 'auto'
  /**
   * Try the engine's 256-bit mode (src/runtime/wide.ts): sets engine flags of the whole process, so it is off by default here (the command line turns
   * it on). Must be asked for before the first executor of the process is opened. Never changes a result.
   */
  wide?: boolean
}

/** Threads that this process may use: its Slurm allocation, where there is one (without cgroups the system does not tell), else what the system says. */
export function availableThreads(env: Readonly<Record<string, string | undefined>> = process.env): number {
  const slurm = Number(env.SLURM_CPUS_PER_TASK)
  return Number.isInteger(slurm) && slurm > 0 ? slurm : availableParallelism()
}

/** Open an executor: inline for one thread, a pool for more. close() it when done, or its threads keep the process alive. Throws UsageError for a bad `threads`, RunError if the engine cannot. */
export async function open({ threads = 'auto', wide = false }: OpenOptions = {}): Promise<Executor> {
  const count = threads === 'auto' ? availableThreads() : threads
  if (!Number.isInteger(count) || count < 1) throw new UsageError(`threads: ${JSON.stringify(threads)}, must be a positive integer or "auto"`)
  if (wide) (await import('./wide.ts')).enableWide()
  return count === 1 ? new InlineExecutor() : new (await import('./pool.ts')).PoolExecutor(count)
}
