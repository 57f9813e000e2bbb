// Runs of a sweep on this machine: `jobs` child processes at a time, the cores divided among them, never more threads than cores.
import { UsageError } from '../../errors.ts'
import { availableThreads } from '../../runtime/open.ts'
import type { ManifestEntry, SweepFolder } from '../manifest.ts'
import { runOne, type RunOptions, type RunResult } from './run.ts'

/** Threads for each of `jobs` jobs on `cores` cores; the first ones get the remainder. Throws UsageError if there are more jobs than cores. */
export function divideCores(cores: number, jobs: number): number[] {
  if (!Number.isInteger(jobs) || jobs < 1) throw new UsageError(`--jobs ${jobs}: must be a positive integer`)
  if (jobs > cores) throw new UsageError(`--jobs ${jobs}: this machine gives ${cores} core${cores === 1 ? '' : 's'}, and each job needs one`)
  return Array.from({ length: jobs }, (_, i) => Math.floor(cores / jobs) + (i < cores % jobs ? 1 : 0))
}

export interface LocalOptions extends Omit<RunOptions, 'threads'> {
  jobs?: number
  cores?: number
  onStart?: (entry: ManifestEntry, threads: number) => void
  onEnd?: (entry: ManifestEntry, result: RunResult) => void
}

/** Do the given runs, in order, `jobs` at a time. A run that fails does not stop the others; aborting starts no more and interrupts those under way. */
export async function runLocally(sweep: SweepFolder, entries: readonly ManifestEntry[], options: LocalOptions): Promise<Map<ManifestEntry, RunResult>> {
  const { cores = availableThreads(), jobs = 1, onStart, onEnd, ...run } = options
  const results = new Map<ManifestEntry, RunResult>()
  const queue = [...entries]
  await Promise.all(divideCores(cores, jobs).map(async threads => {
    for (let entry = queue.shift(); entry && !run.signal?.aborted; entry = queue.shift()) {
      onStart?.(entry, threads)
      const result = await runOne(sweep, entry, { ...run, threads })
      results.set(entry, result)
      onEnd?.(entry, result)
    }
  }))
  return results
}
