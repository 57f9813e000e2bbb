// R5: what quantizing the layer norm's affine parameters does to the gradient. Everything else is E4M3 in each of three modes of the layer norm, f32,
// bf16 (the released code) and MX (the paper's claim), compared at the same weights and on the same batch as an f32 run goes by. Beside it the number
// that the released code logs: the gradients of two runs, each at its own weights, which mixes rounding with how far the runs have drifted apart.
import { outcome, shows, type Context, type Outcome, type Reproduction, type Scale } from '../reproduction.ts'
import { median } from '../statistics.ts'
import { linesFigure } from './figures.ts'
import { probeMedian, probePoints, rowsOf } from './readings.ts'
import { proxy, trainRun, withExecutor } from './training.ts'

interface Settings { width: number, batch: number, steps: number, lr: number, every: number }
const settings: Record<Scale, Settings> = { quick: { width: 128, batch: 128, steps: 1000, lr: 2e-3, every: 25 }, full: { width: 256, batch: 2048, steps: 5000, lr: 1e-3, every: 50 } }

const modes = { 'layer norm fp32': 'fp32', 'layer norm bf16': 'bf16', 'layer norm mx': 'mx' } as const
type Mode = keyof typeof modes

export const reproduction: Reproduction = {
  name: 'r5-layer-norm-bias',
  title: 'Layer-norm weights in MX bias the gradient',
  claim: 'Quantizing the layer norm\'s clustered affine weights in MX biases the gradient. (Error relative to the gradient at the same weights, in an earlier simulation of ours: 0.2 to 0.44 with the layer norm in bf16, 0.7 to 1.08 with it in MX.)',
  source: 'arXiv 2506.20752, section 5; the released code computes the layer norm in bf16, which its reviewers could not see',
  cost: { quick: '2 runs of L=4, d=128, 1000 steps of 128: a minute', full: '2 runs of L=4, d=256, 5000 steps of 2048: about three hours' },
  run: context => measure(settings[context.scale], context),
}

export async function measure({ width, batch, steps, lr, every }: Settings, { seed, log, signal }: Context): Promise<Outcome> {
  const schemes = Object.fromEntries(Object.entries(modes).map(([name, layerNorm]) => [name, { scheme: 'e4m3/e4m3', layerNorm }]))
  const config = proxy({ model: { depth: 4, width }, batch, steps, seed, optimizer: { lr }, baseline: 'fp32', precision: 'e4m3/e4m3', metrics: { gradient: every }, probes: { every, weights: 'baseline', schemes } })
  const run = await withExecutor(executor => trainRun(executor, config, { signal }))
  const late = (mode: Mode, key: 'relativeError' | 'cosine') => probeMedian(run, mode, key, 0.8)
  const early = (mode: Mode) => median(probePoints(run, mode).filter(p => p.step <= steps / 10).map(p => p.value))
  const [fp32, bf16, mx] = (Object.keys(modes) as Mode[]).map(m => late(m, 'relativeError')) as [number, number, number]
  const trajectory = rowsOf(run, 'trajectory').map(r => ({ step: r.step, value: r.relativeError ?? NaN })), apart = median(trajectory.filter(p => p.step >= 0.8 * steps).map(p => p.value))
  log(`late gradient error: fp32 ${fp32.toFixed(3)}, bf16 ${bf16.toFixed(3)}, mx ${mx.toFixed(3)}; two trajectories ${apart.toFixed(3)}`)
  return outcome([
    shows('late gradient error with the layer norm in MX, over that in bf16', 'larger: above 1.5', (mx / bf16).toFixed(2), mx > 1.5 * bf16),
    { what: 'late gradient error with the layer norm in MX', claimed: '0.7 to 1.08', found: mx.toFixed(3), holds: mx >= 0.7 && mx <= 1.08, kind: 'number' },
    shows('late cosine, layer norm in MX and in bf16', 'lower in MX: 0.24 to 0.85 against 0.9 to 0.98', `${late('layer norm mx', 'cosine').toFixed(3)} and ${late('layer norm bf16', 'cosine').toFixed(3)}`, late('layer norm mx', 'cosine') < 0.9 && late('layer norm bf16', 'cosine') > 0.9),
    shows('late gradient error, layer norm in bf16 and in f32', 'alike: within 10 %', `${bf16.toFixed(3)} and ${fp32.toFixed(3)}`, Math.abs(bf16 / fp32 - 1) < 0.1),
    shows('late difference of the two runs\' gradients, over the error at the same weights (bf16)', 'another quantity: above 1.5', (apart / bf16).toFixed(2), apart > 1.5 * bf16),
  ], `The effect is there, but only in the mode that the released code does not have; and it is there in the first tenth of the run already (${(early('layer norm mx') / early('layer norm bf16')).toFixed(1)} times the error in bf16), before gamma clusters, so that clamping cannot be all of it: see overflow-or-layer-norm. The E4M3 run with its layer norm in bf16 ends at ${run.validation.studied.toExponential(2)}, the f32 run at ${run.validation.baseline.toExponential(2)} (validation). Medians over the last fifth of the run; smaller than the paper's model, with our own random numbers.`, [
    linesFigure({
      name: 'r5-gradient-error', title: 'Gradient error at the same weights, by mode of the layer norm', caption: 'Norm of the difference to the f32 gradient, relative to its norm, at the f32 run\'s weights. The fourth line is what the released code logs: the difference of two runs\' gradients.',
      y: 'relative error', log: true, series: { ...Object.fromEntries((Object.keys(modes) as Mode[]).map(m => [m, probePoints(run, m)])), 'two trajectories': trajectory },
    }),
    linesFigure({ name: 'r5-cosine', title: 'Cosine between low-precision and f32 gradient', caption: 'The same gradients.', y: 'cosine', series: { ...Object.fromEntries((Object.keys(modes) as Mode[]).map(m => [m, probePoints(run, m, 'cosine')])), 'two trajectories': rowsOf(run, 'trajectory').map(r => ({ step: r.step, value: r.cosine ?? NaN })) } }),
  ])
}
