// R12: what precision costs a language model, by pair of formats.
import { schemes } from '../../numerics/scheme.ts'
import { outcome, shows, type Reproduction, type Scale } from '../reproduction.ts'
import { above, gapFigure, gapOf, languageLosses, signed } from './language-losses.ts'

/** Weights / activations and gradients, in the order that the paper's losses have; the first is the baseline. */
const pairs = ['bf16', 'e4m3/bf16', 'e4m3/e4m3/forward-only', 'e2m3/e2m3', 'e4m3/e4m3', 'e5m2/e5m2', 'e2m1/e2m1'] as const
type Pair = typeof pairs[number]
const arms = Object.fromEntries(pairs.map(p => [p, schemes[p]!])) as Record<Pair, typeof schemes[string]>

const settings: Record<Scale, { seeds: number, config: object }> = {
  quick: { seeds: 3, config: { model: { size: 'tiny', context: 64 }, batch: 16, steps: 150, optimizer: { lr: 3e-3 }, validation: { every: 1, sequences: 256 } } },
  full: { seeds: 3, config: { model: { size: 'small', context: 256 }, batch: 16, steps: 800, optimizer: { lr: 2e-3 }, validation: { every: 1, sequences: 256 } } },
}

export const reproduction: Reproduction = {
  name: 'r12-language-model',
  title: 'What precision costs a language model',
  claim: 'bf16 activations with E4M3 weights, and quantizing the forward pass alone, cost least; then E2M3 and E4M3 everywhere, about alike; E5M2 everywhere costs several times as much. (Gaps at the smallest budget, 2e17 FLOPs: 0.000, 0.005, 0.006, 0.009, 0.027.)',
  source: 'arXiv 2506.20752, section 6, table 1 and figure 1; E2M1 is our addition',
  cost: { quick: '21 runs of 0.13 M parameters, 0.15 M tokens each: some three minutes', full: '21 runs of 0.85 M parameters, 3.3 M tokens each: two hours on two cores' },
  async run(context) {
    const { seeds, config } = settings[context.scale], losses = await languageLosses(context, arms, seeds, config), gap = (pair: Pair) => gapOf(losses, pair)
    const e2m3 = gap('e2m3/e2m3'), e4m3 = gap('e4m3/e4m3'), e5m2 = gap('e5m2/e5m2')
    return outcome([
      above(losses, 'e4m3/bf16', 'e4m3/e4m3'),
      above(losses, 'e4m3/e4m3/forward-only', 'e4m3/e4m3'),
      above(losses, 'e4m3/bf16', 'e4m3/e4m3/forward-only'),
      shows('E2M3 and E4M3 everywhere', 'closer to each other than to E5M2', `gaps ${signed(e2m3)} and ${signed(e4m3)}, E5M2 ${signed(e5m2)}`, Math.abs(e2m3 - e4m3) < e5m2 - Math.max(e2m3, e4m3)),
      above(losses, 'e4m3/e4m3', 'e5m2/e5m2'),
      above(losses, 'e5m2/e5m2', 'e2m1/e2m1'),
    ], `Losses in nats per byte of held-out text, ${seeds} seeds; a model a hundred times smaller than the paper's smallest, so that its gaps are no measure for these.`, [gapFigure(losses, 'r12-gaps')])
  },
}
