// R9: the student without its layer norm (the teacher has none). Losses are compared at a moderate learning rate, spikes at one at the edge of stability.
import { outcome, shows, type Context, type Outcome, type Reproduction, type Scale } from '../reproduction.ts'
import { paired } from '../statistics.ts'
import { spikeFigure } from './figures.ts'
import { finalLosses, stepsInSpikes } from './readings.ts'
import { trainArms, type ArmRuns } from './training.ts'

interface Settings { width: number, batch: number, steps: number, moderate: number, high: number, seeds: number }
const settings: Record<Scale, Settings> = { quick: { width: 128, batch: 128, steps: 400, moderate: 1e-3, high: 8e-3, seeds: 3 }, full: { width: 256, batch: 512, steps: 4000, moderate: 5e-4, high: 4e-3, seeds: 5 } }

const precisions = { fp32: 'fp32', mx: 'e4m3/e4m3' } as const
type Name = `${'norm' | 'no norm'}, ${keyof typeof precisions}`
const armsOf = (width: number) => Object.fromEntries([true, false].flatMap(layerNorm => Object.entries(precisions).map(([label, precision]) => [`${layerNorm ? 'norm' : 'no norm'}, ${label}`, { model: { depth: 4, width, layerNorm }, precision }]))) as Record<Name, object>

export const reproduction: Reproduction = {
  name: 'r9-no-layer-norm',
  title: 'Training without layer norm',
  claim: 'Removing the layer norm lowers the loss (the teacher has none), makes low precision more stable and high precision less stable.',
  source: 'arXiv 2506.20752, section 4 and figure 2b',
  cost: { quick: '24 runs of L=4, d=128, 400 steps of 128: a minute and a half', full: '40 runs of L=4, d=256, 4000 steps of 512: about fifteen hours' },
  run: context => measure(settings[context.scale], context),
}

export async function measure({ width, moderate, high, seeds, ...size }: Settings, context: Context): Promise<Outcome> {
  const at = (lr: number) => trainArms(context, { model: {}, ...size, optimizer: { lr } }, armsOf(width), seeds)
  return judge(await at(moderate), await at(high))
}

/** The verdict that runs at a moderate and at a high learning rate amount to. */
export function judge(moderate: ArmRuns<Name>, high: ArmRuns<Name>): Outcome {
  const lower = (label: keyof typeof precisions) => {
    const d = paired(finalLosses(moderate, `norm, ${label}`), finalLosses(moderate, `no norm, ${label}`))
    return shows(`final loss without the norm against with, ${label}, moderate rate`, 'lower', `${d.meanDifference.toExponential(2)} ± ${d.standardError.toExponential(1)}, lower in ${d.lower} of ${high.get('norm, mx')!.length} seeds`, d.meanDifference < 0)
  }
  const count = (name: Name) => stepsInSpikes(high.get(name)!)
  return outcome([
    lower('fp32'), lower('mx'),
    shows('steps inside spikes in MX, without the norm and with, high rate', 'fewer without', `${count('no norm, mx')} and ${count('norm, mx')}`, count('no norm, mx') < count('norm, mx')),
    shows('steps inside spikes in f32, without the norm and with, high rate', 'more without', `${count('no norm, fp32')} and ${count('norm, fp32')}`, count('no norm, fp32') > count('norm, fp32')),
  ], `${high.get('norm, mx')!.length} seeds. A spike: a loss above three times the median of the 50 before it, for three steps, after step 50. Smaller than the paper's model, higher learning rate, our own random numbers.`, [
    spikeFigure(high, { name: 'r9-no-layer-norm', title: 'Training loss with and without layer norm, at the high learning rate', caption: 'All seeds; dots mark steps inside spikes.' }),
  ])
}
