// R12: what precision costs a language model, by pair of formats. Runs of one seed start from the same weights and see the same text in the same order,
// so the loss on held-out text is compared in pairs. Every pair computes norms and GELU as bf16 chains, the bf16 baseline too: formats alone differ.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { dot, link, ruleX } from '@observablehq/plot'
import { schemes } from '../../numerics/scheme.ts'
import type { Executor } from '../../runtime/executor.ts'
import { open } from '../../runtime/open.ts'
import { parseConfig, type LanguageModelConfig } from '../../train/config.ts'
import { LanguageModel } from '../../train/language-model.ts'
import { outcome, shows, type Context, type Finding, type Reproduction, type Scale } from '../reproduction.ts'
import { paired } from '../statistics.ts'

/** Weights / activations and gradients, in the order that the paper's losses have; the first is the baseline. */
const pairs = ['bf16', 'e4m3/bf16', 'e4m3/e4m3/forward-only', 'e2m3/e2m3', 'e4m3/e4m3', 'e5m2/e5m2', 'e2m1/e2m1'] as const
type Pair = typeof pairs[number]

const settings: Record<Scale, { seeds: number, config: Record<string, unknown> }> = {
  quick: { seeds: 3, config: { model: { size: 'tiny', context: 64 }, batch: 16, steps: 150, optimizer: { lr: 3e-3 }, validation: { every: 0, sequences: 256 } } },
  full: { seeds: 3, config: { model: { size: 'small', context: 256 }, batch: 16, steps: 800, optimizer: { lr: 2e-3 }, validation: { every: 0, sequences: 256 } } },
}

/** tinyshakespeare and WikiText-2 where they are, else the text that every installation has. */
function textFiles(folder: string | null): string[] {
  const known = ['tinyshakespeare.txt', 'wikitext2-valid.txt', 'wikitext2-test.txt'].map(f => join(folder ?? '', f)).filter(f => folder !== null && existsSync(f))
  return known.length ? known : ['default']
}

/** Train `config` to the end; its loss on held-out text. Its memory is given back. */
async function heldOutLoss(executor: Executor, config: LanguageModelConfig, signal?: AbortSignal): Promise<number> {
  const mark = executor.arena.mark()
  try {
    const task = await LanguageModel.create(executor, config)
    task.build(0)
    for (let step = 0; step < config.steps; step++) {
      signal?.throwIfAborted()
      await task.prepare(step)
      await task.gradients()
      if (!Number.isFinite(task.losses().studied)) return Infinity
      await task.update()
    }
    return (await task.validate()).studied!
  } finally { executor.arena.release(mark) }
}

const signed = (x: number): string => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(4)}`

/** That runs in `worse` end above runs in `better`: the mean of the paired differences, how certain, in how many seeds. */
function above(losses: ReadonlyMap<Pair, number[]>, better: Pair, worse: Pair): Finding {
  const d = paired(losses.get(better)!, losses.get(worse)!)
  return shows(`loss of ${worse} against ${better}`, 'higher', `${signed(d.meanDifference)} ± ${d.standardError.toFixed(4)}, higher in ${d.higher} of ${losses.get(worse)!.length} seeds`, d.meanDifference > 0)
}

export const reproduction: Reproduction = {
  name: 'r12-language-model',
  title: 'What precision costs a language model',
  claim: 'bf16 activations with E4M3 weights, and quantizing the forward pass alone, cost least; then E2M3 and E4M3 everywhere, about alike; E5M2 everywhere costs several times as much. (Gaps at the smallest budget, 2e17 FLOPs: 0.000, 0.005, 0.006, 0.009, 0.027.)',
  source: 'arXiv 2506.20752, section 6, table 1 and figure 1; E2M1 is our addition',
  cost: { quick: '21 runs of 0.13 M parameters, 0.15 M tokens each: some three minutes', full: '21 runs of 0.85 M parameters, 3.3 M tokens each: about two hours' },
  async run(context) {
    const losses = await trainAll(context), gap = (pair: Pair) => paired(losses.get('bf16')!, losses.get(pair)!).meanDifference
    const e2m3 = gap('e2m3/e2m3'), e4m3 = gap('e4m3/e4m3'), e5m2 = gap('e5m2/e5m2')
    return outcome([
      above(losses, 'e4m3/bf16', 'e4m3/e4m3'),
      above(losses, 'e4m3/e4m3/forward-only', 'e4m3/e4m3'),
      above(losses, 'e4m3/bf16', 'e4m3/e4m3/forward-only'),
      shows('E2M3 and E4M3 everywhere', 'closer to each other than to E5M2', `gaps ${signed(e2m3)} and ${signed(e4m3)}, E5M2 ${signed(e5m2)}`, Math.abs(e2m3 - e4m3) < e5m2 - Math.max(e2m3, e4m3)),
      above(losses, 'e4m3/e4m3', 'e5m2/e5m2'),
      above(losses, 'e5m2/e5m2', 'e2m1/e2m1'),
    ], `Losses in nats per byte of held-out text, ${losses.get('bf16')!.length} seeds; a model a hundred times smaller than the paper's smallest, so that its gaps are no measure for these.`, [gapFigure(losses)])
  },
}

async function trainAll({ scale, seed, data, log, signal }: Context): Promise<Map<Pair, number[]>> {
  const { seeds, config } = settings[scale], losses = new Map<Pair, number[]>(pairs.map(p => [p, []])), executor = await open({ wide: true })
  try {
    for (let i = 0; i < seeds; i++) for (const pair of pairs) {
      const precision = { ...schemes[pair]!, activation: 'bf16' }
      const run = parseConfig({ task: 'language-model', schedule: { warmup: 0.1 }, metrics: { gradient: 0, overflow: 0 }, ...config, data: { files: textFiles(data) }, seed: seed + i, precision })
      const loss = await heldOutLoss(executor, run as LanguageModelConfig, signal)
      losses.get(pair)!.push(loss)
      log(`seed ${seed + i} ${pair}: ${loss.toFixed(4)}`)
    }
  } finally { await executor.close() }
  return losses
}

function gapFigure(losses: ReadonlyMap<Pair, number[]>) {
  const baseline = losses.get('bf16')!, others = pairs.slice(1)
  const each = others.flatMap(pair => losses.get(pair)!.map((loss, i) => ({ pair, seed: i, gap: loss - baseline[i]! })))
  const means = others.map(pair => { const { meanDifference: mean, standardError } = paired(baseline, losses.get(pair)!); return { pair, mean, low: mean - standardError, high: mean + standardError } })
  return {
    name: 'r12-gaps', title: 'Loss above the bf16 run of the same seed',
    caption: 'Small dots: one seed each. Bars: mean and standard error of the paired differences.',
    plot: {
      height: 260, marginLeft: 170, x: { label: 'nats per byte', grid: true }, y: { type: 'point' as const, domain: [...others], label: null },
      marks: [
        ruleX([0]), link(means, { x1: 'low', x2: 'high', y1: 'pair', y2: 'pair', stroke: 'var(--studied)', strokeWidth: 3 }),
        dot(means, { x: 'mean', y: 'pair', fill: 'var(--studied)', r: 5 }), dot(each, { x: 'gap', y: 'pair', r: 2.5, fill: 'currentColor', fillOpacity: 0.6 }),
      ],
    },
    data: each,
  }
}
