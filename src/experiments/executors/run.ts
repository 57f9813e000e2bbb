// One run of a sweep, whoever asks for it: claimed, trained in a child process, marked as done. Running it again does nothing; running it twice at once
// lets the second return. Every executor, and any scheduler through `sweep run --index N`, comes through here.
import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { writeFileAtomic } from '../../io/atomic.ts'
import { readMetrics } from '../../train/run-directory.ts'
import { attempts, Claim, claim, HEARTBEAT_MS } from '../claim.ts'
import type { ManifestEntry, SweepFolder } from '../manifest.ts'

/** What the child process is told. */
export interface RunRequest {
  /** JSON file with the resolved configuration, called run.json. */
  configFile: string
  directory: string
  threads: number
  /** The directory holds an earlier attempt's work. */
  resume: boolean
}

/** Program and arguments that do a run. Exit code 0 means finished, and so does another after the event `nan` in its metrics; SIGTERM asks it to write a checkpoint and exit. */
export type RunCommand = (request: RunRequest) => readonly [string, ...string[]]

/** `blockscale train`, by the command line at `main` (dist/cli/main.js), which names the directory after the file and the hash: run-HASH. */
export const trainCommand = (main: string): RunCommand => ({ configFile, directory, threads, resume }) =>
  [process.execPath, main, 'train', configFile, '--out', dirname(directory), '--threads', String(threads), '--quiet', '--no-report', ...resume ? ['--resume'] : []]

export interface RunOptions {
  command: RunCommand
  threads: number
  /** Aborting sends SIGTERM to the child, and SIGKILL after `graceMs`. */
  signal?: AbortSignal
  graceMs?: number
  /** Scheduler's name of this job, kept in the attempt. */
  job?: string
}

export type RunResult =
  | { result: 'finished' | 'failed' | 'interrupted', detail: string, seconds: number }
  | { result: 'already finished' | 'busy' | 'taken over', detail: string }

/** Do one run. Never throws for what happens to the run itself. */
export async function runOne(sweep: SweepFolder, entry: ManifestEntry, options: RunOptions): Promise<RunResult> {
  if (sweep.isFinished(entry)) return { result: 'already finished', detail: '' }
  const state = sweep.stateFolder(entry)
  const earlier = attempts(state).at(-1)
  const held = claim(state, options.job)
  if (!(held instanceof Claim)) return { result: 'busy', detail: `attempt ${held.number} on ${held.host}, process ${held.pid}` }
  if (sweep.isFinished(entry)) { // it finished between the look and the claim
    held.release('interrupted', 'already finished')
    return { result: 'already finished', detail: '' }
  }
  const configFile = join(state, 'run.json')
  const directory = sweep.runFolder(entry)
  const resume = existsSync(join(directory, 'config.json'))
  // The trainer keeps a lock of its own and cannot know that a process on another machine is dead; the silence of its attempt says so.
  if (earlier && earlier.host !== held.attempt.host) rmSync(join(directory, 'lock'), { force: true })
  mkdirSync(join(sweep.folder, 'runs'), { recursive: true })
  if (!existsSync(configFile)) writeFileAtomic(configFile, `${JSON.stringify(entry.config, null, 2)}\n`)
  const started = performance.now()
  const { code, detail } = await child(options.command({ configFile, directory, threads: options.threads, resume }), join(state, `attempt-${held.attempt.number}.log`), held, options)
  const seconds = (performance.now() - started) / 1000
  const diverged = code === 0 || options.signal?.aborted ? null : divergence(directory)
  if (!held.holds()) return { result: 'taken over', detail: 'another machine took this attempt for dead' }
  if (code === 0 || diverged !== null) {
    writeFileAtomic(sweep.doneFile(entry), `${JSON.stringify({ finished: new Date().toISOString(), attempt: held.attempt.number, seconds, ...diverged !== null ? { diverged } : {} })}\n`)
    held.release('finished', diverged ?? detail)
    return { result: 'finished', detail: diverged ?? detail, seconds }
  }
  const outcome = options.signal?.aborted ? 'interrupted' : 'failed'
  held.release(outcome, detail)
  return { result: outcome, detail, seconds }
}

/**
 * A run whose loss is no longer finite ends as a failure of `blockscale train`. For a sweep that is a result like any other: going on from the checkpoint
 * would end there again, and a table without it would show the survivors. Returns what the run's last event says about it, null if it ended otherwise.
 */
function divergence(directory: string): string | null {
  let last
  try { last = readMetrics(directory).findLast(row => row.kind === 'event') } catch { return null }
  return last?.event === 'nan' ? `diverged at step ${last.step}: ${last.detail}` : null
}

function child(command: readonly [string, ...string[]], logFile: string, held: Claim, { signal, graceMs = 60_000, threads }: RunOptions): Promise<{ code: number | null, detail: string }> {
  const [program, ...args] = command
  const log = openSync(logFile, 'a')
  return new Promise(resolve => {
    let kill: NodeJS.Timeout | undefined
    const done = (code: number | null, detail: string) => {
      clearTimeout(kill)
      clearInterval(watch)
      signal?.removeEventListener('abort', stop)
      resolve({ code, detail })
    }
    // Detached on a terminal: there Ctrl-C would reach the child too, and then once more through `stop`.
    const worker = spawn(program, args, { stdio: ['ignore', log, log], detached: process.stdin.isTTY === true, env: { ...process.env, BLOCKSCALE_THREADS: String(threads) } })
    closeSync(log)
    const stop = () => {
      worker.kill('SIGTERM')
      kill = setTimeout(() => worker.kill('SIGKILL'), graceMs)
    }
    const watch = setInterval(() => { if (!held.holds()) worker.kill('SIGKILL') }, HEARTBEAT_MS)
    worker.on('error', error => done(null, `could not start ${program}: ${error.message}`))
    worker.on('exit', (code, by) => done(code, code === 0 ? '' : `${by ? `killed by ${by}` : `exit code ${code}`}${lastLine(logFile)}`))
    if (worker.pid !== undefined) held.setChild(worker.pid)
    if (signal?.aborted) stop()
    else signal?.addEventListener('abort', stop)
  })
}

/** The child's last words, ready to follow a colon. */
function lastLine(logFile: string): string {
  const line = readFileSync(logFile, 'utf8').trimEnd().split('\n').at(-1)?.slice(0, 300)
  return line ? `: ${line}` : ''
}
