// R8: how stable the activations are: SwiGLU, GELU and ReLU, in f32 and in E4M3, at a learning rate at the edge of stability. What is counted is the
// number of steps inside spikes, over all seeds.
import { outcome, shows, type Context, type Outcome, type Reproduction, type Scale } from '../reproduction.ts'
import { spikeFigure } from './figures.ts'
import { spikesOf, stepsInSpikes } from './readings.ts'
import { trainArms, type ArmRuns } from './training.ts'

interface Settings { width: number, batch: number, steps: number, lr: number, seeds: number }
const settings: Record<Scale, Settings> = { quick: { width: 128, batch: 128, steps: 400, lr: 8e-3, seeds: 3 }, full: { width: 256, batch: 512, steps: 4000, lr: 4e-3, seeds: 5 } }

const activations = ['swiglu', 'gelu', 'relu'] as const, precisions = { fp32: 'fp32', mx: 'e4m3/e4m3' } as const
type Name = `${typeof activations[number]} ${keyof typeof precisions}`

export const reproduction: Reproduction = {
  name: 'r8-activations',
  title: 'Stability by activation function',
  claim: 'SwiGLU is the least stable activation in MX, and spikes in FP32 as well, where it recovers; GELU and ReLU are stable in FP32.',
  source: 'arXiv 2506.20752, section 4 and figure 2a',
  cost: { quick: '18 runs of L=4, d=128, 400 steps of 128: a minute', full: '30 runs of L=4, d=256, 4000 steps of 512: about twelve hours' },
  run: context => measure(settings[context.scale], context),
}

export async function measure({ width, batch, steps, lr, seeds }: Settings, context: Context): Promise<Outcome> {
  const arms = Object.fromEntries(activations.flatMap(activation => Object.entries(precisions).map(([label, precision]) => [`${activation} ${label}`, { model: { depth: 4, width, activation }, precision }]))) as Record<Name, object>
  return judge(await trainArms(context, { model: {}, batch, steps, optimizer: { lr }, validation: { every: 0 } }, arms, seeds))
}

/** The verdict that the runs amount to. */
export function judge(runs: ArmRuns<Name>): Outcome {
  const count = (name: Name) => stepsInSpikes(runs.get(name)!), swigluFp32 = runs.get('swiglu fp32')!.flatMap(run => spikesOf(run))
  const more = (a: Name, b: Name) => shows(`steps inside spikes, ${a} against ${b}`, 'more', `${count(a)} and ${count(b)}`, count(a) > count(b))
  return outcome([
    more('swiglu mx', 'gelu mx'), more('swiglu mx', 'relu mx'),
    shows('spikes of SwiGLU in f32, and how many recover', 'some, and all of them', `${swigluFp32.length} and ${swigluFp32.filter(s => s.recovered).length}`, swigluFp32.length > 0 && swigluFp32.every(s => s.recovered)),
    shows('steps inside spikes of GELU and ReLU in f32', 'none', `${count('gelu fp32')} and ${count('relu fp32')}`, count('gelu fp32') === 0 && count('relu fp32') === 0),
    more('gelu mx', 'gelu fp32'),
  ], `${runs.get('gelu mx')!.length} seeds. A spike: a loss above three times the median of the 50 before it, for three steps, after step 50. Width and number of steps are far below the paper's (512 and 9000) and the learning rate is higher, so that instabilities come within hundreds of steps; which activation is the first to become unstable may well depend on that.`, [
    spikeFigure(runs, { name: 'r8-activations', title: 'Training loss by activation and precision', caption: 'All seeds; dots mark steps inside spikes.' }),
  ])
}
