// A reviewers' question: of the two kinds of saturation, in activations (and weights and gradients) and in the layer norm's affine weights, which one
// harms? Two by two: saturation in GEMM operands is there or not, saturation in gamma and beta is there or not. Without saturation means the exponent
// bump as its authors meant it: a block that would saturate takes the next larger scale, every other block stays as it is. A layer norm in MX without
// saturation still rounds gamma to E4M3: what is left of its error then is rounding alone.
import { outcome, shows, type Context, type Outcome, type Reproduction, type Scale } from '../reproduction.ts'
import { median } from '../statistics.ts'
import { linesFigure } from './figures.ts'
import { probeMedian, probePoints, rowsOf } from './readings.ts'
import { proxy, trainRun, withExecutor } from './training.ts'

interface Settings { width: number, batch: number, steps: number, lr: number, every: number }
const settings: Record<Scale, Settings> = { quick: { width: 128, batch: 128, steps: 1000, lr: 2e-3, every: 20 }, full: { width: 256, batch: 2048, steps: 5000, lr: 1e-3, every: 50 } }

const probes = {
  'operands saturate': { scheme: 'e4m3/e4m3' },
  'nothing saturates': { scheme: 'e4m3/bump' },
  'operands and layer norm saturate': { scheme: 'e4m3/e4m3', layerNorm: 'mx' },
  'layer norm in MX without saturation': { scheme: 'e4m3/bump', layerNorm: 'mx' },
}

export const reproduction: Reproduction = {
  name: 'overflow-or-layer-norm',
  title: 'Saturation of activations against saturation of layer-norm weights',
  claim: 'Saturation of the clustered layer-norm weights biases the gradient; saturation of about 1 % of the activations matters much less.',
  source: 'arXiv 2506.20752, section 5, and its reviewers, who asked for the two to be separated',
  cost: { quick: '1 run of L=4, d=128, 1000 steps of 128: ten seconds', full: '1 run of L=4, d=256, 5000 steps of 2048: about an hour' },
  run: context => measure(settings[context.scale], context),
}

export async function measure({ width, batch, steps, lr, every }: Settings, { seed, log, signal }: Context): Promise<Outcome> {
  const config = proxy({ model: { depth: 4, width }, batch, steps, seed, optimizer: { lr }, precision: 'fp32', metrics: { overflow: every }, probes: { every, weights: 'studied', schemes: probes } })
  const run = await withExecutor(executor => trainRun(executor, config, { signal }))
  const names = Object.keys(probes) as (keyof typeof probes)[], late = names.map(n => probeMedian(run, n, 'relativeError', 0.5)) as [number, number, number, number]
  const [operands, none, both, rounded] = late
  names.forEach((n, i) => log(`${n}: gradient error ${late[i]!.toFixed(3)}`))
  // Where gamma clusters, step by step: the layer norm's share of the error against the share of gamma in the last bucket.
  const gamma = new Map(rowsOf(run, 'overflow', 'studied').map(r => [r.step, r.totals.gamma!]))
  const excess = probePoints(run, names[2]).map((p, i) => ({ step: p.step, ratio: p.value / probePoints(run, names[0])[i]!.value, clustered: gamma.get(p.step)! > 0.5 }))
  const typical = (clustered: boolean) => median(excess.filter(e => e.clustered === clustered).map(e => e.ratio))
  const [before, after] = [typical(false), typical(true)]
  return outcome([
    shows('gradient error without saturation in the operands, relative to with', 'hardly less: above 0.8', (none / operands).toFixed(3), none > 0.8 * operands),
    shows('gradient error with the layer norm in MX, relative to bf16', 'larger: above 1.5', (both / operands).toFixed(2), both > 1.5 * operands),
    shows('of what the layer norm in MX adds, the part that goes when nothing saturates', 'most: above one half', `${(100 * (both - rounded) / (both - operands)).toFixed(0)} %`, both > operands && both - rounded > 0.5 * (both - operands)),
    shows('gradient error with the layer norm in MX relative to bf16, while less and more than half of gamma is in the last bucket', 'larger where gamma has clustered', `${before.toFixed(2)} and ${after.toFixed(2)}`, after > before),
  ], 'E4M3 everywhere, at the weights of an f32 run; medians over its second half unless said otherwise. What is left without saturation is rounding: E4M3 has steps of 1/8 above 1 and of 1/16 below, which is coarse for gammas that differ by some hundredths.', [
    linesFigure({ name: 'overflow-or-layer-norm', title: 'Gradient error at the same weights, by what saturates', caption: 'Relative to the norm of the f32 gradient.', y: 'relative error', log: true, series: Object.fromEntries(names.map(n => [n, probePoints(run, n)])) }),
  ])
}
