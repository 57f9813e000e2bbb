// The Markdown page of `reproduce`: verdicts on top, then each claim with what was measured and its figures.
import type { Outcome, Reproduction, ReproductionFigure, Scale } from '../experiments/reproduction.ts'

/** One reproduction's outcome as it is kept in a file: with what it tested, and where and how long it ran. */
export interface Result extends Pick<Reproduction, 'name' | 'title' | 'claim' | 'source'>, Omit<Outcome, 'figures'> {
  readonly scale: Scale
  readonly seed: number
  /** What it does, and an estimate of its cost on two idle cores. */
  readonly cost: string
  /** How long it took, with whatever else the machine did. */
  readonly seconds: number
  /** Processor and engine, in words. */
  readonly machine: string
  readonly figures: readonly Pick<ReproductionFigure, 'name' | 'title' | 'caption'>[]
}

const cell = (s: string): string => s.replaceAll('|', '\\|')

/** The page of results of one scale and seed, whose figures lie beside it. */
export function reproductionPage(results: readonly Result[]): string {
  const [first] = results
  if (!first) return '# Reproduction\n\nNothing was measured.\n'
  const machines = [...new Set(results.map(r => r.machine))]
  return `# Reproduction

Written by \`blockscale reproduce --scale ${first.scale} --seed ${first.seed}\` on ${machines.join('; ')}.
Numbers are functions of scale and seed, whatever the machine. Costs are estimates for two idle cores.

A verdict follows from its findings: *reproduced* if all hold; *direction only* if those about sign, order or limit hold and a number does not; *not reproduced*
otherwise; *not testable here* says why.

| claim | verdict | findings that hold | cost |
|---|---|---|---|
${results.map(r => `| [${cell(r.title)}](#${r.name}) | ${r.verdict} | ${r.findings.length ? `${r.findings.filter(f => f.holds).length} of ${r.findings.length}` : ''} | ${r.cost} |`).join('\n')}

${results.map(section).join('\n')}`
}

function section({ name, title, verdict, claim, source, findings, comment, figures }: Result): string {
  const rows = findings.map(f => `| ${cell(f.what)} | ${cell(f.claimed)} | ${cell(f.found)} | ${f.holds ? 'holds' : '**fails**'} |`)
  return `## ${name}
**${title}: ${verdict}**

> ${claim}
>
> ${source}

${rows.length ? `| measured | claimed | found | |\n|---|---|---|---|\n${rows.join('\n')}\n\n` : ''}${comment}
${figures.map(f => `
![${f.title}](${f.name}.svg)

${f.title}. ${f.caption} [Data](${f.name}.csv)
`).join('')}`
}
