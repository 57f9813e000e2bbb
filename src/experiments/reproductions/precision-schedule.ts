// FracTrain's fractional precision: training begins with few bits and gets more as it goes on. The cost is its measure, too: the product of the two
// operands' bits, summed over the three GEMMs of a layer, relative to 8 bits everywhere. As a control the same two precisions in falling order, at the
// same cost: if only the amount mattered, and not the order, it would end as low.
import { outcome, shows, type Context, type Outcome, type Reproduction, type Scale } from '../reproduction.ts'
import { gapsFigure, linesFigure } from './figures.ts'
import { endsAbove, gap, lossPoints } from './readings.ts'
import { smallProxy, trainArms } from './training.ts'

interface Settings { width: number, batch: number, steps: number, seeds: number }
const settings: Record<Scale, Settings> = { quick: { width: 64, batch: 64, steps: 900, seeds: 3 }, full: { width: 256, batch: 512, steps: 6000, seeds: 5 } }

/** Integer formats in blocks of 32: `forward` bits for activations and weights, 8 for gradients. */
const bits = (forward: 4 | 8) => ({ scheme: 'int8/int8', forward: { activation: `int${forward}`, weight: `int${forward}` }, dgrad: { gradient: 'int8', weight: `int${forward}` }, wgrad: { gradient: 'int8', activation: `int${forward}` } })

/** Cost of a step with `forward` bits, relative to 8 bits. */
export const cost = (forward: number): number => (forward * forward + 2 * 8 * forward) / (3 * 8 * 8)

export const reproduction: Reproduction = {
  name: 'precision-schedule',
  title: 'Precision that rises during training',
  claim: 'Training that begins with low-bit integers and raises the precision as it goes on reaches the loss of constant precision at less cost.',
  source: 'arXiv 2012.13113 (FracTrain), progressive fractional quantization',
  cost: { quick: '12 runs of L=4, d=64, 900 steps of 64: a minute', full: '20 runs of L=4, d=256, 6000 steps of 512: about ten hours' },
  run: context => measure(settings[context.scale], context),
}

export async function measure({ seeds, ...size }: Settings, context: Context): Promise<Outcome> {
  const step = Math.round(size.steps / 2), half = (cost(4) + cost(8)) / 2
  const arms = {
    '8 bits': { precision: bits(8) }, '4 bits': { precision: bits(4) },
    'rising from 4 to 8 bits': { precision: bits(4), precisionSchedule: [{ step, precision: bits(8) }] },
    'falling from 8 to 4 bits': { precision: bits(8), precisionSchedule: [{ step, precision: bits(4) }] },
  }
  const runs = await trainArms(context, smallProxy(size), arms, seeds)
  const low = gap(runs, '8 bits', '4 bits'), rising = gap(runs, '8 bits', 'rising from 4 to 8 bits')
  return outcome([
    endsAbove(runs, '8 bits', '4 bits'),
    shows('final loss, rising precision against 8 bits throughout', 'reached: a gap below a tenth of the 4-bit one', `${rising.text}, 4 bits ${low.text}`, low.mean > 0 && rising.mean < 0.1 * low.mean),
    endsAbove(runs, 'rising from 4 to 8 bits', 'falling from 8 to 4 bits'),
    shows('cost of the rising schedule', 'less than constant precision', `${(100 * half).toFixed(0)} % of 8 bits throughout (4 bits throughout: ${(100 * cost(4)).toFixed(0)} %)`, half < 1),
  ], `Weights and activations in MXINT4 and MXINT8 (blocks of 32), gradients in MXINT8; the change comes after half the steps, where FracTrain has several stages, chosen by watching the loss, and networks of another kind.`, [
    linesFigure({ name: 'precision-schedule-loss', title: 'Training loss under four precision schedules', caption: `First seed, smoothed. The schedules change at step ${step}.`, y: 'loss', log: true, series: Object.fromEntries([...runs].map(([name, [run]]) => [name, lossPoints(run!).slice(10)])) }),
    gapsFigure(runs, '8 bits', { name: 'precision-schedule-gap', title: 'Loss above the 8-bit run of the same seed', caption: 'Validation loss at the end.' }),
  ])
}
