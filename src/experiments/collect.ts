// The finished runs of a sweep as one table: who the run is, its configuration (dotted keys), what its metrics say. Written as CSV and as Parquet.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parquetWriteBuffer, type BasicType } from 'hyparquet-writer'
import { writeFileAtomic } from '../io/atomic.ts'
import { formatCsv } from '../io/csv.ts'
import { parseLines } from '../io/jsonl.ts'
import { isObject } from '../train/config.ts'
import type { MetricsRow } from '../train/types.ts'
import type { SweepFolder } from './manifest.ts'
import { settings, type Cell } from './settings.ts'
import { diverged, spikes } from './spikes.ts'
import { flatten } from './sweep.ts'

export type { Cell }
export type Row = Record<string, Cell>

export interface Table { readonly columns: readonly string[], readonly rows: readonly Row[] }

/** The table of a sweep: one row per finished run, in the manifest's order; `missing` counts the runs left out. */
export function collect(sweep: SweepFolder): Table & { missing: number } {
  const rows = sweep.entries.filter(e => sweep.isFinished(e)).map((entry): Row => {
    const { seconds, attempt } = JSON.parse(readFileSync(sweep.doneFile(entry), 'utf8'))
    return { index: entry.index, hash: entry.hash, name: entry.name, attempts: attempt + 1, seconds, ...names(entry.config), ...cells(entry.config), ...runResults(sweep.runFolder(entry)) }
  })
  return { columns: [...new Set(rows.flatMap(Object.keys))], rows, missing: sweep.entries.length - rows.length }
}

/** The schemes' names, as columns before all their settings: what `fit --by precision` goes by. */
function names(config: Record<string, unknown>): Row {
  const all = settings(config)
  return Object.fromEntries(['precision', 'baseline'].flatMap(key => isObject(config[key]) ? [[key, all[key]!]] : []))
}

/** What a run directory says about its results: the scalars of summary.json if there is one, and what metrics.jsonl adds up to. */
function runResults(directory: string): Row {
  const summary = join(directory, 'summary.json'), metrics = join(directory, 'metrics.jsonl')
  return {
    ...existsSync(metrics) ? summarizeMetrics(parseLines<MetricsRow>(readFileSync(metrics, 'utf8'), metrics)) : {},
    ...existsSync(summary) ? cells(JSON.parse(readFileSync(summary, 'utf8'))) : {},
  }
}

/**
 * Per arm (prefix `studied.` or `baseline.`): train_loss (last), val_loss and min_val_loss, grad_norm (last), spikes (count, rule of spikes.ts),
 * first_spike (step), diverged (final against lowest validation loss, or a loss that is not finite). A logged null is a value that was not finite;
 * the event `nan` ends a run, so an arm that it names has no final losses, and the other arm's are those of the step that it came to.
 * Language models also: params (N, embeddings included), tokens (D, seen by each arm), flops (6 N D), ratio (D / N), the names of the paper's tables.
 */
function summarizeMetrics(rows: readonly MetricsRow[]): Row {
  const results: Row = {}
  for (const arm of ['baseline', 'studied'] as const) {
    const of = <K extends MetricsRow['kind']>(kind: K) => rows.filter((r): r is Extract<MetricsRow, { kind: K }> => r.kind === kind && 'arm' in r && r.arm === arm)
    const train = of('step'), validation = of('validation'), gradients = of('gradient')
    if (!train.length && !validation.length) continue
    const losses = (list: readonly { loss: number | null }[]) => list.map(r => r.loss ?? NaN)
    const found = spikes({ steps: train.map(r => r.step), values: losses(train) })
    const valLosses = losses(validation)
    const lowest = valLosses.filter(Number.isFinite).reduce((a, b) => Math.min(a, b), Infinity)
    const nan = rows.some(r => r.kind === 'event' && r.event === 'nan' && r.detail.startsWith(arm))
    const finalTrain = nan ? NaN : losses(train).at(-1)
    Object.assign(results, {
      [`${arm}.steps`]: train.at(-1)?.step ?? validation.at(-1)!.step,
      [`${arm}.train_loss`]: finite(finalTrain),
      [`${arm}.val_loss`]: nan ? null : finite(valLosses.at(-1)),
      [`${arm}.min_val_loss`]: finite(lowest),
      [`${arm}.grad_norm`]: finite(gradients.at(-1)?.norm ?? NaN),
      [`${arm}.spikes`]: found.length,
      [`${arm}.first_spike`]: found[0]?.start ?? null,
      [`${arm}.diverged`]: (finalTrain !== undefined && !Number.isFinite(finalTrain)) || (valLosses.length > 0 && diverged(valLosses.at(-1)!, lowest)),
    })
  }
  const model = rows.find(r => r.kind === 'language-model')
  if (model) {
    const tokens = model.tokensPerStep * rows.reduce((last, r) => r.kind === 'step' ? Math.max(last, r.step) : last, 0)
    Object.assign(results, { params: model.parameters, tokens, flops: model.flopsPerToken * tokens, ratio: tokens / model.parameters })
  }
  return results
}

const finite = (value: number | undefined): number | null => value !== undefined && Number.isFinite(value) ? value : null

/** A nested object as cells with dotted names; lists as JSON text. */
function cells(object: Record<string, unknown>): Row {
  return Object.fromEntries(Object.entries(flatten(object)).map(([key, value]) => [key, value === undefined ? null : Array.isArray(value) || isObject(value) ? JSON.stringify(value) : value as Cell]))
}

/** Write `table` as `path`.csv and `path`.parquet. */
export function writeTable(table: Table, path: string): void {
  writeFileAtomic(`${path}.csv`, tableCsv(table))
  writeFileAtomic(`${path}.parquet`, tableParquet(table))
}

export const tableCsv = ({ columns, rows }: Table): string => formatCsv(columns, rows.map(row => columns.map(c => row[c])))

/** Parquet bytes: a column of numbers is DOUBLE, of booleans BOOLEAN, anything else STRING; a missing cell is null. */
export function tableParquet({ columns, rows }: Table): Uint8Array {
  return new Uint8Array(parquetWriteBuffer({
    columnData: columns.map(name => {
      const data = rows.map(row => row[name] ?? null)
      const types = new Set(data.filter(v => v !== null).map(v => typeof v))
      const type: BasicType = types.size !== 1 || types.has('string') ? 'STRING' : types.has('number') ? 'DOUBLE' : 'BOOLEAN'
      return { name, type, data: type === 'STRING' ? data.map(v => v === null ? null : String(v)) : data }
    }),
  }))
}
