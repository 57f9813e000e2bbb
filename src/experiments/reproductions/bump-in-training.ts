// A reviewers' question: the intervention "exponent bump" as released does not do what the paper says, because its mask takes the maximum over the wrong
// axis (r18). What does a bump done right do to gradient and loss, and is the released one anything like it?
import { outcome, shows, type Context, type Outcome, type Reproduction, type Scale } from '../reproduction.ts'
import { gapsFigure, linesFigure } from './figures.ts'
import { endsAbove, gap, probeMedian, probePoints } from './readings.ts'
import { proxy, smallProxy, trainArms, trainRun, withExecutor } from './training.ts'

interface Settings { width: number, batch: number, steps: number, seeds: number, every: number }
const settings: Record<Scale, Settings> = { quick: { width: 64, batch: 64, steps: 600, seeds: 3, every: 30 }, full: { width: 256, batch: 512, steps: 4000, seeds: 5, every: 100 } }

const bumps = { 'no bump': 'none', 'bump done right': 'intended', 'bump as released': 'as-released' } as const
const arms = { fp32: { precision: 'fp32' }, ...Object.fromEntries(Object.entries(bumps).map(([name, bump]) => [name, { precision: { scheme: 'e4m3/e4m3', bump } }])) as Record<keyof typeof bumps, { precision: object }> }

export const reproduction: Reproduction = {
  name: 'bump-in-training',
  title: 'The exponent bump in training, done right and as released',
  claim: 'A larger shared exponent for blocks that would saturate lowers the gradient\'s error and the loss; what was released as the bump does the same.',
  source: 'arXiv 2506.20752, intervention "exponent bump", and student_teacher.py --bump_up_overflow_exponent',
  cost: { quick: '13 runs of L=4, d=64, 600 steps of 64: forty seconds', full: '21 runs of L=4, d=256, 4000 steps of 512: about seven hours' },
  run: context => measure(settings[context.scale], context),
}

export async function measure({ every, seeds, ...size }: Settings, context: Context): Promise<Outcome> {
  const schemes = Object.fromEntries(Object.entries(bumps).map(([name, bump]) => [name, { scheme: 'e4m3/e4m3', bump }]))
  const probed = await withExecutor(executor => trainRun(executor, proxy({ ...smallProxy(size), seed: context.seed, precision: 'fp32', probes: { every, weights: 'studied', schemes } }), { signal: context.signal }))
  const [none, right, released] = Object.keys(bumps).map(name => probeMedian(probed, name)) as [number, number, number]
  context.log(`gradient error: none ${none.toFixed(4)}, right ${right.toFixed(4)}, released ${released.toFixed(4)}`)
  const runs = await trainArms(context, smallProxy(size), arms, seeds)
  return outcome([
    shows('gradient error at the same weights, bump done right over none', 'lower: below 1', (right / none).toFixed(3), right < none),
    shows('bump as released over bump done right', 'the same: within 5 %', (released / right).toFixed(3), Math.abs(released / right - 1) < 0.05),
    endsAbove(runs, 'bump done right', 'no bump'),
    endsAbove(runs, 'bump as released', 'no bump'),
  ], `E4M3 everywhere costs ${gap(runs, 'fp32', 'no bump').text} here, with the bump ${gap(runs, 'fp32', 'bump done right').text}, as released ${gap(runs, 'fp32', 'bump as released').text}. No block of a real format could hold what the released bump computes. Delay of a divergence is another question: r11.`, [
    linesFigure({ name: 'bump-gradient-error', title: 'Gradient error at the same weights', caption: 'E4M3 everywhere, at the weights of an f32 run.', y: 'relative error', series: Object.fromEntries(Object.keys(bumps).map(n => [n, probePoints(probed, n)])) }),
    gapsFigure(runs, 'fp32', { name: 'bump-loss', title: 'Loss above the f32 run of the same seed', caption: 'Validation loss at the end.' }),
  ])
}
