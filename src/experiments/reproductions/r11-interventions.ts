// R11: can a divergence be averted by changing the precision shortly before it? An E4M3 run is followed to its first spike and forked twice, shortly and
// long before the onset, once per intervention. Near a divergence any change moves it, so each fork is judged against a control that keeps the precision
// and changes the weights by a millionth part; every intervention starts from such weights as well, several times. Labels and inputs are the run's own.
import { ruleX } from '@observablehq/plot'
import { outcome, notTestable, shows, type Context, type Finding, type Outcome, type Reproduction, type Scale } from '../reproduction.ts'
import { linesFigure } from './figures.ts'
import { firstSpike, lossPoints } from './readings.ts'
import { perturbed, proxy, trainRun, withExecutor, type State, type TrainedRun } from './training.ts'

interface Settings { width: number, batch: number, steps: number, lr: number, seeds: number, every: number, late: number, early: number, after: number, copies: number }
const settings: Record<Scale, Settings> = {
  quick: { width: 128, batch: 128, steps: 500, lr: 8e-3, seeds: 6, every: 5, late: 5, early: 60, after: 60, copies: 3 },
  full: { width: 256, batch: 512, steps: 5000, lr: 2e-3, seeds: 6, every: 10, late: 10, early: 500, after: 500, copies: 10 },
}

/** Relative change of the weights of every copy. */
const NUDGE = 1e-6

const base = 'e4m3/e4m3'
const interventions = {
  'no change (control)': base,
  'no MX': 'fp32',
  'bf16 activations and gradients': 'e4m3/bf16',
  'bf16 activations, forward only': { scheme: base, forward: { activation: 'bf16', weight: 'e4m3' } },
  'no backward quantization': 'e4m3/e4m3/forward-only',
  'layer norm fp32': { scheme: base, layerNorm: 'fp32' },
  'exponent bump': 'e4m3/bump',
  'bf16 weights': { scheme: base, forward: { activation: 'e4m3', weight: 'bf16' } },
}
type Name = keyof typeof interventions
const names = Object.keys(interventions) as Name[], control = names[0]!

export const reproduction: Reproduction = {
  name: 'r11-interventions',
  title: 'Interventions shortly and long before a divergence',
  claim: 'Switching off MX, bf16 activations and an unquantized backward pass avert a divergence; an unquantized layer norm and the exponent bump delay it; an intervention shortly before is weaker than one long before.',
  source: 'arXiv 2506.20752, section 5 and figure 4; the control is our addition',
  cost: { quick: 'up to 6 runs of L=4, d=128, 500 steps of 128 and 48 forks of at most 120: a minute and a half', full: 'up to 6 runs of L=4, d=256, 5000 steps of 512 and 160 forks: about ten hours' },
  run: context => measure(settings[context.scale], context),
}

/** Forks of one intervention at one place: how long after the original onset each spikes (null: not by the end). */
export interface Forks { readonly name: Name, readonly place: 'late' | 'early', readonly delays: readonly (number | null)[] }

export async function measure(size: Settings, context: Context): Promise<Outcome> {
  const { steps, seeds, every, copies } = size, { log, signal } = context
  return withExecutor(async executor => {
    const config = (seed: number, changes: object = {}) => proxy({ model: { depth: 4, width: size.width }, batch: size.batch, steps, seed, optimizer: { lr: size.lr }, precision: base, validation: { every: 0 }, ...changes })
    const keep = Array.from({ length: Math.floor(steps / every) }, (_, i) => i * every)
    // The first seed whose run spikes late enough for a fork long before it.
    let found: { run: TrainedRun, onset: number, seed: number } | null = null
    for (let seed = context.seed; seed < context.seed + seeds && !found; seed++) {
      const run = await trainRun(executor, config(seed), { signal, keep }), onset = firstSpike(run)
      log(`seed ${seed}: ${onset === null ? 'no spike' : `spike at step ${onset}`}`)
      if (onset !== null && onset > size.early + 50) found = { run, onset, seed }
    }
    if (!found) return notTestable(`None of ${seeds} runs spiked after step ${size.early + 50} (learning rate ${size.lr}): there is nothing to avert.`)
    const { run, onset, seed } = found, end = Math.min(steps, onset + size.after), forks: Forks[] = [], shown: Record<string, TrainedRun> = {}
    for (const [place, distance] of [['late', size.late], ['early', size.early]] as const) {
      const step = Math.floor((onset - distance) / every) * every, state: State = run.states.get(step)!, before = run.losses.studied.slice(0, step)
      for (const name of names) {
        const delays: (number | null)[] = []
        for (let copy = 1; copy <= copies; copy++) {
          const fork = await trainRun(executor, config(seed, { steps: end, precisionSchedule: [{ step, precision: interventions[name] }] }), { signal, from: { step, state: perturbed(state, NUDGE, copy) } })
          const spike = firstSpike(fork, before)
          delays.push(spike === null ? null : spike - onset)
          if (place === 'late' && copy === 1) shown[name] = fork
        }
        forks.push({ name, place, delays })
        log(`${place} (step ${step}), ${name}: ${delays.map(d => d ?? 'none').join(' ')}`)
      }
    }
    return judge(forks, { onset, seed, late: size.late, early: size.early, after: end - onset }, [linesFigure({
      name: 'r11-interventions', title: `Loss after interventions ${size.late} steps before the spike`, caption: `The dashed line marks the onset of the spike in the run that was forked, step ${onset}. One copy of each.`, y: 'loss', log: true, points: 90,
      series: Object.fromEntries(names.map(n => [n, lossPoints(shown[n]!, 'studied', 1)])), marks: [ruleX([onset], { strokeDasharray: '4 4' })],
    })])
  })
}

/** The verdict that the forks amount to. */
export function judge(forks: readonly Forks[], { onset, seed, late, early, after }: { onset: number, seed: number, late: number, early: number, after: number }, figures: Outcome['figures'] = []): Outcome {
  const of = (name: Name, place: Forks['place']) => forks.find(f => f.name === name && f.place === place)!.delays
  const averted = (name: Name, place: Forks['place']) => of(name, place).filter(d => d === null).length
  const mean = (delays: readonly (number | null)[]) => delays.reduce<number>((sum, d) => sum + (d ?? after), 0) / delays.length
  const shown = (name: Name, place: Forks['place']) => String(Math.round(mean(of(name, place))) + 0), copies = forks[0]!.delays.length
  const averts = (name: Name): Finding => shows(`${name}: forks without a spike, late and early; control`, 'averts: more than the control at both places', `${averted(name, 'late')} and ${averted(name, 'early')} of ${copies}; ${averted(control, 'late')} and ${averted(control, 'early')}`, averted(name, 'late') > averted(control, 'late') && averted(name, 'early') > averted(control, 'early'))
  const delays = (name: Name): Finding => shows(`${name}: mean delay of the spike, late and early; control`, 'delays: longer than the control at both places', `${shown(name, 'late')} and ${shown(name, 'early')} steps; ${shown(control, 'late')} and ${shown(control, 'early')}`, mean(of(name, 'late')) > mean(of(control, 'late')) && mean(of(name, 'early')) > mean(of(control, 'early')))
  const others = names.filter(n => n !== control), total = (place: Forks['place']) => others.reduce((n, name) => n + averted(name, place), 0)
  return outcome([
    shows('control: forks that spike all the same, late', 'all: the onset is not a matter of the last bit', `${copies - averted(control, 'late')} of ${copies}`, averted(control, 'late') === 0),
    averts('no MX'), averts('bf16 activations and gradients'), averts('no backward quantization'), delays('layer norm fp32'), delays('exponent bump'),
    shows('forks without a spike, all interventions: late and early', 'fewer late', `${total('late')} and ${total('early')} of ${others.length * copies}`, total('late') < total('early')),
  ], `Seed ${seed} spikes at step ${onset}; forks ${late} and ${early} steps before, watched until ${after} steps after. ${copies} copies each, nudged by ${NUDGE}; a fork without a spike counts as delayed to the end. Where even the control loses its spike, no single run per intervention, as in the paper, can show anything. Here the learning rate is near the edge of stability of f32, too.`, figures)
}
