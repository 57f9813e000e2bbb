// The folder of one run:
//   config.json         format, version, hash and the resolved configuration
//   metrics.jsonl       one row per line (types.ts), append-only
//   checkpoints/        step-00000200.safetensors
//   summary.json        written last: its presence means that the run finished
//   report.html
//   lock                who is writing here; removed at the end
// A second process is refused while the lock's owner lives. The lock of a process that died is taken over.
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readdirSync, renameSync, rmSync, rmdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { RunError, UsageError } from '../errors.ts'
import { PARTIAL, writeAll, writeError, writeFileAtomic } from '../io/atomic.ts'
import { processLives, processStart } from '../io/process.ts'
import { formatLine, parseLines } from '../io/jsonl.ts'
import { expired } from './checkpoint.ts'
import { configHash } from './config-file.ts'
import { parseConfig, type RunConfig } from './config.ts'
import { VERSION } from '../version.ts'
import type { EngineInfo, MetricsRow, RunSummary } from './types.ts'

/** Layout of the folder. A folder with another number is refused, not guessed at. */
const FORMAT = 1

export interface RunFile { readonly format: number, readonly version: string, readonly hash: string, readonly config: RunConfig, readonly engine?: EngineInfo, readonly parent?: { directory: string, step: number } }

interface Owner { pid: number, host: string, started: string }

/** Does the process that wrote this lock still run? Unknown (another host) counts as yes. */
const isAlive = ({ pid, host, started }: Owner): boolean => host !== hostname() || processLives(pid, started)

/** Take the lock file at `path`. Returns the function that gives it back. Throws UsageError if a living process holds it. */
export function takeLock(path: string, what: string): () => void {
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), started: processStart(process.pid) ?? '' } satisfies Owner)
  for (let attempt = 0; attempt < 5; attempt++) {
    try {
      writeFileSync(path, mine, { flag: 'wx' })
      return () => { try { if (readFileSync(path, 'utf8') === mine) unlinkSync(path) } catch { /* gone already */ } }
    } catch (error) { if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw writeError(path, mine.length, error as NodeJS.ErrnoException) }
    let held = ''
    try { held = readFileSync(path, 'utf8') } catch { continue } // given back in the meantime
    let owner: Owner | null = null
    try { owner = JSON.parse(held) } catch { /* torn by a crash, or being written this moment */ }
    const age = (Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0)) / 1000
    if (owner ? isAlive(owner) : age < 2) {
      throw new UsageError(`${what} is in use by process ${owner?.pid ?? '?'}${owner && owner.host !== hostname() ? ` on ${owner.host}; if that process is gone, delete ${path}` : ''}`)
    }
    // Its owner died. Of several processes that see this, the rename lets one through; the others find a new lock or none.
    const aside = `${path}.${process.pid}${PARTIAL}`
    try { renameSync(path, aside) } catch { continue }
    if (readFileSync(aside, 'utf8') !== held) renameSync(aside, path) // another process was quicker and this is its lock
    else unlinkSync(aside)
  }
  throw new RunError(`cannot lock ${path}: other processes keep taking it`)
}

/** Is there a run in `directory`? */
export const holdsRun = (directory: string): boolean => existsSync(join(directory, 'config.json'))

/** config.json of a run. Throws UsageError if the folder holds no run, one of another version, or a damaged one. */
export function readRunFile(directory: string): RunFile {
  const path = join(directory, 'config.json')
  if (!existsSync(path)) throw new UsageError(`${directory} holds no run (no config.json)`)
  let file: RunFile
  try { file = JSON.parse(readFileSync(path, 'utf8')) } catch (error) { throw new UsageError(`${path}: ${(error as Error).message.split('\n')[0]}`) }
  if (file?.format !== FORMAT) throw new UsageError(`${directory} was written by blockscale ${file?.version ?? '(unknown)'} (layout ${file?.format ?? '?'}); this is ${VERSION} (layout ${FORMAT}): use that version, or another --out`)
  if (configHash(file.config) !== file.hash) throw new UsageError(`${path}: hash does not match the configuration, the file was changed`)
  // A version that knows more settings reads the run with their defaults; it cannot go on with it, because the hash would be another.
  try { return { ...file, config: parseConfig(file.config) } } catch (error) {
    throw new UsageError(`${directory} was written by blockscale ${file.version}, with settings that this one (${VERSION}) does not have: ${(error as Error).message}`)
  }
}

/** metrics.jsonl of a run; a torn last line is left out. Throws UsageError. */
export function readMetrics(directory: string): MetricsRow[] {
  const path = join(directory, 'metrics.jsonl')
  return existsSync(path) ? parseLines<MetricsRow>(readFileSync(path, 'utf8'), path) : []
}

/** summary.json of a finished run, or null. */
export function readSummary(directory: string): RunSummary | null {
  const path = join(directory, 'summary.json')
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null
}

/** Checkpoints of a run: completed steps in rising order. */
export function listCheckpoints(directory: string): number[] {
  const folder = join(directory, 'checkpoints')
  if (!existsSync(folder)) return []
  return readdirSync(folder).flatMap(name => /^step-(\d+)\.safetensors$/.exec(name)?.[1] ?? []).map(Number).sort((a, b) => a - b)
}

/** The path of the checkpoint after `step` completed steps. */
export const checkpointFile = (directory: string, step: number): string => join(directory, 'checkpoints', `step-${String(step).padStart(8, '0')}.safetensors`)

/** A run that this process owns and writes to. */
export class RunDirectory {
  readonly path: string
  readonly config: RunConfig
  readonly #unlock: () => void
  /** No run was here before. */
  readonly #fresh: boolean
  #metrics: number | undefined

  private constructor(path: string, config: RunConfig, unlock: () => void, fresh: boolean) {
    this.path = path
    this.config = config
    this.#unlock = unlock
    this.#fresh = fresh
  }

  /**
   * Lock `path` and open it for `config`, creating it if need be. Throws UsageError if another process uses it, if it holds another configuration or
   * another version's run, or, unless `resume` is given, if it holds an unfinished run.
   */
  static open(path: string, config: RunConfig, { resume = false, engine, parent }: { resume?: boolean, engine?: EngineInfo, parent?: RunFile['parent'] } = {}): RunDirectory {
    const hash = configHash(config)
    try { mkdirSync(join(path, 'checkpoints'), { recursive: true }) } catch (error) { throw new UsageError(`cannot create ${path}: ${(error as Error).message}`) }
    const unlock = takeLock(join(path, 'lock'), `run directory ${path}`)
    try {
      let old: RunFile | undefined
      if (holdsRun(path)) {
        old = readRunFile(path)
        if (old.hash !== hash && configHash(old.config) === hash) throw new UsageError(`${path} was written by a version of blockscale (${old.version}) that did not know all of today's settings: finish it with that version, or use another --out`)
        if (old.hash !== hash) throw new UsageError(`${path} holds a run of another configuration (hash ${old.hash.slice(0, 12)}, not ${hash.slice(0, 12)}): use another --out`)
        if (!resume) throw new UsageError(`${path} holds this run already: continue it with --resume, or remove the folder`)
      } else if (resume) throw new UsageError(`${path} holds no run to resume`)
      for (const folder of [path, join(path, 'checkpoints')]) for (const name of readdirSync(folder)) if (name.endsWith(PARTIAL)) rmSync(join(folder, name), { force: true })
      writeFileAtomic(join(path, 'config.json'), `${JSON.stringify({ format: FORMAT, version: VERSION, hash, config, engine, parent: parent ?? old?.parent } satisfies RunFile, null, 2)}\n`)
      return new RunDirectory(path, config, unlock, old === undefined)
    } catch (error) { unlock(); throw error }
  }

  /** Append rows to metrics.jsonl. Throws RunError on a full disk; what was written before stays. */
  log(...rows: MetricsRow[]): void {
    const path = join(this.path, 'metrics.jsonl')
    const bytes = Buffer.from(rows.map(formatLine).join(''))
    try {
      this.#metrics ??= openSync(path, 'a')
      writeAll(this.#metrics, bytes)
    } catch (error) { throw writeError(path, bytes.length, error as NodeJS.ErrnoException) }
  }

  /** Drop the rows of steps after `step` (and the end's, and a torn last line), so that a resumed run's file is that of an uninterrupted one. */
  rewind(step: number): void {
    if (this.#metrics !== undefined) closeSync(this.#metrics)
    this.#metrics = undefined
    writeFileAtomic(join(this.path, 'metrics.jsonl'), readMetrics(this.path).filter(row => row.step <= step && !(row.kind === 'event' && row.event === 'finished')).map(formatLine).join(''))
    rmSync(join(this.path, 'summary.json'), { force: true })
  }

  /** Where the checkpoint of `step` goes. */
  checkpoint(step: number): string { return checkpointFile(this.path, step) }

  /** Delete the checkpoints that the configuration does not keep. */
  prune(): void {
    for (const step of expired(listCheckpoints(this.path), this.config)) rmSync(this.checkpoint(step), { force: true })
  }

  /** Mark the run as finished. */
  finish(summary: RunSummary): void {
    writeFileAtomic(join(this.path, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`)
  }

  /** Close, and take back what open() made, because the run could not begin. A run that was here before stays. */
  discard(): void {
    if (this.#fresh) rmSync(join(this.path, 'config.json'), { force: true })
    this.close()
    if (!this.#fresh) return
    try { for (const folder of [join(this.path, 'checkpoints'), this.path]) rmdirSync(folder) } catch { /* something else is in it */ }
  }

  /** Close the files and give the lock back. */
  close(): void {
    if (this.#metrics !== undefined) closeSync(this.#metrics)
    this.#metrics = undefined
    this.#unlock()
  }
}
