// A run's metrics for other people's tools: a wide table (one row per step, columns of train/columns.ts) as CSV or Parquet, or TensorBoard event files.
// TensorBoard files can be kept up to date while the run goes on: the exporter follows metrics.jsonl and never touches the run.
import { appendFileSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { JsonLinesTail } from '../io/tail.ts'
import { eventFileName, valuesRecord, versionRecord } from '../io/tensorboard.ts'
import { scalars } from '../train/columns.ts'
import type { MetricsRow } from '../train/types.ts'
import { UsageError } from '../errors.ts'
import type { Row, Table } from './collect.ts'

/** Metrics as a table: the rows of one step merged, steps rising. */
export function metricsTable(rows: Iterable<MetricsRow>): Table {
  const steps = new Map<number, Row>()
  for (const row of rows) {
    const columns = scalars(row)
    if (Object.keys(columns).length) steps.set(row.step, { step: row.step, ...steps.get(row.step), ...columns })
  }
  const sorted = [...steps.values()].sort((a, b) => (a.step as number) - (b.step as number))
  return { columns: [...new Set(sorted.flatMap(Object.keys))], rows: sorted }
}

/**
 * Writes the metrics of the run in `directory` as a TensorBoard event file in `logFolder`; each update() adds what the run has logged since.
 * Wall times are estimated: the time of birth of the run's folder plus the seconds of the steps. Throws UsageError if `logFolder` holds another run's events.
 */
export class TensorBoardExport {
  readonly file: string
  readonly #tail: JsonLinesTail<MetricsRow>
  readonly #start: number
  #seconds = 0
  #updated = 0

  constructor(directory: string, logFolder: string) {
    this.#start = statSync(directory).birthtimeMs / 1000
    this.#tail = new JsonLinesTail(join(directory, 'metrics.jsonl'))
    mkdirSync(logFolder, { recursive: true })
    this.file = join(logFolder, eventFileName(this.#start, hostname()))
    const other = readdirSync(logFolder).find(name => name.startsWith('events.out.tfevents') && join(logFolder, name) !== this.file)
    if (other) throw new UsageError(`${logFolder} holds the events of another run (${other}): give each run a folder of its own`)
    this.#restart()
  }

  #restart(): void {
    writeFileSync(this.file, versionRecord(this.#start))
    this.#seconds = 0
  }

  /** As update, but at most once in `seconds`: for calling after every step. */
  updateEvery(seconds: number): void {
    if (Date.now() - this.#updated < seconds * 1000) return
    this.#updated = Date.now()
    this.update()
  }

  /** Add the rows logged since the last call. A run that went back to a checkpoint has its file written anew. Returns how many rows were read. */
  update(): number {
    const { rows, restarted } = this.#tail.read()
    if (restarted) this.#restart()
    const records: Uint8Array[] = []
    for (const row of rows) {
      if (row.kind === 'step') this.#seconds += row.seconds
      const values = row.kind === 'gamma' ? Object.fromEntries(row.layers.map((layer, i) => [`gamma/${row.arm === 'studied' ? '' : 'fp32_'}ln${i}`, layer])) : scalars(row)
      if (Object.keys(values).length) records.push(valuesRecord(this.#start + this.#seconds, row.step, values))
    }
    if (records.length) appendFileSync(this.file, Buffer.concat(records))
    return rows.length
  }
}
