// R6: how the gradients of an f32 and an E4M3 run part: zeta, the squared norm of their difference relative to the f32 one, and their cosine, at three
// learning rates of which the highest is unstable. Runs that start apart by a thousandth part without any difference of precision drift apart, too, so
// the same numbers are taken of a pair of f32 runs as a control; and the error at the same weights stands beside them.
import { ruleY } from '@observablehq/plot'
import { outcome, shows, type Context, type Outcome, type Reproduction, type Scale } from '../reproduction.ts'
import { median } from '../statistics.ts'
import { linesFigure } from './figures.ts'
import { firstSpike, probePoints, rowsOf } from './readings.ts'
import { perturbed, proxy, trainRun, withExecutor, type TrainedRun } from './training.ts'

interface Settings { width: number, batch: number, steps: number, rates: readonly [stable: number, middle: number, unstable: number], every: number }
const settings: Record<Scale, Settings> = {
  quick: { width: 128, batch: 128, steps: 400, rates: [2e-3, 4e-3, 8e-3], every: 5 },
  full: { width: 256, batch: 512, steps: 5000, rates: [5e-4, 1e-3, 2e-3], every: 10 },
}

/** Relative change of the control's initial weights. */
const NUDGE = 1e-3

export const reproduction: Reproduction = {
  name: 'r6-gradient-trajectories',
  title: 'Gradient difference and cosine between f32 and MX runs',
  claim: 'The difference of the MX and the f32 run\'s gradients, relative to the f32 gradient, grows during training and the cosine falls; before a divergence the relative norm has reached order one. (zeta starts near 0.005.)',
  source: 'arXiv 2506.20752, section 4 (figure 1 of version 1); the released code\'s stab/zeta_norm and stab/cos',
  cost: { quick: '4 pairs of L=4, d=128, 400 steps of 128: twenty seconds', full: '4 pairs of L=4, d=256, 5000 steps of 512: about three hours' },
  run: context => measure(settings[context.scale], context),
}

const course = (run: TrainedRun, key: 'zeta' | 'cosine') => rowsOf(run, 'trajectory').flatMap(r => r[key] === null ? [] : [{ step: r.step, value: r[key] }])
const part = (points: readonly { step: number, value: number }[], from: number, to: number) => median(points.filter(p => p.step > from && p.step <= to).map(p => p.value))

export async function measure({ width, batch, steps, rates, every }: Settings, { seed, log, signal }: Context): Promise<Outcome> {
  const config = (lr: number, precision: string) => proxy({
    model: { depth: 4, width }, batch, steps, seed, optimizer: { lr }, baseline: 'fp32', precision, metrics: { gradient: every },
    probes: { every: 4 * every, weights: 'studied', schemes: { 'e4m3/e4m3': 'e4m3/e4m3' } },
  })
  const { pairs, control } = await withExecutor(async executor => {
    const pairs: TrainedRun[] = []
    for (const lr of rates) {
      pairs.push(await trainRun(executor, config(lr, 'e4m3/e4m3'), { signal, keep: [0] }))
      log(`rate ${lr}: zeta at the end ${part(course(pairs.at(-1)!, 'zeta'), 0.8 * steps, steps).toPrecision(3)}`)
    }
    const start = pairs[0]!.states.get(0)!, nudged = perturbed(start, NUDGE, seed, 'studied')
    return { pairs, control: await trainRun(executor, config(rates[0], 'fp32'), { signal, from: { step: 0, state: nudged } }) }
  })
  const [stable, , unstable] = pairs as [TrainedRun, TrainedRun, TrainedRun]
  const zeta = course(stable, 'zeta'), cosine = course(stable, 'cosine'), start = part(zeta, 0, steps / 20), end = part(zeta, 0.8 * steps, steps)
  const controlEnd = part(course(control, 'zeta'), 0.8 * steps, steps)
  const onset = firstSpike(unstable), crossed = course(unstable, 'zeta').find(p => p.value > 1)?.step ?? null
  const same = part(probePoints(stable, 'e4m3/e4m3').map(p => ({ ...p, value: p.value ** 2 })), 0.8 * steps, steps)
  return outcome([
    shows(`zeta at rate ${rates[0]}, first twentieth of the run`, 'small: below 0.05', start.toPrecision(3), start < 0.05),
    shows('the same, last fifth', 'at least tenfold', end.toPrecision(3), end > 10 * start),
    shows('cosine at that rate, first twentieth and last fifth', 'falls', `${part(cosine, 0, steps / 20).toFixed(3)} and ${part(cosine, 0.8 * steps, steps).toFixed(3)}`, part(cosine, 0.8 * steps, steps) < part(cosine, 0, steps / 20)),
    shows(`rate ${rates[2]}: step at which zeta exceeds 1, and onset of the MX run's first spike`, 'zeta first', `${crossed ?? 'never'} and ${onset ?? 'no spike'}`, crossed !== null && onset !== null && crossed <= onset),
    shows(`control: late zeta of two f32 runs that start ${NUDGE} apart`, 'less than half of that between f32 and E4M3', controlEnd.toPrecision(3), controlEnd < 0.5 * end),
  ], `At the same weights the late squared error is ${same.toPrecision(3)}: the rest of zeta is distance between the runs. A spike: a loss above three times the median of the 50 before it, for three steps, after step 50. Smaller than the paper's model, with our own random numbers.`, [
    linesFigure({
      name: 'r6-zeta', title: 'Squared difference of two runs\' gradients, relative to the f32 one', caption: 'f32 against E4M3 by learning rate; the control is f32 against f32 at the lowest one; below, the error at the same weights, squared.', y: 'zeta', log: true, points: 100,
      series: { ...Object.fromEntries(rates.map((lr, i) => [`rate ${lr}`, course(pairs[i]!, 'zeta')])), 'control, f32 against f32': course(control, 'zeta'), 'same weights': probePoints(stable, 'e4m3/e4m3').map(p => ({ step: p.step, value: p.value ** 2 })) }, marks: [ruleY([1], { strokeDasharray: '4 4' })],
    }),
    linesFigure({ name: 'r6-cosine', title: 'Cosine between the gradients', caption: 'The same pairs.', y: 'cosine', points: 100, series: { ...Object.fromEntries(rates.map((lr, i) => [`rate ${lr}`, course(pairs[i]!, 'cosine')])), 'control, f32 against f32': course(control, 'cosine') } }),
  ])
}
