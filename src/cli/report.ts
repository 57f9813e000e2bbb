// blockscale report: the page of one run, of a sweep, or of several runs compared.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { UsageError } from '../errors.ts'
import { parse } from './arguments.ts'

export const help = `usage: blockscale report RUN [RUN...] [--out FILE.html]
       blockscale report SWEEP [--out FILE.html]

Writes one self-contained HTML page and prints its path; under every chart are the numbers behind it.

One run: loss, gradient error, overflow, gamma, configuration (default file: RUN/report.html).
Several: their curves on one page, differences against the null control or the first one (default file: comparison.html beside the first run).
A sweep, finished or not: curves of all runs, phase diagrams, gaps to the reference precision, divergence with intervals, the scaling law, all settings
(default file: SWEEP/report.html).

examples:
  blockscale report runs/quick-0a1b2c3d4e5f
  blockscale report runs/quick-* --out comparison.html
  blockscale report runs/lr
`

export async function run(args: string[]): Promise<void> {
  const { values, positionals } = parse('report', args, { out: { type: 'string' } }, [1, Infinity])
  const { writeComparison, writeRunReport, writeSweepReport } = await import('../report/write.ts')
  const [first] = positionals as [string], sweeps = positionals.filter(p => existsSync(join(p, 'sweep.json')))
  if (sweeps.length && positionals.length > 1) throw new UsageError(`${sweeps[0]} is a sweep: it has a page of its own, give it alone`)
  process.stdout.write(`${sweeps.length ? writeSweepReport(first, values.out) : positionals.length === 1 ? writeRunReport(first, values.out) : writeComparison(positionals, values.out ?? join(dirname(first), 'comparison.html'))}\n`)
}
