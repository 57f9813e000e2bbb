// Losses of small language models by precision, for reproductions: runs of one seed start from the same weights and see the same text in the same order, so the
// loss on held-out text is compared in pairs. Every arm computes norms and GELU as bf16 chains, the bf16 baseline too: formats alone differ.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { dot, link, ruleX } from '@observablehq/plot'
import type { PrecisionScheme } from '../../numerics/scheme.ts'
import { shows, type Context, type Finding, type ReproductionFigure } from '../reproduction.ts'
import { paired } from '../statistics.ts'
import { trainRun, withExecutor } from './training.ts'

/** Held-out loss by arm, seed by seed. The first arm is the baseline. */
export type Losses<Arm extends string> = ReadonlyMap<Arm, readonly number[]>

/** tinyshakespeare and WikiText-2 where they are, else the text that every installation has. */
export function textFiles(folder: string | null): string[] {
  const known = ['tinyshakespeare.txt', 'wikitext2-valid.txt', 'wikitext2-test.txt'].map(f => join(folder ?? '', f)).filter(f => folder !== null && existsSync(f))
  return known.length ? known : ['default']
}

/** Train every arm under `seeds` seeds from `context.seed` on. A run that diverges has the loss Infinity. */
export async function languageLosses<Arm extends string>({ seed, data, log, signal }: Context, arms: Readonly<Record<Arm, PrecisionScheme>>, seeds: number, config: object): Promise<Losses<Arm>> {
  const names = Object.keys(arms) as Arm[], losses = new Map<Arm, number[]>(names.map(name => [name, []]))
  await withExecutor(async executor => {
    for (let i = 0; i < seeds; i++) for (const name of names) {
      const { validation } = await trainRun(executor, {
        task: 'language-model', schedule: { warmup: 0.1 }, metrics: { gradient: 0, overflow: 0 }, ...config,
        data: { files: textFiles(data) }, seed: seed + i, precision: { ...arms[name], activation: 'bf16' },
      }, { signal })
      losses.get(name)!.push(validation.studied)
      log(`seed ${seed + i} ${name}: ${validation.studied.toFixed(4)}`)
    }
  })
  return losses
}

export const signed = (x: number): string => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(4)}`

/** Mean of an arm's paired differences to the baseline. */
export const gapOf = <Arm extends string>(losses: Losses<Arm>, arm: Arm): number => paired([...losses.values()][0]!, losses.get(arm)!).meanDifference

/** That runs of `worse` end above runs of `better`: the mean of the paired differences, how certain, in how many seeds. */
export function above<Arm extends string>(losses: Losses<Arm>, better: Arm, worse: Arm): Finding {
  const d = paired(losses.get(better)!, losses.get(worse)!)
  return shows(`loss of ${worse} against ${better}`, 'higher', `${signed(d.meanDifference)} ± ${d.standardError.toFixed(4)}, higher in ${d.higher} of ${losses.get(worse)!.length} seeds`, d.meanDifference > 0)
}

/** Every arm's loss above the baseline's of the same seed. An arm may lack the last seeds. */
export function gapFigure<Arm extends string>(losses: Losses<Arm>, name: string): ReproductionFigure {
  const [first, ...others] = [...losses.keys()] as [Arm, ...Arm[]], baseline = losses.get(first)!
  const each = others.flatMap(arm => losses.get(arm)!.map((loss, i) => ({ arm, seed: i, gap: loss - baseline[i]! })))
  const means = others.map(arm => { const values = losses.get(arm)!, { meanDifference: mean, standardError } = paired(baseline.slice(0, values.length), values); return { arm, mean, low: mean - standardError, high: mean + standardError } })
  return {
    name, title: `Loss above the ${first} run of the same seed`,
    caption: 'Small dots: one seed each. Bars: mean and standard error of the paired differences.',
    plot: {
      height: 80 + 30 * others.length, marginLeft: 170, x: { label: 'nats per byte', grid: true }, y: { type: 'point' as const, domain: [...others], label: null },
      marks: [
        ruleX([0]), link(means, { x1: 'low', x2: 'high', y1: 'arm', y2: 'arm', stroke: 'var(--studied)', strokeWidth: 3 }),
        dot(means, { x: 'mean', y: 'arm', fill: 'var(--studied)', r: 5 }), dot(each, { x: 'gap', y: 'arm', r: 2.5, fill: 'currentColor', fillOpacity: 0.6 }),
      ],
    },
    data: each,
  }
}
