// R21: the rule of "FP4 All the Way": FP4 training stops helping once the gradient's norm falls below sqrt(3) times the quantization noise. The ratio is
// measured at the weights of an E2M1 run as ||g|| / ||g_q - g||, g the f32 gradient of the same batch, and the run is forked to f32 where it crosses.
import { ruleX, ruleY } from '@observablehq/plot'
import { outcome, shows, type Context, type Outcome, type Reproduction, type Scale } from '../reproduction.ts'
import { median } from '../statistics.ts'
import { linesFigure } from './figures.ts'
import { lossPoints, probePoints } from './readings.ts'
import { proxy, smallProxy, trainRun, withExecutor } from './training.ts'

interface Settings { width: number, batch: number, steps: number, every: number }
const settings: Record<Scale, Settings> = { quick: { width: 64, batch: 256, steps: 1500, every: 10 }, full: { width: 256, batch: 1024, steps: 8000, every: 50 } }

/** E2M1 everywhere: nearest in the forward pass, stochastic gradients, as in that paper. */
const fp4 = { scheme: 'e2m1/e2m1', rounding: 'nearest-even', vectorRounding: 'nearest-even', gradientRounding: 'stochastic' }
const THRESHOLD = Math.sqrt(3)

export const reproduction: Reproduction = {
  name: 'r21-sqrt3-rule',
  title: 'When FP4 stops helping: the square-root-of-3 rule',
  claim: 'As the loss falls, so does the gradient against the quantization noise; below sqrt(3) times the noise FP4 training makes no more progress, and switching to higher precision recovers the loss.',
  source: 'arXiv 2505.19115 (FP4 All the Way)',
  cost: { quick: '3 runs of L=4, d=64, 1500 steps of 256: twenty seconds', full: '3 runs of L=4, d=256, 8000 steps of 1024: about three hours' },
  run: context => measure(settings[context.scale], context),
}

/** First step whose ratio, as the median of it and the four before, is below sqrt(3); null if none. */
export function crossing(ratio: readonly { step: number, value: number }[]): number | null {
  const i = ratio.findIndex((_, k) => k >= 4 && median(ratio.slice(k - 4, k + 1).map(p => p.value)) < THRESHOLD)
  return i < 0 ? null : ratio[i]!.step
}

export async function measure({ every, steps, ...size }: Settings, { seed, log, signal }: Context): Promise<Outcome> {
  const keep = Array.from({ length: Math.floor(steps / every) - 1 }, (_, i) => (i + 1) * every)
  const config = (changes: object) => proxy({ ...smallProxy({ steps, ...size }), optimizer: { lr: 2e-3 }, schedule: { kind: 'cosine', lrMin: 2e-4 }, labelNoise: 0, seed, ...changes })
  const { low, high, switched, cross } = await withExecutor(async executor => {
    const low = await trainRun(executor, config({ precision: fp4, probes: { every, weights: 'studied', schemes: { fp4 } } }), { signal, keep })
    const cross = crossing(probePoints(low, 'fp4').map(p => ({ step: p.step, value: 1 / p.value })))
    log(`the ratio crosses sqrt(3) at ${cross ?? 'no step'}`)
    const at = Math.min(cross ?? steps / 2, steps - every), step = Math.floor(at / every) * every
    const switched = await trainRun(executor, config({ precision: fp4, precisionSchedule: [{ step, precision: 'fp32' }] }), { signal, from: { step, state: low.states.get(step)! } })
    return { low, high: await trainRun(executor, config({ precision: 'fp32' }), { signal }), switched, cross }
  })
  const ratio = probePoints(low, 'fp4').map(p => ({ step: p.step, value: 1 / p.value })), fork = switched.first
  const first = median(ratio.slice(0, 5).map(p => p.value)), last = median(ratio.slice(-5).map(p => p.value))
  // Mean loss of the fiftieth of the run before a step: batches are small.
  const level = (losses: readonly number[], end: number) => median(losses.slice(Math.max(0, end - Math.ceil(steps / 50)), end))
  const [lowThen, highThen] = [level(low.losses.studied, fork), level(high.losses.studied, fork)]
  const lowEnd = low.validation.studied, highEnd = high.validation.studied, switchedEnd = switched.validation.studied
  const progress = lowThen / level(low.losses.studied, steps), highProgress = highThen / level(high.losses.studied, steps)
  return outcome([
    shows('gradient norm over quantization noise, first steps', 'above sqrt(3) = 1.73', first.toFixed(2), first > THRESHOLD),
    shows('the same at the end', 'below sqrt(3)', last.toFixed(2), last < THRESHOLD),
    shows('factor by which the loss still falls after the crossing: E2M1 and f32', 'less in E2M1, less than 1.1', `${progress.toFixed(2)} and ${highProgress.toFixed(2)}`, cross !== null && progress < highProgress && progress < 1.1),
    shows('share of the final E2M1 loss above f32 that switching at the crossing recovers', 'more than one half', `${(100 * (lowEnd - switchedEnd) / (lowEnd - highEnd)).toFixed(0)} %`, cross !== null && lowEnd > highEnd && lowEnd - switchedEnd > 0.5 * (lowEnd - highEnd)),
  ], `${cross === null ? `The ratio never crosses; the switch is made at step ${fork}.` : `The ratio crosses at step ${cross}.`} Validation losses at the end: E2M1 ${lowEnd.toExponential(2)}, switched ${switchedEnd.toExponential(2)}, f32 ${highEnd.toExponential(2)}. The noise is the whole error of the gradient, that of the forward pass included.`, [
    linesFigure({ name: 'r21-ratio', title: 'Gradient norm over quantization noise', caption: 'At the weights of the E2M1 run. Dashed: the square root of 3.', y: 'ratio', log: true, series: { ratio }, marks: [ruleY([THRESHOLD], { strokeDasharray: '4 4' })] }),
    linesFigure({ name: 'r21-loss', title: 'Training loss in E2M1, in f32, and switched from one to the other', caption: `Smoothed. The switch is made at step ${fork}.`, y: 'loss', log: true, series: { 'E2M1': lossPoints(low).slice(5), 'E2M1, then f32': lossPoints(switched), 'f32': lossPoints(high).slice(5) }, marks: [ruleX([fork], { strokeDasharray: '4 4' })] }),
  ])
}
