// R17, the part that trains: the scale of OCP MX, rounded down so that the largest values may saturate, against NVIDIA's, rounded up (RCEIL).
// In E4M3, where the claim was made, and in E2M1, where it should show more.
import { outcome, shows, type Context, type Outcome, type Reproduction, type Scale } from '../reproduction.ts'
import { gapsFigure, linesFigure } from './figures.ts'
import { endsAbove, gap, probeMedian, probePoints } from './readings.ts'
import { proxy, smallProxy, trainArms, trainRun, withExecutor } from './training.ts'

interface Settings { width: number, batch: number, steps: number, seeds: number, every: number }
const settings: Record<Scale, Settings> = { quick: { width: 64, batch: 64, steps: 600, seeds: 3, every: 30 }, full: { width: 256, batch: 512, steps: 4000, seeds: 5, every: 100 } }

const even = { rounding: 'nearest-even', gradientRounding: 'nearest-even', vectorRounding: 'nearest-even' }
const schemes = {
  'E4M3 floor': { scheme: 'mxfp8-floor' }, 'E4M3 rceil': { scheme: 'mxfp8-rceil' },
  'E2M1 floor': { scheme: 'e2m1/e2m1', ...even }, 'E2M1 rceil': { scheme: 'e2m1/e2m1', ...even, scaleRule: 'rceil' },
}
type Name = keyof typeof schemes
const names = Object.keys(schemes) as Name[]
const arms = { bf16: { precision: { scheme: 'bf16', vectorRounding: 'nearest-even' } }, ...Object.fromEntries(names.map(n => [n, { precision: schemes[n] }])) as Record<Name, { precision: object }> }

export const reproduction: Reproduction = {
  name: 'scale-rule-in-training',
  title: 'The rounding of scales in training',
  claim: 'With scales rounded down, MXFP8 training can fall behind bf16; with scales rounded up (RCEIL), which removes saturation, it matches bf16.',
  source: 'arXiv 2506.08027 (Recipes for Pre-training LLMs with MXFP8); E2M1 is our addition',
  cost: { quick: '16 runs of L=4, d=64, 600 steps of 64: half a minute', full: '26 runs of L=4, d=256, 4000 steps of 512: about nine hours' },
  run: context => measure(settings[context.scale], context),
}

export async function measure({ every, seeds, ...size }: Settings, context: Context): Promise<Outcome> {
  const probed = await withExecutor(executor => trainRun(executor, proxy({ ...smallProxy(size), seed: context.seed, precision: 'fp32', probes: { every, weights: 'studied', schemes } }), { signal: context.signal }))
  const error = (name: Name) => probeMedian(probed, name)
  const runs = await trainArms(context, smallProxy(size), arms, seeds), rceil = gap(runs, 'bf16', 'E4M3 rceil')
  const ratio = (format: 'E4M3' | 'E2M1') => shows(`gradient error at the same weights, ${format}: rceil over floor`, 'lower: below 1', (error(`${format} rceil`) / error(`${format} floor`)).toFixed(3), error(`${format} rceil`) < error(`${format} floor`))
  return outcome([
    ratio('E4M3'), ratio('E2M1'),
    endsAbove(runs, 'bf16', 'E4M3 floor'),
    endsAbove(runs, 'E4M3 rceil', 'E4M3 floor'),
    endsAbove(runs, 'E2M1 rceil', 'E2M1 floor'),
    shows('final loss, E4M3 rceil against bf16', 'no higher: within two standard errors of 0', rceil.text, Math.abs(rceil.mean) <= 2 * rceil.standardError),
  ], 'Nearest-even throughout. A student of 0.13 M weights for some seconds says nothing about the rare divergence of an 8-billion-parameter run that the recipe is there to avoid; it says which rule has the smaller error.', [
    linesFigure({ name: 'scale-rule-gradient-error', title: 'Gradient error at the same weights', caption: 'At the weights of an f32 run.', y: 'relative error', log: true, series: Object.fromEntries(names.map(n => [n, probePoints(probed, n)])) }),
    gapsFigure(runs, 'bf16', { name: 'scale-rule-loss', title: 'Loss above the bf16 run of the same seed', caption: 'Validation loss at the end.' }),
  ])
}
