// R14: E5M2 everywhere in a language model, trained for as many steps as possible instead of as many tokens: the paper's runs drift with the number of
// optimizer steps, whatever the size. A tiny model, tiny batches, a constant learning rate, beside bf16 from the same start on the same text.
import { ruleX } from '@observablehq/plot'
import { smooth } from '../../report/data.ts'
import { outcome, shows, type Context, type Outcome, type Reproduction, type Scale } from '../reproduction.ts'
import { smoothedMinimum } from '../spikes.ts'
import { endLevel, median } from '../statistics.ts'
import { textFiles } from './language-losses.ts'
import { linesFigure } from './figures.ts'
import { lossPoints, rowsOf } from './readings.ts'
import { trainRun, withExecutor, type TrainedRun } from './training.ts'

interface Settings { model: object, batch: number, steps: number, lr: number }
const settings: Record<Scale, Settings> = {
  quick: { model: { width: 32, depth: 2, heads: 2, context: 32 }, batch: 4, steps: 6000, lr: 5e-3 },
  full: { model: { width: 64, depth: 4, heads: 4, context: 64 }, batch: 8, steps: 40000, lr: 2e-3 },
}

export const reproduction: Reproduction = {
  name: 'r14-language-model-drift',
  title: 'E5M2 language models drift after many steps',
  claim: 'With E5M2 for weights and activations the loss reaches a minimum (after about 10 thousand steps), then rises for good, while the gradient norm grows; in bf16 it does not.',
  source: 'arXiv 2506.20752, section 3 and figure 1b',
  cost: { quick: '2 runs of 0.04 M parameters, 6000 steps of 128 tokens: forty seconds', full: '2 runs of 0.2 M parameters, 40000 steps of 512 tokens: about three hours' },
  run: context => measure(settings[context.scale], context),
}

export async function measure({ model, batch, steps, lr }: Settings, { seed, data, log, signal }: Context): Promise<Outcome> {
  const train = (precision: string) => withExecutor(async executor => {
    const run = await trainRun(executor, {
      task: 'language-model', model, batch, steps, seed, data: { files: textFiles(data) }, optimizer: { lr }, schedule: { kind: 'constant', warmup: 0.02 },
      precision: { scheme: precision, activation: 'bf16' }, metrics: { gradient: 10, overflow: 0 }, validation: { every: 0 },
    }, { signal })
    log(`${precision}: loss ${endLevel(run.losses.studied).toFixed(4)} after ${run.losses.studied.length} steps`)
    return run
  })
  return judge({ bf16: await train('bf16'), e5m2: await train('e5m2/e5m2') })
}

/** The verdict that a pair of runs amounts to. */
export function judge({ bf16, e5m2 }: { readonly bf16: TrainedRun, readonly e5m2: TrainedRun }): Outcome {
  const { optimizer } = e5m2.config, window = Math.ceil(e5m2.config.steps / 20), curve = ({ losses: { studied: values } }: TrainedRun) => ({ values, steps: values.map((_, i) => i + 1) })
  const lowest = smoothedMinimum(curve(e5m2), window)!, drift = smoothedMinimum({ values: e5m2.losses.studied.slice(-window), steps: curve(e5m2).steps.slice(-window) }, window)!.value - lowest.value
  const norms = (run: TrainedRun) => rowsOf(run, 'gradient', 'studied').flatMap(r => r.norm === null ? [] : [{ step: r.step, value: r.norm }])
  const norm = (run: TrainedRun, from: number, to: number) => median(norms(run).filter(p => p.step > from * run.config.steps && p.step <= to * run.config.steps).map(p => p.value))
  const growth = (run: TrainedRun) => norm(run, 0.8, 1) / norm(run, 0.2, 0.4)
  return outcome([
    shows('loss at the end, E5M2 against bf16', 'higher', `${endLevel(e5m2.losses.studied).toFixed(3)} and ${endLevel(bf16.losses.studied).toFixed(3)}`, endLevel(e5m2.losses.studied) > endLevel(bf16.losses.studied)),
    shows('E5M2: smoothed loss at the end above its minimum', 'rises: more than 0.05', `${drift.toFixed(3)} (minimum at step ${lowest.step} of ${e5m2.config.steps})`, drift > 0.05),
    shows('growth of the gradient norm from the second to the last fifth, E5M2 and bf16', 'more in E5M2', `${growth(e5m2).toFixed(2)} and ${growth(bf16).toFixed(2)}`, growth(e5m2) > growth(bf16)),
    shows('gradient norm in the last fifth, E5M2 over bf16', 'larger: above 1.2', (norm(e5m2, 0.8, 1) / norm(bf16, 0.8, 1)).toFixed(2), norm(e5m2, 0.8, 1) > 1.2 * norm(bf16, 0.8, 1)),
  ], `Window of the smoothed loss: ${window} steps. The paper's smallest model has 500 times the parameters and a learning rate of 2e-4; here it is ${optimizer.lr}, constant, so that what takes the paper's models ten thousand steps comes sooner. The bf16 run has the same rate.`, [
    linesFigure({ name: 'r14-loss', title: 'Training loss', caption: 'Smoothed; nats per byte. Dashed: the minimum of the E5M2 run.', y: 'loss', series: { bf16: lossPoints(bf16).slice(window), 'E5M2': lossPoints(e5m2).slice(window) }, marks: [ruleX([lowest.step], { strokeDasharray: '4 4' })] }),
    linesFigure({ name: 'r14-gradient-norm', title: 'Gradient norm', caption: 'Smoothed.', y: 'norm', series: { bf16: smooth(norms(bf16), 20), 'E5M2': smooth(norms(e5m2), 20) } }),
  ])
}
