// A run as its report sees it: configuration, engine, metrics rows, and the small computations that charts and sentences share.
import { basename, resolve } from 'node:path'
import { describeScheme } from '../numerics/scheme.ts'
import type { Arm, RunConfig, StudentTeacherConfig } from '../train/config.ts'
import { scheduledPrecision } from '../train/config-parts.ts'
import { readMetrics, readRunFile, readSummary, type RunFile } from '../train/run-directory.ts'
import type { MetricsRow, RunSummary } from '../train/types.ts'

export interface RunData {
  readonly name: string
  readonly directory: string
  readonly file: RunFile
  readonly config: RunConfig
  readonly rows: readonly MetricsRow[]
  readonly summary: RunSummary | null
}

/** Everything about the run in `directory`. Throws UsageError if there is none. */
export function loadRun(directory: string): RunData {
  const file = readRunFile(directory)
  return { name: basename(resolve(directory)), directory, file, config: file.config, rows: readMetrics(directory), summary: readSummary(directory) }
}

type RowOf<K extends MetricsRow['kind']> = Extract<MetricsRow, { kind: K }>

/** The rows of one kind, of one arm if given. */
export function rowsOf<K extends MetricsRow['kind']>(run: RunData, kind: K, arm?: Arm): RowOf<K>[] {
  return run.rows.filter((row): row is RowOf<K> => row.kind === kind && (arm === undefined || (row as { arm?: Arm }).arm === arm))
}

/** The arms that the run has, baseline first, each with the name of the precision that it began in (a fork: the changed one). */
export function arms({ config, file }: Pick<RunData, 'config' | 'file'>): { arm: Arm, label: string }[] {
  const studied = { arm: 'studied' as const, label: describeScheme(scheduledPrecision(config, file.parent?.step ?? 0)) }
  return config.baseline ? [{ arm: 'baseline', label: describeScheme(config.baseline) }, studied] : [studied]
}

export interface Point { readonly step: number, readonly value: number }

/** Rows as points; nulls (NaN, infinite) are left out. */
export const points = <R extends { step: number }>(rows: readonly R[], value: (row: R) => number | null | undefined): Point[] =>
  rows.flatMap(row => { const v = value(row); return v === null || v === undefined ? [] : [{ step: row.step, value: v }] })

/** Geometric running mean over `width` neighbours (shorter at the ends): the line that a noisy positive series follows. */
export function smooth(series: readonly Point[], width: number): Point[] {
  const half = Math.max(0, Math.floor(width / 2))
  const sums = [0]
  for (const { value } of series) sums.push(sums.at(-1)! + Math.log(Math.max(value, 1e-300)))
  return series.map(({ step }, i) => {
    const from = Math.max(0, i - half), to = Math.min(series.length, i + half + 1)
    return { step, value: Math.exp((sums[to]! - sums[from]!) / (to - from)) }
  })
}

/** At most about `limit` points that keep every bucket's lowest and highest value, so that spikes stay visible. */
export function thin(series: readonly Point[], limit: number): Point[] {
  if (series.length <= limit) return [...series]
  const size = Math.ceil(series.length / (limit / 2))
  const kept: Point[] = []
  for (let i = 0; i < series.length; i += size) {
    const bucket = series.slice(i, i + size)
    const low = bucket.reduce((a, b) => b.value < a.value ? b : a), high = bucket.reduce((a, b) => b.value > a.value ? b : a)
    kept.push(...low.step === high.step ? [low] : low.step < high.step ? [low, high] : [high, low])
  }
  return kept
}

/** Final loss of an arm: the geometric mean over the last twentieth of the run's steps (of what there is, if it ended early), or null. */
export function finalLoss(run: RunData, arm: Arm): number | null {
  const losses = points(rowsOf(run, 'step', arm), r => r.loss), last = losses.at(-1)
  const tail = losses.filter(p => p.step > last!.step - run.config.steps / 20)
  return smooth(tail, 2 * tail.length + 1)[0]?.value ?? null
}

/** Median of a series, or null if it is empty. */
export function median(series: readonly Point[]): number | null {
  const values = series.map(p => p.value).sort((a, b) => a - b), middle = values.length >> 1
  return values.length === 0 ? null : values.length % 2 ? values[middle]! : (values[middle - 1]! + values[middle]!) / 2
}

/** Keys of a nested object with dots: { a: { b: 1 } } gives a.b = 1. Arrays stay whole. */
export function flatten(value: unknown, prefix = ''): [string, unknown][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [[prefix, value]]
  return Object.entries(value).flatMap(([key, v]) => flatten(v, prefix ? `${prefix}.${key}` : key))
}

/** Number of weights of the student: 8 d^2 L for GELU, plus fc2 biases and layer-norm affine parameters. */
export function parameterCount({ model: { depth, width: d, activation, layerNorm } }: StudentTeacherConfig): number {
  const hidden = activation === 'swiglu' ? Math.round(8 * d / 3) : 4 * d
  return depth * (d * hidden * (activation === 'swiglu' ? 3 : 2) + d + (layerNorm ? 2 * d : 0))
}
