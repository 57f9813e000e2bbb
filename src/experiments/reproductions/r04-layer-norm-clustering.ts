// R4: layer-norm gamma gathers in the last bucket. A value is counted where a block format would clamp it, whether the run quantizes it or not, so the
// f32 run shows that clustering is the optimizer's doing; the E4M3 run of the same seed (layer norm in bf16) shows how little MX has to do with it.
import { rectY, ruleX } from '@observablehq/plot'
import { blockQuantizer } from '../../numerics/profiles.ts'
import { quantizeTensor } from '../core-tensors.ts'
import { outcome, shows, within, type Context, type Outcome, type Reproduction, type Scale } from '../reproduction.ts'
import { mean } from '../statistics.ts'
import { linesFigure } from './figures.ts'
import { percent, rowsOf } from './readings.ts'
import { proxy, trainRun, withExecutor, type TrainedRun } from './training.ts'

interface Settings { width: number, batch: number, steps: number, lr: number }
const settings: Record<Scale, Settings> = { quick: { width: 128, batch: 128, steps: 1000, lr: 2e-3 }, full: { width: 256, batch: 2048, steps: 5000, lr: 1e-3 } }

const share = (run: TrainedRun, kind: 'gamma' | 'hidden') => rowsOf(run, 'overflow', 'studied').map(r => ({ step: r.step, value: r.totals[kind]! }))

/** Mean number of different values per block of 32 once gamma is quantized to MX E4M3. */
function distinctValues(layers: readonly number[][]): number {
  return mean(layers.flatMap(gamma => {
    const q = quantizeTensor(Float32Array.from(gamma), blockQuantizer('ocp', 'e4m3', {}))
    return Array.from({ length: Math.ceil(q.length / 32) }, (_, b) => new Set(q.subarray(32 * b, 32 * b + 32)).size)
  }))
}

export const reproduction: Reproduction = {
  name: 'r4-layer-norm-clustering',
  title: 'Layer-norm weights gather in the last bucket',
  claim: 'During training the layer norm\'s affine weights come to lie so close together that a block\'s shared scale puts most of them into the last bucket, where E4M3 clamps them; of the activations only about 1 % lie there.',
  source: 'arXiv 2506.20752, section 5 and figure 3',
  cost: { quick: '2 runs of L=4, d=128, 1000 steps of 128: half a minute', full: '2 runs of L=4, d=256, 5000 steps of 2048: about two hours' },
  run: context => measure(settings[context.scale], context),
}

export async function measure({ width, batch, steps, lr }: Settings, { seed, log, signal }: Context): Promise<Outcome> {
  const train = (precision: string) => withExecutor(executor => trainRun(executor, proxy({ model: { depth: 4, width }, batch, steps, seed, optimizer: { lr }, precision, metrics: { overflow: 10, gamma: steps } }), { signal }))
  const fp32 = await train('fp32'), e4m3 = await train('e4m3/e4m3')
  const gamma = rowsOf(fp32, 'gamma')[0]!.layers, values = gamma.flat(), first = share(fp32, 'gamma')[0]!.value, last = share(fp32, 'gamma').at(-1)!.value
  const hidden = mean(share(fp32, 'hidden').map(p => p.value)), lastE4m3 = share(e4m3, 'gamma').at(-1)!.value, distinct = distinctValues(gamma)
  log(`gamma in the last bucket: fp32 ${percent(last)}, e4m3 ${percent(lastE4m3)}`)
  return outcome([
    shows(`gamma in the last bucket, fp32 run: step 10 and step ${steps}`, 'from none to most', `${percent(first)} and ${percent(last)}`, first < 0.05 && last > 0.5),
    shows('the same in the E4M3 run', 'most', percent(lastE4m3), lastE4m3 > 0.5),
    within('hidden activations in the last bucket, mean over the run, %', 1, 100 * hidden, 0.5, 3),
    shows('different values per block of 32 gammas, after MX E4M3', 'most of the differences are lost: below 8', distinct.toFixed(2), distinct < 8),
  ], `At the end gamma is ${mean(values).toFixed(3)} on average, just below 1, so that nearly every block has its largest value between 0.875 and 1. It happens in the f32 run as well: MX does not cause the clustering, it suffers from it, and only where gamma is block-quantized, which the released code does not do (see r5). Smaller than the paper's model, with our own random numbers.`, [
    linesFigure({
      name: 'r4-last-bucket', title: 'Share of values in the last bucket', caption: 'Layer-norm gamma against hidden activations (after GELU); blocks of 32.', y: 'share',
      series: { 'gamma, fp32 run': share(fp32, 'gamma'), 'gamma, E4M3 run': share(e4m3, 'gamma'), 'hidden activations, fp32 run': share(fp32, 'hidden') },
    }),
    histogram(values),
  ])
}

function histogram(values: readonly number[]) {
  const size = 0.0125, counts = new Map<number, number>()
  for (const v of values) counts.set(Math.floor(v / size), (counts.get(Math.floor(v / size)) ?? 0) + 1)
  const data = [...counts].sort(([a], [b]) => a - b).map(([i, count]) => ({ from: i * size, to: (i + 1) * size, count }))
  return {
    name: 'r4-gamma', title: 'Layer-norm gamma at the end of the f32 run', caption: 'Between the lines, 0.875 and 1, lies the last bucket of a block whose largest value is below 1.',
    plot: { height: 200, x: { label: 'gamma' }, y: { label: 'values', grid: true }, marks: [rectY(data, { x1: 'from', x2: 'to', y: 'count', fill: 'var(--series-0)' }), ruleX([0.875, 1], { strokeDasharray: '4 4' })] },
    data,
  }
}
