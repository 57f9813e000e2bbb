// What came out of a sweep, ready to be compared: the settings that vary between its runs (its axes), and one result per arm and choice of settings.
//
// A run with two arms gives two results. The baseline arm of runs that differ in the studied precision alone is the same training again, so it counts once.
// Precisions are named as everywhere (describeScheme), and are no axis among the others: every comparison is between precisions.
import { canonicalJson } from '../train/config-file.ts'
import type { Arm } from '../train/config.ts'
import { collect, type Cell, type Row } from './collect.ts'
import type { ManifestEntry, SweepFolder } from './manifest.ts'
import { settings } from './settings.ts'

export interface Axis {
  /** Dotted key of the configuration. */
  readonly key: string
  /** Its values, rising if they are numbers, else in the manifest's order. */
  readonly values: readonly Cell[]
  readonly numeric: boolean
}

export interface ArmResult {
  readonly entry: ManifestEntry
  readonly arm: Arm
  readonly precision: string
  /** The varying settings other than precision and seed. */
  readonly at: Readonly<Record<string, Cell>>
  readonly seed: Cell
  /** Last validation loss (training loss where nothing was validated), null if it was not finite. */
  readonly loss: number | null
  /** Lowest validation loss. */
  readonly lowest: number | null
  readonly diverged: boolean
  readonly spikes: number
  /** Parameters N, tokens D, operations 6 N D of a language model; null for others. */
  readonly size: { readonly params: number, readonly tokens: number, readonly flops: number } | null
}

export interface SweepResults {
  readonly task: 'student-teacher' | 'language-model' | 'other'
  readonly axes: readonly Axis[]
  /** Settings that all runs share. */
  readonly shared: Readonly<Record<string, Cell>>
  /** Per run, by hash: every varying setting, precision and seed included. */
  readonly varying: ReadonlyMap<string, Readonly<Record<string, Cell>>>
  readonly results: readonly ArmResult[]
  /** The result of an arm of a run (of a shared baseline: the same for several); undefined while it is not finished or if it has no such arm. */
  of(entry: ManifestEntry, arm: Arm): ArmResult | undefined
  /** The precision that others are compared with; null if there is none to compare with. */
  readonly reference: string | null
}

/** The results of all finished runs of `sweep`. */
export function sweepResults(sweep: SweepFolder): SweepResults {
  const all = new Map(sweep.entries.map(e => [e.hash, settings(e.config)]))
  const keys = [...new Set([...all.values()].flatMap(Object.keys))]
  const valuesOf = (key: string) => [...new Set([...all.values()].map(s => s[key] ?? null))]
  const varyingKeys = keys.filter(key => valuesOf(key).length > 1)
  const axes = varyingKeys.filter(key => !['precision', 'baseline', 'seed'].includes(key)).map((key): Axis => {
    const values = valuesOf(key), numeric = values.every(v => typeof v === 'number')
    return { key, values: numeric ? values.toSorted((a, b) => Number(a) - Number(b)) : values, numeric }
  })
  const pick = (from: Record<string, Cell>, wanted: readonly string[]) => Object.fromEntries(wanted.map(key => [key, from[key] ?? null]))
  const rows = new Map(collect(sweep).rows.map(row => [row.hash, row]))
  const results = new Map<string, ArmResult>(), byRun = new Map<string, ArmResult>()
  for (const entry of sweep.entries) {
    const row = rows.get(entry.hash), own = all.get(entry.hash)!
    if (!row) continue
    for (const arm of ['baseline', 'studied'] as const) {
      if (!(`${arm}.steps` in row)) continue
      // The other arm of a run that ended early by diverging has no final loss to compare.
      if (row[`${arm}.diverged`] !== true && Number(row[`${arm}.steps`]) < Number(own.steps ?? 0)) continue
      const result = armResult(entry, arm, row, own, pick(own, axes.map(a => a.key)))
      const key = canonicalJson([result.precision, result.at, result.seed])
      if (!results.has(key)) results.set(key, result)
      byRun.set(`${arm} ${entry.hash}`, results.get(key)!)
    }
  }
  const list = [...results.values()]
  const named = (arm: Arm) => new Set(list.filter(r => r.arm === arm).map(r => r.precision))
  const precisions = new Set(list.map(r => r.precision)), [baseline] = named('baseline')
  const reference = precisions.size < 2 ? null : baseline ?? ['fp32', 'bf16'].find(p => precisions.has(p)) ?? null
  const task = sweep.entries[0]?.config.task
  return {
    task: task === 'student-teacher' || task === 'language-model' ? task : 'other', axes, reference, results: list, of: (entry, arm) => byRun.get(`${arm} ${entry.hash}`),
    shared: pick(all.values().next().value ?? {}, keys.filter(key => !varyingKeys.includes(key))),
    varying: new Map([...all].map(([hash, s]) => [hash, pick(s, varyingKeys)])),
  }
}

function armResult(entry: ManifestEntry, arm: Arm, row: Row, own: Record<string, Cell>, at: Record<string, Cell>): ArmResult {
  const number = (key: string) => { const v = row[key]; return typeof v === 'number' ? v : null }
  const validated = row[`${arm}.min_val_loss`] !== undefined && row[`${arm}.min_val_loss`] !== null
  const [params, tokens, flops] = ['params', 'tokens', 'flops'].map(number)
  return {
    entry, arm, at, precision: String(own[arm === 'baseline' ? 'baseline' : 'precision'] ?? arm), seed: own.seed ?? null,
    loss: number(validated ? `${arm}.val_loss` : `${arm}.train_loss`), lowest: number(`${arm}.min_val_loss`),
    diverged: row[`${arm}.diverged`] === true, spikes: number(`${arm}.spikes`) ?? 0,
    size: params && tokens && flops ? { params, tokens, flops } : null,
  }
}
