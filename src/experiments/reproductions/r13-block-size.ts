// R13: what decides the cost is the format of activations and gradients, not the block size. In the paper's runs E5M2 with blocks of 2 ends where E5M2 with
// blocks of 32 ends: a scale of its own for every two elements removes clipping and range as causes, and what is left is the element's two fraction bits.
//
// Measured twice: as the error of the gradient at the same weights (one f32 run, a probe per format; precise, cheap), and, at full scale, as the loss of trained
// models, whose differences from seed to seed hide gaps of this size in short runs.
import { dot, ruleX } from '@observablehq/plot'
import { schemes, type PrecisionScheme } from '../../numerics/scheme.ts'
import { outcome, shows, type Context, type Finding, type Reproduction, type ReproductionFigure, type Scale } from '../reproduction.ts'
import { mean, paired } from '../statistics.ts'
import { above, gapFigure, languageLosses, signed, textFiles, type Losses } from './language-losses.ts'
import { percent, rowsOf } from './readings.ts'
import { trainRun, withExecutor } from './training.ts'

const block = (name: string, blockSize: number): PrecisionScheme => ({ ...schemes[name]!, blockSize })

/** Weights / activations and gradients. */
const formats = {
  'E4M3-bf16': block('e4m3/bf16', 32),
  'E5M2-bf16': block('e5m2/bf16', 32),
  'E4M3-E4M3': block('e4m3/e4m3', 32),
  'E4M3-E4M3 blocks of 16': block('e4m3/e4m3', 16),
  'E4M3-E4M3 blocks of 2': block('e4m3/e4m3', 2),
  'E4M3-E5M2': block('e4m3/e5m2', 32),
  'E5M2-E5M2': block('e5m2/e5m2', 32),
  'E5M2-E5M2 blocks of 16': block('e5m2/e5m2', 16),
  'E5M2-E5M2 blocks of 2': block('e5m2/e5m2', 2),
}
type Format = keyof typeof formats
const names = Object.keys(formats) as Format[]
const smaller = ['E4M3-E4M3', 'E5M2-E5M2'].flatMap(f => [`${f} blocks of 16`, `${f} blocks of 2`].map(other => [f, other])) as [Format, Format][]

const seeds = 3
const settings: Record<Scale, { probed: object, trained: object | null }> = {
  quick: { probed: { model: { size: 'tiny', context: 64 }, batch: 16, steps: 60, optimizer: { lr: 3e-3 } }, trained: null },
  full: {
    probed: { model: { size: 'small', context: 256 }, batch: 16, steps: 200, optimizer: { lr: 2e-3 } },
    trained: { model: { size: 'small', context: 256 }, batch: 16, steps: 800, optimizer: { lr: 2e-3 }, validation: { every: 1, sequences: 256 } },
  },
}

/** Relative error of the gradient under each format, seed by seed: the mean over ten places along an f32 run. Only block formats round; a bf16 operand is rounded to bf16. */
async function gradientErrors({ seed, data, log, signal }: Context, config: { readonly steps?: number }): Promise<Map<Format, number[]>> {
  const alone = Object.fromEntries(names.map(name => [name, { ...formats[name], vector: 'fp32', layerNorm: 'fp32' }])), errors = new Map<Format, number[]>(names.map(name => [name, []]))
  await withExecutor(async executor => {
    for (let i = 0; i < seeds; i++) {
      const run = await trainRun(executor, {
        task: 'language-model', schedule: { warmup: 0.1 }, metrics: { gradient: 0, overflow: 0 }, validation: { every: 0 }, ...config,
        data: { files: textFiles(data) }, seed: seed + i, precision: 'fp32', probes: { every: config.steps! / 10, weights: 'studied', schemes: alone },
      }, { signal })
      for (const name of names) errors.get(name)!.push(mean(rowsOf(run, 'probe').filter(r => r.probe === name).map(r => r.relativeError ?? Infinity)))
      log(`seed ${seed + i}: ${names.map(name => `${name} ${percent(errors.get(name)!.at(-1)!)}`).join(', ')}`)
    }
  })
  return errors
}

/** Smaller blocks help little: less than half as much as E4M3 in place of E5M2. */
const helpsLittle = (blocks: number, format: number): boolean => blocks < format / 2

function gradientFindings(errors: ReadonlyMap<Format, readonly number[]>): Finding[] {
  const of = (f: Format) => mean(errors.get(f)!), every = (f: (seed: number) => boolean) => Array.from({ length: seeds }, (_, i) => i).every(f), at = (f: Format, i: number) => errors.get(f)![i]!
  return [
    shows('gradient error of E4M3 and E5M2 everywhere', 'E5M2 larger in every seed', `${percent(of('E4M3-E4M3'))} and ${percent(of('E5M2-E5M2'))}`, every(i => at('E5M2-E5M2', i) > at('E4M3-E4M3', i))),
    ...smaller.map(([f, other]) => shows(`gradient error of ${f}, and with ${other.slice(f.length + 1)}`, 'blocks save less than half of what E4M3 for E5M2 saves, in every seed', `${percent(of(f))} and ${percent(of(other))}`,
      every(i => helpsLittle(at(f, i) - at(other, i), at('E5M2-E5M2', i) - at('E4M3-E4M3', i))))),
    shows('from E5M2 everywhere: error saved by bf16 activations and gradients, and by E4M3 weights', 'the former more in every seed', `${percent(of('E5M2-E5M2') - of('E5M2-bf16'))} and ${percent(of('E5M2-E5M2') - of('E4M3-E5M2'))}`, every(i => at('E5M2-bf16', i) < at('E4M3-E5M2', i))),
  ]
}

/** The same for losses, from the mean over seeds. */
function lossFindings(losses: Losses<Format | 'bf16'>): Finding[] {
  const saved = (from: Format, to: Format) => paired(losses.get(to)!, losses.get(from)!), byFormat = saved('E5M2-E5M2', 'E4M3-E4M3').meanDifference
  return [
    above(losses, 'E4M3-E4M3', 'E5M2-E5M2'),
    ...smaller.map(([f, other]) => {
      const { meanDifference, standardError } = saved(f, other)
      return shows(`loss saved by ${other.slice(f.length + 1)} with ${f}`, 'less than half of what E4M3 for E5M2 saves', `${signed(meanDifference)} ± ${standardError.toFixed(4)} of ${signed(byFormat)}`, helpsLittle(meanDifference, byFormat))
    }),
    above(losses, 'E5M2-bf16', 'E4M3-E5M2'),
  ]
}

function errorFigure(errors: ReadonlyMap<Format, readonly number[]>): ReproductionFigure {
  const data = names.flatMap(format => errors.get(format)!.map((error, seed) => ({ format, seed, error })))
  return {
    name: 'r13-gradient-error', title: 'Error of the gradient at the same weights', caption: 'One dot per seed, often one upon the other; blocks of 32 where no size is given.',
    plot: { height: 310, marginLeft: 190, x: { label: 'relative error (%)', percent: true, grid: true, zero: true }, y: { type: 'point', domain: names, label: null }, marks: [ruleX([0]), dot(data, { x: 'error', y: 'format', r: 4, fill: 'var(--studied)', fillOpacity: 0.6 })] },
    data,
  }
}

export const reproduction: Reproduction = {
  name: 'r13-block-size',
  title: 'Format or block size',
  claim: 'Smaller blocks do not help: E5M2 with blocks of 2 loses what E5M2 with blocks of 32 loses. The format of activations and gradients decides. (Loss gaps at the smallest budget, 2e17 FLOPs: E5M2/bf16 0.004, E4M3/E4M3 0.009, E4M3/E5M2 0.024, E5M2/E5M2 0.027, with blocks of 2 0.022.)',
  source: 'arXiv 2506.20752, the losses of its language-model runs; blocks of 16 and other blocks of E4M3 are our addition',
  cost: { quick: 'gradient errors along 3 runs of 0.13 M parameters: half a minute', full: 'gradient errors along 3 runs of 0.85 M parameters, then 27 trained models of 3.3 M tokens each: three hours' },
  async run(context) {
    const { probed, trained } = settings[context.scale], errors = await gradientErrors(context, probed)
    const findings = gradientFindings(errors), figures = [errorFigure(errors)]
    if (!trained) return outcome(findings, `Gradient errors alone, against f32 at the same weights, ${seeds} seeds; trained losses are for --scale full.`, figures)
    const { 'E4M3-bf16': _, ...rest } = formats, losses: Losses<Format | 'bf16'> = await languageLosses(context, { bf16: schemes.bf16!, ...rest }, seeds, trained)
    return outcome([...findings, ...lossFindings(losses)], `Gradient errors against f32 at the same weights; losses in nats per byte of held-out text; ${seeds} seeds.`, [...figures, gapFigure(losses, 'r13-gaps')])
  },
}
