// blockscale fit: scaling laws from a table of runs.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { UsageError } from '../errors.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { formatCsv, parseCsv, type CsvTable } from '../io/csv.ts'
import { fitTable, type Described } from '../experiments/fit-table.ts'
import { coefficientNames, forms, isoLossGrid, type CoefficientName, type Form } from '../experiments/fit.ts'
import type { Interval } from '../experiments/statistics.ts'
import { parse, wholeNumber } from './arguments.ts'

export const help = `usage: blockscale fit RUNS.csv|SWEEP [options]

Fits a scaling law to a table of runs.

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
  --report FILE.html         a page: contours with the optimal line, loss at constant compute, residuals, all with their numbers
  --baseline VALUE           with --by and --report: the value that the others are compared with, run by run
  --json                     the result as JSON

Minimizes the mean Huber loss (delta 1e-3) of log loss by L-BFGS from 16 starts. Rows without a positive finite loss are left out and counted.

examples:
  blockscale fit runs.csv --where config=fp8_e4m3_bfloat16
  blockscale fit runs.csv --by config --bootstrap 200
  blockscale fit runs.csv --by config --baseline bf16_bf16 --report fits.html
  blockscale fit runs/my-sweep --form kaplan --freeze E=0.53
`

const options = {
  form: { type: 'string', default: 'chinchilla' }, loss: { type: 'string' }, params: { type: 'string', default: 'params' }, tokens: { type: 'string', default: 'tokens' },
  where: { type: 'string', multiple: true, default: [] as string[] }, by: { type: 'string' }, freeze: { type: 'string', multiple: true, default: [] as string[] },
  bootstrap: { type: 'string' }, seed: { type: 'string', default: '0' }, contours: { type: 'string' }, report: { type: 'string' }, baseline: { type: 'string' }, json: { type: 'boolean' },
} as const

export async function run(args: string[]): Promise<void> {
  const { values, positionals: [source] } = parse('fit', args, options, [1, 1])
  const form = values.form as Form
  if (!forms.includes(form)) throw new UsageError(`--form ${values.form}: must be one of ${forms.join(', ')}`)
  if (values.baseline !== undefined && (values.by === undefined || values.report === undefined)) throw new UsageError(`--baseline ${values.baseline}: needs --by and --report`)
  const { loss, params, tokens, where, by } = values
  const fits = fitTable(await readTable(source!), {
    form, params, tokens, where, frozen: Object.fromEntries(values.freeze.map(freeze)), seed: wholeNumber('--seed', values.seed, 0),
    resamples: values.bootstrap === undefined ? 0 : wholeNumber('--bootstrap', values.bootstrap, 2), ...loss !== undefined ? { loss } : {}, ...by !== undefined ? { by } : {},
  })
  if (values.contours !== undefined) writeFileAtomic(values.contours, contourCsv(fits))
  if (values.report !== undefined) {
    if (values.baseline !== undefined && !fits.some(f => f.name === values.baseline)) throw new UsageError(`--baseline ${values.baseline}: column ${by} has ${fits.map(f => f.name).join(', ')}`)
    const { fitPage } = await import('../report/fit-page.ts')
    writeFileAtomic(values.report, fitPage(basename(source!), fits, values.baseline))
  }
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
