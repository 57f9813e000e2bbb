// A sweep on disk. One folder:
//   sweep.json        what this folder is, and which version of this layout
//   sweep.yaml        the sweep as it was given
//   manifest.jsonl    one run per line: index, name, hash, resolved configuration
//   state/HASH/       who worked on the run: attempt-N.json, attempt-N.log, run.json (the configuration), and done.json once it is finished
//   runs/run-HASH/    the run directory, the trainer's alone
//   runs.csv, runs.parquet   written by collect
// A run's hash is the first 12 hex digits of the SHA-256 of its resolved configuration as canonical JSON, as in the names of run directories everywhere,
// so equal configurations are one run.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { canonicalJson, loadConfig } from '../train/config-file.ts'
import { attempts, isAlive, type Attempt } from './claim.ts'
import type { SweepFile } from './sweep.ts'

/** Version of the folder's layout. */
const LAYOUT = 1

export interface ManifestEntry {
  index: number
  name: string
  hash: string
  config: Record<string, unknown>
}

/** Turns a sweep's base and patches into a configuration. */
export type Resolve = (base: string | null, patches: readonly Record<string, unknown>[]) => Record<string, unknown>

/** Our own configurations, validated, with defaults filled in. */
export const resolveRunConfig: Resolve = (base, patches) => loadConfig(base, [], patches) as unknown as Record<string, unknown>

/** The manifest of a sweep. Throws UsageError when a configuration is wrong (saying which run) or two runs are the same. */
export function manifest(sweep: SweepFile, resolve: Resolve = resolveRunConfig): ManifestEntry[] {
  const seen = new Map<string, ManifestEntry>()
  return sweep.points.map(({ name, patches }, index) => {
    let config
    try { config = resolve(sweep.base, patches) } catch (error) {
      if (error instanceof UsageError) throw new UsageError(`run ${index}${name ? ` (${name})` : ''}: ${placed(error.message, sweep, index)}`)
      throw error
    }
    const hash = createHash('sha256').update(canonicalJson(config)).digest('hex').slice(0, 12)
    const entry = { index, name, hash, config }
    const twin = seen.get(hash)
    if (twin) throw new UsageError(`runs ${twin.index} (${twin.name}) and ${index} (${name}) are the same configuration`)
    seen.set(hash, entry)
    return entry
  })
}

/** An error of a run's configuration with the place in the sweep's file, which overrides that in a file under it. */
function placed(message: string, sweep: SweepFile, index: number): string {
  const key = /^config: ([\w.]+)/.exec(message)?.[1], place = key && sweep.where?.(key, index)
  return place ? message.replace(/ \([^()]* line \d+, column \d+\)$/, '') + place : message
}

export type RunState = 'pending' | 'running' | 'interrupted' | 'lost' | 'failed' | 'finished'

export class SweepFolder {
  readonly folder: string
  readonly entries: readonly ManifestEntry[]

  private constructor(folder: string, entries: readonly ManifestEntry[]) {
    this.folder = folder
    this.entries = entries
  }

  /** Make the folder of a sweep, or open it if it already holds this very sweep. Throws UsageError if it holds another. */
  static create(folder: string, text: string, entries: readonly ManifestEntry[]): SweepFolder {
    const lines = entries.map(e => `${JSON.stringify(e)}\n`).join('')
    if (existsSync(join(folder, 'sweep.json'))) {
      const there = SweepFolder.open(folder).entries
      const same = there.length === entries.length && there.every((e, i) => e.hash === entries[i]!.hash)
      if (!same) throw new UsageError(`${folder} holds another sweep (${there.length} runs, this one has ${entries.length}): give another --out, or remove it`)
    } else {
      mkdirSync(folder, { recursive: true })
      writeFileAtomic(join(folder, 'sweep.yaml'), text)
      writeFileAtomic(join(folder, 'manifest.jsonl'), lines)
      writeFileAtomic(join(folder, 'sweep.json'), `${JSON.stringify({ blockscale: 'sweep', layout: LAYOUT, runs: entries.length })}\n`)
    }
    return new SweepFolder(folder, entries)
  }

  /** Open a sweep's folder. Throws UsageError if it is none, or one of another layout. */
  static open(folder: string): SweepFolder {
    const marker = join(folder, 'sweep.json')
    if (!existsSync(marker)) throw new UsageError(`${folder} is not a sweep: it has no sweep.json`)
    let file: { layout?: unknown } | null
    try { file = JSON.parse(readFileSync(marker, 'utf8')) } catch (error) { throw new UsageError(`${marker} is damaged: ${(error as Error).message.split('\n')[0]}`) }
    if (file?.layout !== LAYOUT) throw new UsageError(`${folder} was made by another version of blockscale: layout ${file?.layout}, this version reads ${LAYOUT}`)
    const list = join(folder, 'manifest.jsonl')
    return new SweepFolder(folder, readFileSync(list, 'utf8').trimEnd().split('\n').map((line, i) => {
      try { return JSON.parse(line) } catch (error) { throw new UsageError(`${list}:${i + 1} is damaged: ${(error as Error).message.split('\n')[0]}`) }
    }))
  }

  /** The run of an index. Throws UsageError if there is none. */
  entry(index: number): ManifestEntry {
    const entry = this.entries[index]
    if (!entry) throw new UsageError(`index ${index}: the sweep has runs 0 to ${this.entries.length - 1}`)
    return entry
  }

  stateFolder({ hash }: ManifestEntry): string { return join(this.folder, 'state', hash) }
  runFolder({ hash }: ManifestEntry): string { return join(this.folder, 'runs', `run-${hash}`) }
  doneFile(entry: ManifestEntry): string { return join(this.stateFolder(entry), 'done.json') }
  isFinished(entry: ManifestEntry): boolean { return existsSync(this.doneFile(entry)) }

  /** Where a run stands: `lost` was started and its process is gone without a word; `interrupted` was asked to stop and can go on. `clock`: as isAlive. */
  state(entry: ManifestEntry, clock?: () => number): { state: RunState, attempts: Attempt[] } {
    const tried = attempts(this.stateFolder(entry))
    const newest = tried.at(-1)
    const state = this.isFinished(entry) ? 'finished'
      : !newest ? 'pending'
      : isAlive(this.stateFolder(entry), newest, clock) ? 'running'
      : newest.outcome === 'finished' || !newest.outcome ? 'lost'
      : newest.outcome
    return { state, attempts: tried }
  }
}
