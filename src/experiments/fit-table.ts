// Scaling-law fits of a table of runs: which columns, which rows, one fit per group.
import { UsageError } from '../errors.ts'
import { columnIndex, numberColumn, textColumn, type CsvTable } from '../io/csv.ts'
import { bootstrap, fit, optimalLine, type CoefficientName, type Coefficients, type Fit, type Form, type Observation } from './fit.ts'
import type { Interval } from './statistics.ts'

/** Columns that hold a loss, the first that a table has. */
const lossColumns = ['min_val_loss', 'val_loss', 'loss', 'studied.min_val_loss', 'studied.val_loss']

export interface TableFitOptions {
  form?: Form
  frozen?: Partial<Coefficients>
  /** Columns of L, N and D. */
  loss?: string
  params?: string
  tokens?: string
  /** COLUMN=VALUE, all of which a row must meet. */
  where?: readonly string[]
  /** One fit per value of this column. */
  by?: string
  /** Resamples for the intervals; 0: none. */
  resamples?: number
  seed?: number
}

/** A fit, which rows it left out (by their line in the file), and the rows themselves. */
export type Described = Omit<Fit, 'excluded'> & {
  /** Value of the `by` column, '' without one. */
  name: string
  loss: string
  excluded: { line: number, reason: string }[]
  optimal: ReturnType<typeof optimalLine>
  intervals?: Record<CoefficientName, Interval>
  observations: Observation[]
}

/** Fit every group of a table. Throws UsageError (no such column, no rows, too few rows; with the group's name). */
export function fitTable(table: CsvTable, { form = 'chinchilla', frozen = {}, params = 'params', tokens = 'tokens', where = [], by, resamples = 0, seed = 0, loss = lossColumns.find(c => table.header.includes(c)) }: TableFitOptions): Described[] {
  if (loss === undefined) throw new UsageError(`${table.source}: no loss column; name one with --loss (it has ${table.header.join(', ')})`)
  return [...groups(table, where, by)].map(([name, lines]): Described => {
    const [n, d, losses] = [params, tokens, loss].map(column => numberColumn(lines, column)) as [number[], number[], number[]]
    const bad = n.findIndex((count, i) => !(count > 0 && d[i]! > 0 && count < Infinity && d[i]! < Infinity))
    if (bad >= 0) throw new UsageError(`${table.source}:${lines.records[bad]!.line}: ${params} ${n[bad]} and ${tokens} ${d[bad]} must be positive`)
    const observations = n.map((count, i): Observation => ({ params: count, tokens: d[i]!, loss: losses[i]! }))
    let result
    try { result = fit(observations, { form, frozen }) } catch (error) {
      throw error instanceof UsageError && name ? new UsageError(`${name}: ${error.message}`) : error
    }
    const excluded = result.excluded.map(({ index, reason }) => ({ line: lines.records[index]!.line, reason }))
    return { name, loss, ...result, excluded, optimal: optimalLine(form, result.coefficients), ...resamples ? { intervals: bootstrap(observations, result, { resamples, seed }) } : {}, observations }
  })
}

/** The rows that match `where`, apart by the values of column `by`. */
function groups(table: CsvTable, where: readonly string[], by: string | undefined): Map<string, CsvTable> {
  const conditions = where.map(text => {
    const at = text.indexOf('=')
    if (at < 1) throw new UsageError(`--where ${text}: must have the form COLUMN=VALUE`)
    return { column: columnIndex(table, text.slice(0, at)), value: text.slice(at + 1) }
  })
  const records = table.records.filter(r => conditions.every(c => r.fields[c.column] === c.value))
  if (!records.length) throw new UsageError(`${table.source}: no row${where.length ? ` has ${where.join(' and ')}` : 's'}`)
  if (by === undefined) return new Map([['', { ...table, records }]])
  const names = [...new Set(textColumn({ ...table, records }, by))]
  return new Map(names.map(name => [name, { ...table, records: records.filter(r => r.fields[columnIndex(table, by)] === name) }]))
}
