// Who works on a run. A run may be started twice (a scheduler that lost its state, two people, a machine that came back); only one may work on it.
//
// Each attempt is a file attempt-N.json in the run's state folder, made complete elsewhere and then hard-linked to its name, which fails if the name
// exists: so exactly one process gets each N, on NFS too. The newest attempt owns the run while it is alive, and a dead one is succeeded by N + 1;
// nothing is ever deleted, so the files are also the run's history. Alive means, on the same machine: the process or its child exists (same start time,
// so a reused process id does not count); on another machine: the file was touched in the last minute, by the file system's clock.
import { existsSync, linkSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { writeFileAtomic } from '../io/atomic.ts'
import { processLives, processStart } from '../io/process.ts'

/** Heartbeats are written this often, and an attempt on another machine counts as dead after this long without one. */
export const HEARTBEAT_MS = 5_000, SILENCE_MS = 60_000

export type Outcome = 'finished' | 'failed' | 'interrupted'

export interface Attempt {
  number: number
  host: string
  /** Tells boots of one machine, and machines of one name, apart; '' where the system has none. */
  boot: string
  pid: number
  pidStart: string
  child?: { pid: number, pidStart: string }
  /** Scheduler's name of the job, for people. */
  job?: string
  started: string
  ended?: string
  outcome?: Outcome
  /** Exit code or signal of the child, or why it did not start. */
  detail?: string
}

const readText = (file: string) => { try { return readFileSync(file, 'utf8') } catch { return '' } }
const thisBoot = () => readText('/proc/sys/kernel/random/boot_id').trim()

/** The attempts on a run so far, oldest first. */
export function attempts(stateFolder: string): Attempt[] {
  if (!existsSync(stateFolder)) return []
  const numbers = readdirSync(stateFolder).flatMap(f => /^attempt-(\d+)\.json$/.exec(f)?.[1] ?? []).map(Number).sort((a, b) => a - b)
  return numbers.map(n => JSON.parse(readFileSync(attemptFile(stateFolder, n), 'utf8')))
}

const attemptFile = (stateFolder: string, number: number) => join(stateFolder, `attempt-${number}.json`)

/** The file system's clock, milliseconds since 1970: the time of a file written just now. Machines' own clocks may differ by more than a heartbeat. */
function fileClock(folder: string): number {
  const probe = join(folder, `.clock-${process.pid}`)
  writeFileSync(probe, '')
  const now = statSync(probe).mtimeMs
  rmSync(probe)
  return now
}

/** Is somebody working on this attempt? `clock`: a reader that must not write gives Date.now, and takes the clocks' difference into the bargain. */
export function isAlive(stateFolder: string, attempt: Attempt, clock: () => number = () => fileClock(stateFolder)): boolean {
  if (attempt.ended) return false
  if (attempt.host === hostname() && attempt.boot === thisBoot()) {
    return processLives(attempt.pid, attempt.pidStart) || (attempt.child !== undefined && processLives(attempt.child.pid, attempt.child.pidStart))
  }
  return clock() - statSync(attemptFile(stateFolder, attempt.number)).mtimeMs < SILENCE_MS
}

/** The right to work on a run. Ends with release(); heartbeats stop with the process. */
export class Claim {
  readonly folder: string
  readonly attempt: Attempt
  readonly #timer: NodeJS.Timeout

  constructor(folder: string, attempt: Attempt) {
    this.folder = folder
    this.attempt = attempt
    this.#timer = setInterval(() => {
      const now = new Date()
      try { utimesSync(this.#file, now, now) } catch { /* the folder is gone or unreachable: others will see the silence */ }
    }, HEARTBEAT_MS).unref()
  }

  get #file(): string { return attemptFile(this.folder, this.attempt.number) }

  /** Note the process that does the work: while it lives the claim holds, even if this process is killed. */
  setChild(pid: number): void {
    this.attempt.child = { pid, pidStart: processStart(pid) ?? '' }
    this.#write()
  }

  /** Is this still the newest attempt? False after others took this machine for dead. */
  holds(): boolean { return !existsSync(attemptFile(this.folder, this.attempt.number + 1)) }

  release(outcome: Outcome, detail: string): void {
    clearInterval(this.#timer)
    Object.assign(this.attempt, { ended: new Date().toISOString(), outcome, detail })
    this.#write()
  }

  #write(): void { writeFileAtomic(this.#file, `${JSON.stringify(this.attempt)}\n`) }
}

/** Claim the run of a state folder; or return the living attempt that has it. */
export function claim(stateFolder: string, job?: string): Claim | Attempt {
  mkdirSync(stateFolder, { recursive: true })
  const ready = join(stateFolder, `.claim-${hostname()}-${process.pid}`)
  for (;;) {
    const newest = attempts(stateFolder).at(-1)
    if (newest && isAlive(stateFolder, newest)) return newest
    const attempt: Attempt = {
      number: (newest?.number ?? -1) + 1, host: hostname(), boot: thisBoot(), pid: process.pid, pidStart: processStart(process.pid) ?? '',
      ...job ? { job } : {}, started: new Date().toISOString(),
    }
    writeFileSync(ready, `${JSON.stringify(attempt)}\n`)
    try {
      linkSync(ready, attemptFile(stateFolder, attempt.number))
      return new Claim(stateFolder, attempt)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    } finally {
      rmSync(ready, { force: true })
    }
  }
}
