// blockscale reproduce: published claims, tested.
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'
import { reproductions } from '../experiments/reproductions/index.ts'
import { scales, type Reproduction, type ReproductionFigure, type Scale } from '../experiments/reproduction.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { formatCsv } from '../io/csv.ts'
import { reproductionPage, type Result } from '../report/reproduction-page.ts'
import { describeEngine } from '../runtime/engine.ts'
import { enableWide, wideAllowed } from '../runtime/wide.ts'
import { interruptible, parse, wholeNumber } from './arguments.ts'

export const help = `usage: blockscale reproduce list
       blockscale reproduce NAME...|all [options]

Tests published claims about low-precision arithmetic and training: measures, draws the figure, prints a verdict with the numbers it rests on:
reproduced, direction only, not reproduced, or not testable here.

  --scale quick|full   quick (default) takes seconds to minutes each; list says what either costs
  --data FOLDER        the paper's raw results (paper-runs.csv, paper-loss-curves.csv), for the claims that need them
  --seed N             default 1
  --out FOLDER         write NAME.json, figures as SVG with their numbers as CSV, and reproduction.md; default runs/reproduction
  --resume             keep the outcomes that the folder has for this scale and seed, and measure the others
  --json               outcomes as JSON

examples:
  blockscale reproduce list
  blockscale reproduce r2-clamping
  blockscale reproduce all --data paper-data --out docs/reproduction --resume
`

const options = { scale: { type: 'string', default: 'quick' }, data: { type: 'string' }, seed: { type: 'string', default: '1' }, out: { type: 'string', default: 'runs/reproduction' }, resume: { type: 'boolean' }, json: { type: 'boolean' } } as const

export async function run(args: string[]): Promise<number> {
  const { values, positionals: names } = parse('reproduce', args, options, [1, Infinity])
  const scale = values.scale as Scale
  if (!scales.includes(scale)) throw new UsageError(`--scale ${values.scale}: must be one of ${scales.join(', ')}`)
  if (names[0] === 'list' && names.length === 1) {
    process.stdout.write(reproductions.map(r => `${r.name}\n  ${r.claim}\n  ${r.source}\n  quick: ${r.cost.quick}. full: ${r.cost.full}.\n`).join('\n'))
    return 0
  }
  const unknown = names.find(name => name !== 'all' && !reproductions.some(r => r.name === name))
  if (unknown !== undefined) throw new UsageError(`unknown reproduction ${JSON.stringify(unknown)}: use list, all or one of ${reproductions.map(r => r.name).join(', ')}`)
  const chosen = reproductions.filter(r => names.includes('all') || names.includes(r.name))
  const seed = wholeNumber('--seed', values.seed, 0)
  if (wideAllowed()) enableWide()
  mkdirSync(values.out, { recursive: true })
  const results: Result[] = []
  const { signal, done } = interruptible()
  try {
    for (const reproduction of chosen) {
      const earlier = values.resume ? readResult(values.out, reproduction, scale, seed) : null
      process.stderr.write(`${reproduction.name}: ${reproduction.title} (${earlier ? `kept: ${earlier.verdict}` : reproduction.cost[scale]})\n`)
      const result = earlier ?? await measure(reproduction, { scale, seed, data: values.data ?? null, signal, out: values.out })
      results.push(result)
      if (!values.json) process.stdout.write(text(result))
    }
  } catch (error) {
    if (!signal.aborted) throw error
    process.stderr.write(`interrupted; the same command with --resume keeps what is in ${values.out}\n`)
    return 130
  } finally { done() }
  writeFileAtomic(join(values.out, 'reproduction.md'), reproductionPage(reproductions.flatMap(r => readResult(values.out, r, scale, seed) ?? [])))
  if (values.json) process.stdout.write(`${JSON.stringify(results, null, 2)}\n`)
  return 0
}

/** Run one reproduction and write its figures, their numbers, and last the result. */
async function measure(reproduction: Reproduction, { out, ...context }: { scale: Scale, seed: number, data: string | null, signal: AbortSignal, out: string }): Promise<Result> {
  const started = performance.now(), { name, title, claim, source } = reproduction
  const { figures, ...outcome } = await reproduction.run({ ...context, log: line => { process.stderr.write(`  ${line}\n`) } })
  const seconds = (performance.now() - started) / 1000
  await writeFigures(out, figures)
  const { runtime, wide } = describeEngine()
  const result: Result = {
    name, title, claim, source, scale: context.scale, seed: context.seed, cost: reproduction.cost[context.scale], seconds, machine: `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${runtime}, ${wide ?? '128-bit operations'}`,
    ...outcome, figures: figures.map(f => ({ name: f.name, title: f.title, caption: f.caption })),
  }
  writeFileAtomic(resultFile(out, name), `${JSON.stringify(result, null, 2)}\n`)
  return result
}

const resultFile = (folder: string, name: string): string => join(folder, `${name}.json`)

/** What an earlier run found at this scale and seed; null if there is none. */
function readResult(folder: string, { name, cost }: Reproduction, scale: Scale, seed: number): Result | null {
  const file = resultFile(folder, name)
  if (!existsSync(file)) return null
  let result: Result
  try { result = JSON.parse(readFileSync(file, 'utf8')) as Result } catch (error) { throw new UsageError(`${file}: not a result of reproduce (${(error as Error).message}); move it away`) }
  return result.scale === scale && result.seed === seed ? { ...result, cost: cost[scale] } : null
}

async function writeFigures(folder: string, figures: readonly ReproductionFigure[]): Promise<void> {
  const { standaloneSvg } = await import('../report/standalone.ts')
  for (const { name, title, plot, data } of figures) {
    writeFileAtomic(join(folder, `${name}.svg`), standaloneSvg(plot, title))
    const columns = [...new Set(data.flatMap(row => Object.keys(row)))]
    writeFileAtomic(join(folder, `${name}.csv`), formatCsv(columns, data.map(row => columns.map(c => row[c]))))
  }
}

const text = ({ name, claim, source, verdict, comment, findings }: Result): string => [
  `${name}: ${verdict}`, `  claim: ${claim} (${source})`,
  ...findings.map(f => `  ${f.holds ? 'holds' : 'FAILS'}  ${f.what}: ${f.found} (claimed: ${f.claimed})`),
  `  ${comment}`, '', '',
].join('\n')
