// R19, the part that trains: E2M1 in the backward pass alone, rounded to nearest or stochastically, with or without a random Hadamard transform of the
// operands. Scales are rounded up: under the floor scale the largest values saturate, which stochastic rounding cannot make unbiased (r19).
import { outcome, shows, type Context, type Outcome, type Reproduction, type Scale } from '../reproduction.ts'
import { gapsFigure, linesFigure } from './figures.ts'
import { endsAbove, gap, probePoints, probeMedian } from './readings.ts'
import { proxy, smallProxy, trainArms, trainRun, withExecutor } from './training.ts'

interface Settings { width: number, batch: number, steps: number, seeds: number, every: number }
const settings: Record<Scale, Settings> = { quick: { width: 64, batch: 64, steps: 600, seeds: 3, every: 30 }, full: { width: 256, batch: 512, steps: 4000, seeds: 5, every: 100 } }

const scheme = (gradientRounding: string, hadamard: string) => ({ scheme: 'mxfp4-backward', scaleRule: 'rceil', gradientRounding, rounding: gradientRounding, hadamard })
const schemes = {
  nearest: scheme('nearest-even', 'none'), 'nearest with Hadamard': scheme('nearest-even', 'backward'),
  stochastic: scheme('stochastic', 'none'), 'stochastic with Hadamard': scheme('stochastic', 'backward'),
}
type Name = keyof typeof schemes
const names = Object.keys(schemes) as Name[]
const arms = { bf16: { precision: { scheme: 'bf16', vectorRounding: 'nearest-even' } }, ...Object.fromEntries(names.map(n => [n, { precision: schemes[n] }])) as Record<Name, { precision: object }> }

export const reproduction: Reproduction = {
  name: 'fp4-gradients',
  title: 'Stochastic rounding and the Hadamard transform in training',
  claim: 'With E2M1 in the backward pass alone, stochastic rounding (unbiased) trains better than rounding to nearest (biased); the random Hadamard transform lowers the variance; the two together are near-lossless.',
  source: 'arXiv 2502.20586 (Training LLMs with MXFP4), and the reviewers of arXiv 2506.20752, who asked for it',
  cost: { quick: '16 runs of L=4, d=64, 600 steps of 64: forty seconds', full: '26 runs of L=4, d=256, 4000 steps of 512: about nine hours' },
  run: context => measure(settings[context.scale], context),
}

export async function measure({ every, seeds, ...size }: Settings, context: Context): Promise<Outcome> {
  const probed = await withExecutor(executor => trainRun(executor, proxy({ ...smallProxy(size), seed: context.seed, precision: 'fp32', probes: { every, weights: 'studied', schemes } }), { signal: context.signal }))
  const error = (name: Name) => probeMedian(probed, name)
  const runs = await trainArms(context, smallProxy(size), arms, seeds), both = gap(runs, 'bf16', 'stochastic with Hadamard')
  return outcome([
    shows('error of one gradient, stochastic over nearest', 'larger, the price of having no bias: above 1', (error('stochastic') / error('nearest')).toFixed(3), error('stochastic') > error('nearest')),
    shows('error of one gradient, stochastic: with the Hadamard transform over without', 'lower: below 1', (error('stochastic with Hadamard') / error('stochastic')).toFixed(3), error('stochastic with Hadamard') < error('stochastic')),
    endsAbove(runs, 'stochastic', 'nearest'),
    endsAbove(runs, 'stochastic with Hadamard', 'stochastic'),
    shows('final loss, both together against bf16', 'near-lossless: less than 1 % above', both.text, both.mean < 1),
  ], 'Activations and weights of the forward pass are bf16. The student\'s gradients have few outliers, so the transform has less to do here than in a language model.', [
    linesFigure({ name: 'fp4-gradient-error', title: 'Error of one E2M1 gradient at the same weights', caption: 'At the weights of an f32 run.', y: 'relative error', series: Object.fromEntries(names.map(n => [n, probePoints(probed, n)])) }),
    gapsFigure(runs, 'bf16', { name: 'fp4-loss', title: 'Loss above the bf16 run of the same seed', caption: 'Validation loss at the end.' }),
  ])
}
