// Runs of a sweep as a Slurm job array: one task per run, at most `throttle` at a time, and a job that collects the results when all have succeeded.
//
// A task is `blockscale sweep run FOLDER --index N`, which knows nothing of Slurm but SLURM_CPUS_PER_TASK (its number of threads). The batch script
// around it passes on SIGTERM, which Slurm sends some time before the time limit (`--signal=B:TERM@...`): the run writes a checkpoint and exits with 143,
// and the script puts the task back into the queue, to go on from there. A task that Slurm starts twice waits for the other one (claim.ts).
// Runs that failed make the collecting job's dependency unsatisfiable; Slurm then removes it, and `sweep resume` submits what is missing, and it, anew.
import { execFileSync } from 'node:child_process'
import { accessSync, constants, mkdirSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { RunError, UsageError } from '../../errors.ts'
import { writeFileAtomic } from '../../io/atomic.ts'
import type { ManifestEntry, SweepFolder } from '../manifest.ts'

export interface SlurmOptions {
  /** Program and arguments in front of `sweep run ...`: [node, dist/cli/main.js]. */
  blockscale: readonly string[]
  /** Tasks at a time; unlimited if absent. */
  throttle?: number
  cpusPerTask?: number
  /** As --mem wants it: "4G". */
  memory?: string
  /** As --time wants it: "02:00:00". */
  time?: string
  partition?: string
  /** Seconds between SIGTERM and the time limit. Slurm checks limits about once a minute, so SIGTERM may come up to 60 s early. */
  stopSeconds?: number
  /** More arguments after `sweep run FOLDER --index N` (the stub of the tests). */
  runArguments?: readonly string[]
}

export interface SlurmJobs { arrays: string[], collect: string }

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

/** Slurm programs missing from PATH. */
export function missingPrograms(names: readonly string[], path = process.env.PATH ?? ''): string[] {
  const isThere = (name: string) => path.split(delimiter).some(folder => {
    try { accessSync(join(folder, name), constants.X_OK); return true } catch { return false }
  })
  return names.filter(name => !isThere(name))
}

/** Submit `entries`. Throws UsageError that names the Slurm programs that are missing, RunError with Slurm's own words when it refuses. */
export function submitToSlurm(sweep: SweepFolder, entries: readonly ManifestEntry[], options: SlurmOptions): SlurmJobs {
  const missing = missingPrograms(['sbatch', 'scontrol', 'squeue'])
  if (missing.length) throw new UsageError(`--executor slurm: ${missing.join(', ')} not found in PATH; Slurm's client programs are needed on the machine that submits`)
  if (!entries.length) throw new UsageError('--executor slurm: no run is left to do')
  const folder = resolve(sweep.folder), slurm = join(folder, 'slurm')
  mkdirSync(slurm, { recursive: true })
  const chunk = maxArraySize() - 1
  const arrays: string[] = []
  for (let begin = 0; begin < entries.length; begin += chunk) {
    const part = entries.slice(begin, begin + chunk)
    const name = `array-${Date.now()}-${begin}`
    writeFileAtomic(join(slurm, `${name}.tasks`), part.map(e => `${e.index}\n`).join(''))
    writeFileAtomic(join(slurm, `${name}.sh`), arrayScript(folder, join(slurm, `${name}.tasks`), options))
    const throttle = options.throttle ? `%${options.throttle}` : ''
    // One array after the other, so that together they keep to the throttle.
    const after = arrays.length && throttle ? [`--dependency=afterany:${arrays.at(-1)}`] : []
    arrays.push(sbatch([`--array=0-${part.length - 1}${throttle}`, ...after, join(slurm, `${name}.sh`)]))
  }
  writeFileAtomic(join(slurm, 'collect.sh'), collectScript(folder, options))
  const collect = sbatch([`--dependency=afterok:${arrays.join(':')}`, '--kill-on-invalid-dep=yes', join(slurm, 'collect.sh')])
  return { arrays, collect }
}

function sbatch(args: readonly string[]): string {
  try {
    return execFileSync('sbatch', ['--parsable', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim().split(';')[0]!
  } catch (cause) {
    throw new RunError(`sbatch: ${String((cause as { stderr?: string }).stderr ?? (cause as Error).message).trim().split('\n').at(-1)}`, { cause })
  }
}

/** One more than the largest index a job array may have. */
function maxArraySize(): number {
  const config = execFileSync('scontrol', ['show', 'config'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  return Number(/^MaxArraySize\s*=\s*(\d+)/m.exec(config)?.[1] ?? 1001)
}

/** Batch script of the array: task K does the run whose index is line K of `tasksFile`. */
export function arrayScript(folder: string, tasksFile: string, options: SlurmOptions): string {
  const { blockscale, cpusPerTask = 1, memory, time, partition, stopSeconds = 120, runArguments = [] } = options
  const directives = [
    'job-name=blockscale', `output=${join(folder, 'slurm')}/%A_%a.log`, 'open-mode=append', `cpus-per-task=${cpusPerTask}`, `signal=B:TERM@${stopSeconds}`, 'requeue',
    ...memory ? [`mem=${memory}`] : [], ...time ? [`time=${time}`] : [], ...partition ? [`partition=${partition}`] : [],
  ]
  return `#!/bin/bash
${directives.map(d => `#SBATCH --${d}`).join('\n')}
index=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" ${quote(tasksFile)})
${[...blockscale, 'sweep', 'run', folder].map(quote).join(' ')} --index "$index" ${runArguments.map(quote).join(' ')} &
run=$!
trap 'kill -TERM $run' TERM
wait $run; code=$?
# A signal ends "wait" before the run has ended.
while [ $code -gt 128 ] && kill -0 $run 2> /dev/null; do wait $run; code=$?; done
# 143: stopped by SIGTERM, with a checkpoint. Still RUNNING means that the time limit was the reason, not scancel.
if [ $code = 143 ]; then
  # Not SLURM_JOB_ID: the last task of an array shares that with the whole array.
  task="${'$'}{SLURM_ARRAY_JOB_ID}_${'$'}{SLURM_ARRAY_TASK_ID}"
  state=$(squeue --noheader --jobs="$task" --format=%T)
  echo "stopped with a checkpoint, job is $state"
  # Slurm ends a requeued job itself; exiting first could overtake that and leave the job FAILED.
  if [ "$state" = RUNNING ]; then scontrol requeue "$task" && sleep 300; fi
fi
exit $code
`
}

function collectScript(folder: string, { blockscale, partition }: SlurmOptions): string {
  return `#!/bin/bash
#SBATCH --job-name=blockscale-collect
#SBATCH --output=${join(folder, 'slurm')}/collect-%j.log
${partition ? `#SBATCH --partition=${partition}\n` : ''}exec ${[...blockscale, 'sweep', 'collect', folder].map(quote).join(' ')}
`
}
