// blockscale reproduce: published claims, tested.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'
import { reproductions } from '../experiments/reproductions/index.ts'
import { scales, type Outcome, type Reproduction, type Scale } from '../experiments/reproduction.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { formatCsv } from '../io/csv.ts'
import { enableWide, wideAllowed } from '../runtime/wide.ts'
import { interruptible, parse, wholeNumber } from './arguments.ts'

export const help = `usage: blockscale reproduce list
       blockscale reproduce NAME|all [options]

Tests published claims about low-precision arithmetic and training: measures, draws the figure, prints a verdict with the numbers it rests on:
reproduced, direction only, not reproduced, or not testable here.

  --scale quick|full   quick (default) takes seconds to minutes each; list says what either costs
  --data FOLDER        the paper's raw results (paper-runs.csv, paper-loss-curves.csv), for the claims that need them
  --seed N             default 1
  --out FOLDER         write NAME.json, figures as SVG with their numbers as CSV, and reproduction.md; default runs/reproduction
  --json               outcomes as JSON

examples:
  blockscale reproduce list
  blockscale reproduce r2-clamping
  blockscale reproduce all --data paper-data --out docs/reproduction
`

const options = { scale: { type: 'string', default: 'quick' }, data: { type: 'string' }, seed: { type: 'string', default: '1' }, out: { type: 'string', default: 'runs/reproduction' }, json: { type: 'boolean' } } as const

export async function run(args: string[]): Promise<number> {
  const { values, positionals: [name] } = parse('reproduce', args, options, [1, 1])
  const scale = values.scale as Scale
  if (!scales.includes(scale)) throw new UsageError(`--scale ${values.scale}: must be one of ${scales.join(', ')}`)
  if (name === 'list') {
    process.stdout.write(reproductions.map(r => `${r.name}\n  ${r.claim}\n  ${r.source}\n  quick: ${r.cost.quick}. full: ${r.cost.full}.\n`).join('\n'))
    return 0
  }
  const chosen = name === 'all' ? reproductions : reproductions.filter(r => r.name === name)
  if (!chosen.length) throw new UsageError(`unknown reproduction ${JSON.stringify(name)}: use list, all or one of ${reproductions.map(r => r.name).join(', ')}`)
  const seed = wholeNumber('--seed', values.seed, 0)
  if (wideAllowed()) enableWide()
  const { signal, done } = interruptible()
  mkdirSync(values.out, { recursive: true })
  const results: { reproduction: Reproduction, outcome: Outcome, seconds: number }[] = []
  for (const reproduction of chosen) {
    process.stderr.write(`${reproduction.name}: ${reproduction.title} (${reproduction.cost[scale]})\n`)
    const started = performance.now()
    let outcome
    try {
      outcome = await reproduction.run({ scale, seed, data: values.data ?? null, signal, log: line => { process.stderr.write(`  ${line}\n`) } })
    } catch (error) {
      if (signal.aborted) { done(); return 130 }
      throw error
    }
    results.push({ reproduction, outcome, seconds: (performance.now() - started) / 1000 })
    await writeOutcome(values.out, reproduction, outcome)
    if (!values.json) process.stdout.write(text(reproduction, outcome))
  }
  done()
  writeFileAtomic(join(values.out, 'reproduction.md'), page(results, scale, seed))
  if (values.json) process.stdout.write(`${JSON.stringify(results.map(({ reproduction: { name: n, claim, source }, outcome: { figures, ...rest }, seconds }) => ({ name: n, claim, source, ...rest, figures: figures.map(f => f.name), seconds })), null, 2)}\n`)
  return 0
}

async function writeOutcome(folder: string, { name, claim, source }: Reproduction, { figures, ...rest }: Outcome): Promise<void> {
  const { standaloneSvg } = await import('../report/standalone.ts')
  for (const { name: file, title, plot, data } of figures) {
    writeFileAtomic(join(folder, `${file}.svg`), standaloneSvg(plot, title))
    const columns = [...new Set(data.flatMap(row => Object.keys(row)))]
    writeFileAtomic(join(folder, `${file}.csv`), formatCsv(columns, data.map(row => columns.map(c => row[c]))))
  }
  writeFileAtomic(join(folder, `${name}.json`), `${JSON.stringify({ name, claim, source, ...rest, figures: figures.map(f => f.name) }, null, 2)}\n`)
}

function text({ name, claim, source }: Reproduction, { verdict, comment, findings }: Outcome): string {
  return [
    `${name}: ${verdict}`, `  claim: ${claim} (${source})`,
    ...findings.map(f => `  ${f.holds ? 'holds' : 'FAILS'}  ${f.what}: ${f.found} (claimed: ${f.claimed})`),
    `  ${comment}`, '', '',
  ].join('\n')
}

/** The Markdown page of a whole run. */
function page(results: readonly { reproduction: Reproduction, outcome: Outcome, seconds: number }[], scale: Scale, seed: number): string {
  const cell = (s: string) => s.replaceAll('|', '\\|')
  return `# Reproduction

Written by \`blockscale reproduce\`, scale ${scale}, seed ${seed}. A verdict follows from its findings: *reproduced* if all hold; *direction only* if those about
sign, order or limit hold and a number does not; *not reproduced* otherwise; *not testable here* says why.

| claim | verdict | time |
|---|---|---|
${results.map(({ reproduction: r, outcome: o, seconds }) => `| [${cell(r.title)}](#${r.name}) | ${o.verdict} | ${seconds < 1 ? 'below 1' : seconds.toFixed(0)} s |`).join('\n')}

${results.map(({ reproduction: r, outcome: o }) => `## ${r.name}
**${r.title}: ${o.verdict}**

> ${r.claim}
>
> ${r.source}

${o.findings.length ? `| measured | claimed | found | |
|---|---|---|---|
${o.findings.map(f => `| ${cell(f.what)} | ${cell(f.claimed)} | ${cell(f.found)} | ${f.holds ? 'holds' : '**fails**'} |`).join('\n')}

` : ''}${o.comment}
${o.figures.map(f => `
![${f.title}](${f.name}.svg)

${f.title}. ${f.caption} [Data](${f.name}.csv)
`).join('')}`).join('\n')}`
}
