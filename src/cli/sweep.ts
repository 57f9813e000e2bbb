// blockscale sweep: many runs from one file.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UsageError } from '../errors.ts'
import { runLocally } from '../experiments/executors/local.ts'
import { runOne, trainCommand, type RunCommand, type RunResult } from '../experiments/executors/run.ts'
import { submitToSlurm } from '../experiments/executors/slurm.ts'
import { collect, writeTable } from '../experiments/collect.ts'
import { manifest, SweepFolder, type ManifestEntry, type Resolve, type RunState } from '../experiments/manifest.ts'
import { fromOlmo, overOlmo, parseOlmoConfig } from '../experiments/olmo-config.ts'
import { parseSweep } from '../experiments/sweep.ts'
import { availableThreads } from '../runtime/open.ts'
import { configHash, loadConfig } from '../train/config-file.ts'
import { merge, parseConfig } from '../train/config.ts'
import { interruptible, parse, wholeNumber } from './arguments.ts'

export const help = `usage: blockscale sweep expand FILE              print the manifest: one run per line, as JSON
       blockscale sweep run FILE|FOLDER          do every run that is not finished and has not failed
       blockscale sweep resume FOLDER            also those that failed
       blockscale sweep status FOLDER            where each run stands
       blockscale sweep collect FOLDER           results of the finished runs: runs.csv and runs.parquet

Many runs from one file.

FILE holds a configuration and, beside it, entries (named changes), grid (lists of values) and seeds; or the paper's form (a list under sweep,
with the keys of its OLMo configurations).

  --out FOLDER              of the sweep; default runs/NAME-OF-FILE
  --config CONFIG           preset or file under every run, if FILE does not name one with extends; under the paper's sweeps also one of its own files
  --set KEY=VALUE           the same change to every run, over everything else (may be repeated)
  --index N                 do this one run, here and now; what any scheduler needs
  --executor local|slurm    local (default): child processes on this machine
  --jobs N                  local: runs at a time, the cores divided among them; default 1
                            slurm: tasks at a time, default unlimited
  --cpus N                  cores: those to divide among the jobs (local) or for the one run (--index), default all; per run (slurm), default 1
  --memory 4G --time 02:00:00 --partition NAME    slurm: what each run asks for
  --command "PROGRAM ..."   instead of blockscale train; gets CONFIG --out FOLDER --threads N [--resume], and keys that are its own affair
  --json                    status and collect as JSON

Runs are named by the hash of their configuration. Doing a run again does nothing; two processes never work on the same run; a stopped or killed one
goes on from its last checkpoint. Ctrl-C stops with a checkpoint.

examples:
  blockscale sweep run lr.yaml --jobs 2
  blockscale sweep run lr.yaml --executor slurm --jobs 8 --cpus 4 --time 04:00:00
  blockscale sweep run runs/lr --index "$JOB_COMPLETION_INDEX"
  blockscale sweep run scale_llama2.yaml --config base_fp8_e4m3_fp8_e4m3.yaml --set data.files=[text] --set model.vocabulary=null --set steps=100
`

const options = {
  out: { type: 'string' }, config: { type: 'string' }, set: { type: 'string', multiple: true, default: [] as string[] }, index: { type: 'string' }, executor: { type: 'string', default: 'local' }, jobs: { type: 'string' }, cpus: { type: 'string' },
  memory: { type: 'string' }, time: { type: 'string' }, partition: { type: 'string' }, command: { type: 'string' }, json: { type: 'boolean' },
} as const

export async function run(args: string[]): Promise<number> {
  const { values, positionals: [action, source] } = parse('sweep', args, options, [2, 2])
  const main = join(dirname(fileURLToPath(import.meta.url)), 'main.js')
  const words = values.command?.split(/\s+/).filter(Boolean)
  const wanted: Wanted = { config: values.config, set: values.set, unchecked: words !== undefined }
  const cpus = values.cpus === undefined ? undefined : wholeNumber('--cpus', values.cpus, 1)
  switch (action) {
    case 'expand':
      process.stdout.write(entriesOf(source!, wanted).map(e => `${JSON.stringify(e)}\n`).join(''))
      return 0
    case 'status': return status(SweepFolder.open(source!), values.json)
    case 'collect': return collectRuns(SweepFolder.open(source!), values.json)
    case 'run':
    case 'resume': {
      const isMade = action === 'resume' || isFolder(source!)
      if (isMade && (values.set.length || values.config !== undefined)) throw new UsageError(`--${values.set.length ? `set ${values.set[0]}` : `config ${values.config}`}: the runs of ${source} are fixed, give the file it was made from and another --out`)
      const sweep = isMade ? SweepFolder.open(source!)
        : SweepFolder.create(values.out ?? join('runs', basename(source!, extname(source!))), readFileSync(source!, 'utf8'), entriesOf(source!, wanted))
      if (!words) checkHashes(sweep)
      const command: RunCommand = words ? ({ configFile, directory, threads, resume }) =>
        [words[0]!, ...words.slice(1), configFile, '--out', directory, '--threads', String(threads), ...resume ? ['--resume'] : []] : trainCommand(main)
      if (values.index !== undefined) return runIndex(sweep, sweep.entry(wholeNumber('--index', values.index, 0)), command, cpus)
      const open: RunState[] = action === 'resume' ? ['pending', 'interrupted', 'lost', 'failed'] : ['pending', 'interrupted', 'lost']
      const entries = sweep.entries.filter(e => open.includes(sweep.state(e).state))
      const jobs = values.jobs === undefined ? undefined : wholeNumber('--jobs', values.jobs, 1)
      if (values.executor === 'local') return runHere(sweep, entries, command, jobs, cpus)
      if (values.executor !== 'slurm') throw new UsageError(`--executor ${values.executor}: must be local or slurm`)
      const { arrays, collect } = submitToSlurm(sweep, entries, {
        blockscale: [process.execPath, main], cpusPerTask: cpus ?? 1, ...jobs ? { throttle: jobs } : {}, runArguments: words ? ['--command', words.join(' ')] : [],
        ...values.memory ? { memory: values.memory } : {}, ...values.time ? { time: values.time } : {}, ...values.partition ? { partition: values.partition } : {},
      })
      process.stdout.write(`${entries.length} runs submitted as job ${arrays.join(', ')}; job ${collect} collects their results when all have succeeded\n`)
      return 0
    }
    default: throw new UsageError(`sweep ${action}: must be one of expand, run, resume, status, collect`)
  }
}

const isFolder = (path: string) => {
  if (!existsSync(path)) throw new UsageError(`${path}: no such file or folder`)
  return statSync(path).isDirectory()
}

/** Throws UsageError for a sweep of a version that did not know all settings: its runs would be trained under other hashes, in other folders. */
function checkHashes({ folder, entries }: SweepFolder): void {
  for (const { index, hash, config } of entries) {
    if (configHash(parseConfig(config)).startsWith(hash)) continue
    throw new UsageError(`${folder} was made by a version of blockscale that did not know all of today's settings (run ${index} is no longer ${hash}): finish it with that version, or give its sweep.yaml another --out`)
  }
}

interface Wanted {
  config: string | undefined
  set: readonly string[]
  /** The runs are another program's, whose keys we do not know. */
  unchecked: boolean
}

/** The runs of a file. */
function entriesOf(file: string, { config, set, unchecked }: Wanted): ManifestEntry[] {
  if (isFolder(file)) return [...SweepFolder.open(file).entries]
  const sweep = parseSweep(readFileSync(file, 'utf8'), basename(file))
  if (config !== undefined && sweep.base !== null) throw new UsageError(`--config ${config}: ${file} names its own with extends: ${sweep.base}`)
  const base = config ?? (sweep.base !== null && isPath(sweep.base) ? resolve(dirname(file), sweep.base) : sweep.base)
  if (unchecked) {
    if (set.length) throw new UsageError(`--set ${set[0]}: not together with --command, whose keys are its own affair`)
    return manifest(sweep, (_, patches) => patches.reduce<unknown>(merge, {}) as Record<string, unknown>)
  }
  const resolveRun: Resolve = (from, patches) => loadConfig(from, set, patches) as unknown as Record<string, unknown>
  if (sweep.form === 'blockscale') return manifest({ ...sweep, base }, resolveRun)
  const olmo = base !== null && isPath(base) && existsSync(base) ? parseOlmoConfig(readFileSync(base, 'utf8'), basename(base)) : null
  const left = new Set<string>()
  const entries = manifest({ ...sweep, base: olmo ? null : base }, (from, patches) => resolveRun(from, patches.map(p => {
    const { patch, ignored } = fromOlmo(olmo ? overOlmo(olmo, p) : p)
    for (const key of ignored) left.add(key)
    return patch
  })))
  if (left.size) process.stderr.write(`keys without a meaning here: ${[...left].join(', ')}\n`)
  return entries
}

const isPath = (name: string) => /[/\\]|\.ya?ml$|\.json$/.test(name)

async function runIndex(sweep: SweepFolder, entry: ManifestEntry, command: RunCommand, threads = availableThreads()): Promise<number> {
  const { signal, done } = interruptible()
  const { SLURM_ARRAY_JOB_ID: array, SLURM_ARRAY_TASK_ID: task, SLURM_JOB_ID: job } = process.env
  const name = array ? `slurm ${array}_${task}` : job ? `slurm ${job}` : undefined
  let result: RunResult
  // Another process has the run: wait until it has finished it, or died.
  while ((result = await runOne(sweep, entry, { command, threads, signal, ...name ? { job: name } : {} })).result === 'busy' && !signal.aborted) {
    await new Promise(wake => setTimeout(wake, 2000))
  }
  done()
  process.stderr.write(`run ${entry.index} ${entry.hash} (${entry.name}): ${outcome(result)}\n`)
  return result.result === 'finished' || result.result === 'already finished' ? 0 : signal.aborted ? 143 : 1
}

async function runHere(sweep: SweepFolder, entries: readonly ManifestEntry[], command: RunCommand, jobs = 1, cores = availableThreads()): Promise<number> {
  const { signal, done } = interruptible()
  const results = await runLocally(sweep, entries, {
    command, jobs, cores, signal,
    onStart: (entry, threads) => { process.stderr.write(`run ${entry.index} ${entry.hash} (${entry.name}): ${threads} thread${threads === 1 ? '' : 's'}\n`) },
    onEnd: (entry, result) => { process.stderr.write(`run ${entry.index} ${entry.hash} (${entry.name}): ${outcome(result)}\n`) },
  })
  done()
  const failed = [...results.values()].filter(r => r.result === 'failed' || r.result === 'taken over').length
  status(sweep)
  return signal.aborted ? 130 : failed ? 1 : 0
}

const outcome = (r: RunResult) => `${r.result}${'seconds' in r ? ` after ${r.seconds.toFixed(1)} s` : ''}${r.detail ? ` (${r.detail})` : ''}`

function status(sweep: SweepFolder, json = false): number {
  const states = sweep.entries.map(entry => ({ ...entry, ...sweep.state(entry) }))
  if (json) {
    process.stdout.write(`${JSON.stringify(states.map(({ config, ...rest }) => rest))}\n`)
    return 0
  }
  const counts = new Map<RunState, number>(), diverged = states.filter(s => s.state === 'finished' && /^diverged/.test(s.attempts.at(-1)?.detail ?? '')).length
  for (const { state } of states) counts.set(state, (counts.get(state) ?? 0) + 1)
  for (const { index, hash, name, state, attempts } of states) {
    if (state === 'finished' || state === 'pending') continue
    const last = attempts.at(-1)!
    process.stdout.write(`${String(index).padStart(5)}  ${hash}  ${state.padEnd(11)}  ${name}  attempt ${last.number} on ${last.host}${last.job ? ` (${last.job})` : ''}${last.detail ? `: ${last.detail}` : ''}\n`)
  }
  process.stdout.write(`${sweep.folder}: ${states.length} runs, ${[...counts].map(([state, count]) => `${count} ${state}`).join(', ')}${diverged ? `, of which ${diverged} diverged` : ''}\n`)
  return 0
}

function collectRuns(sweep: SweepFolder, json = false): number {
  const table = collect(sweep)
  if (!table.rows.length) throw new UsageError(`${sweep.folder}: no run has finished yet`)
  const path = join(sweep.folder, 'runs')
  writeTable(table, path)
  process.stdout.write(json ? `${JSON.stringify(table)}\n` : `${path}.csv, ${path}.parquet: ${table.rows.length} runs${table.missing ? `, ${table.missing} not finished` : ''}\n`)
  return 0
}
