// blockscale report: the page of one run, or of several compared.
import { dirname, join } from 'node:path'
import { parse } from './arguments.ts'

export const help = `usage: blockscale report RUN [RUN...] [--out FILE.html]

Writes one self-contained HTML page and prints its path. One run: loss, gradient error, overflow, gamma, configuration (default file: RUN/report.html).
Several: their curves on one page, differences against the null control or the first one (default file: comparison.html beside the first run).

examples:
  blockscale report runs/quick-0a1b2c3d4e5f
  blockscale report runs/quick-* --out comparison.html
`

export async function run(args: string[]): Promise<void> {
  const { values, positionals } = parse('report', args, { out: { type: 'string' } }, [1, Infinity])
  const { writeComparison, writeRunReport } = await import('../report/write.ts')
  const [first] = positionals as [string]
  process.stdout.write(`${positionals.length === 1 ? writeRunReport(first, values.out) : writeComparison(positionals, values.out ?? join(dirname(first), 'comparison.html'))}\n`)
}
