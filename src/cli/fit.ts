// blockscale fit: scaling laws from a table of runs.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { columnIndex, formatCsv, numberColumn, parseCsv, textColumn, type CsvTable } from '../io/csv.ts'
import { bootstrap, coefficientNames, fit, forms, isoLossGrid, optimalLine, type CoefficientName, type Coefficients, type Fit, type Form, type Observation } from '../experiments/fit.ts'
import type { Interval } from '../experiments/statistics.ts'
import { parse, wholeNumber } from './arguments.ts'

export const help = `usage: blockscale fit RUNS.csv|SWEEP [options]

Fit a scaling law to a table of runs.

  --form chinchilla|kaplan   chinchilla (default): L = A / N^alpha + B / D^beta + E
                             kaplan: L = ((A / N)^(alpha / beta) + B / D)^beta + E
  --loss COLUMN              default: the first of min_val_loss, val_loss, loss, studied.min_val_loss, studied.val_loss
  --params COLUMN            N, default params
  --tokens COLUMN            D, default tokens
  --where COLUMN=VALUE       use only these rows (may be repeated)
  --by COLUMN                one fit per value of this column
  --freeze NAME=VALUE        hold A, B, E, alpha or beta (may be repeated)
  --bootstrap N              95 % intervals from N resamples of the rows
  --seed N                   of the resampling, default 0
  --contours FILE.csv        predicted loss over compute and parameters, for iso-loss contours
  --json                     the result as JSON

Minimizes the mean Huber loss (delta 1e-3) of log loss by L-BFGS from 16 starts. Rows without a positive finite loss are left out and counted.

examples:
  blockscale fit runs.csv --where config=fp8_e4m3_bfloat16
  blockscale fit runs.csv --by config --bootstrap 200
  blockscale fit runs/my-sweep --form kaplan --freeze E=0.53
`

const options = {
  form: { type: 'string', default: 'chinchilla' }, loss: { type: 'string' }, params: { type: 'string', default: 'params' }, tokens: { type: 'string', default: 'tokens' },
  where: { type: 'string', multiple: true, default: [] as string[] }, by: { type: 'string' }, freeze: { type: 'string', multiple: true, default: [] as string[] },
  bootstrap: { type: 'string' }, seed: { type: 'string', default: '0' }, contours: { type: 'string' }, json: { type: 'boolean' },
} as const

export async function run(args: string[]): Promise<void> {
  const { values, positionals: [source] } = parse('fit', args, options, [1, 1])
  const form = values.form as Form
  if (!forms.includes(form)) throw new UsageError(`--form ${values.form}: must be one of ${forms.join(', ')}`)
  const frozen = Object.fromEntries(values.freeze.map(freeze)) as Partial<Coefficients>
  const resamples = values.bootstrap === undefined ? 0 : wholeNumber('--bootstrap', values.bootstrap, 2)
  const seed = wholeNumber('--seed', values.seed, 0)
  const table = await readTable(source!)
  const loss = values.loss ?? ['min_val_loss', 'val_loss', 'loss', 'studied.min_val_loss', 'studied.val_loss'].find(c => table.header.includes(c))
  if (loss === undefined) throw new UsageError(`${table.source}: no loss column; name one with --loss (it has ${table.header.join(', ')})`)

  const fits = [...groups(table, values.where, values.by)].map(([name, lines]) => {
    const [params, tokens, losses] = [values.params, values.tokens, loss].map(column => numberColumn(lines, column)) as [number[], number[], number[]]
    const observations = params.map((n, i): Observation => ({ params: n, tokens: tokens[i]!, loss: losses[i]! }))
    let result
    try { result = fit(observations, { form, frozen }) } catch (error) {
      throw error instanceof UsageError && name ? new UsageError(`${name}: ${error.message}`) : error
    }
    const excluded = result.excluded.map(({ index, reason }) => ({ line: lines.records[index]!.line, reason }))
    return { name, loss, ...result, excluded, optimal: optimalLine(form, result.coefficients), ...resamples ? { intervals: bootstrap(observations, result, { resamples, seed }) } : {}, observations }
  })
  if (values.contours !== undefined) writeFileAtomic(values.contours, contourCsv(fits))
  process.stdout.write(values.json ? `${JSON.stringify(fits.map(({ observations, ...rest }) => rest), null, 2)}\n` : fits.map(describe).join('\n'))
}

/** A CSV file, or the finished runs of a sweep's folder. */
async function readTable(source: string): Promise<CsvTable> {
  if (!existsSync(source)) throw new UsageError(`${source}: no such file`)
  if (!statSync(source).isDirectory()) return parseCsv(readFileSync(source, 'utf8'), source)
  const [{ SweepFolder }, { collect, tableCsv }] = await Promise.all([import('../experiments/manifest.ts'), import('../experiments/collect.ts')])
  const table = collect(SweepFolder.open(source))
  if (!table.rows.length) throw new UsageError(`${source}: no run has finished yet`)
  return parseCsv(tableCsv(table), join(source, 'runs.csv'))
}

function freeze(text: string): [CoefficientName, number] {
  const [name, value = ''] = text.split('=') as [CoefficientName, string?]
  const number = Number(value)
  if (!coefficientNames.includes(name)) throw new UsageError(`--freeze ${text}: the coefficients are ${coefficientNames.join(', ')}`)
  const isPower = name === 'alpha' || name === 'beta'
  if (value.trim() === '' || !Number.isFinite(number) || (!isPower && number <= 0)) throw new UsageError(`--freeze ${text}: must be a ${isPower ? '' : 'positive '}number`)
  return [name, number]
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

type Described = Omit<Fit, 'excluded'> & {
  name: string, loss: string, excluded: { line: number, reason: string }[], optimal: ReturnType<typeof optimalLine>, intervals?: Record<CoefficientName, Interval>, observations: Observation[]
}

const digits = (v: number) => v.toPrecision(5)

function describe(f: Described): string {
  const law = f.form === 'chinchilla' ? 'A / N^alpha + B / D^beta + E' : '((A / N)^(alpha / beta) + B / D)^beta + E'
  const lines = coefficientNames.map(name => {
    const interval = f.intervals?.[name]
    const note = f.frozen[name] !== undefined ? '   frozen' : interval ? `   95 % interval ${digits(interval[0])} to ${digits(interval[1])}` : ''
    return `  ${name.padEnd(6)} ${digits(f.coefficients[name])}${note}`
  })
  const { G, a } = f.optimal
  return [
    `${f.name ? `${f.name}: ` : ''}${f.loss} of ${f.rows} runs, L(N, D) = ${law}`,
    ...lines,
    `  R2 ${f.rSquared.toFixed(5)}, mean Huber loss ${f.objective.toExponential(3)}, ${f.startsAtBest} of ${f.starts} starts agree${f.converged ? '' : ', NOT CONVERGED'}`,
    `  compute-optimal N = ${digits(G)} (C / 6)^${digits(a)}`,
    ...f.excluded.slice(0, 10).map(({ line, reason }) => `  left out: line ${line}, ${reason}`),
    ...f.excluded.length > 10 ? [`  left out: ${f.excluded.length - 10} more`] : [],
    '',
  ].join('\n')
}

/** Grids over twice the range of the data, one block of rows per fit. */
function contourCsv(fits: readonly Described[]): string {
  return formatCsv(['fit', 'flops', 'params', 'loss'], fits.flatMap(f => {
    const flops = f.observations.map(o => 6 * o.params * o.tokens), params = f.observations.map(o => o.params)
    const range = (v: number[]): Interval => [Math.min(...v) / 2, Math.max(...v) * 2]
    const grid = isoLossGrid(f.form, f.coefficients, { flops: range(flops), params: range(params), steps: 50 })
    return grid.params.flatMap((n, i) => grid.flops.map((c, j) => [f.name, c, n, grid.loss[i * grid.flops.length + j]]))
  }))
}
