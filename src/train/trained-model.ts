// A trained language model, ready for use: from the newest (or a given) checkpoint of a run, or from the weights that a configuration starts with.
import { existsSync } from 'node:fs'
import { UsageError } from '../errors.ts'
import { checkFingerprint } from '../data/text-data.ts'
import { loadTokenizer, type Tokenizer } from '../data/tokenizer.ts'
import type { NamedTensors } from '../model/names.ts'
import { ParameterVector } from '../model/parameters.ts'
import { resolveTransformerPrecision, type TransformerPrecision } from '../model/transformer-precision.ts'
import { transformerLayout, type TransformerShape } from '../model/transformer-shape.ts'
import { namedScheme } from '../numerics/scheme.ts'
import type { Executor } from '../runtime/executor.ts'
import { readCheckpoint } from './checkpoint.ts'
import { loadConfig } from './config-file.ts'
import type { Arm, LanguageModelConfig } from './config.ts'
import { readWeights, transformerShape } from './language-model.ts'
import { checkpointFile, holdsRun, listCheckpoints, readRunFile } from './run-directory.ts'

export interface ModelSource {
  /** A run directory, or a preset or YAML file whose model.init names a weights file. */
  readonly source: string
  readonly arm?: Arm
  /** Checkpoint of this step; default: the newest. */
  readonly step?: number
  /** Name of the precision scheme to compute with; default: the one it was trained with. */
  readonly precision?: string
}

export interface TrainedModel {
  readonly config: LanguageModelConfig
  readonly shape: TransformerShape
  readonly tokenizer: Tokenizer
  readonly weights: NamedTensors
  /** What it is, in words: "runs/x, step 300, studied". */
  readonly label: string
  /** Put the weights into core memory. */
  readonly place: (executor: Executor) => { params: ParameterVector, precision: TransformerPrecision }
}

/** Throws UsageError if there is no such run, checkpoint or weights file, or if it is no language model. */
export function loadTrainedModel({ source, arm = 'studied', step, precision }: ModelSource): TrainedModel {
  const isRun = existsSync(source) && holdsRun(source), config = isRun ? readRunFile(source).config : loadConfig(source)
  if (config.task !== 'language-model') throw new UsageError(`${source} is no language model, its task is ${config.task}`)
  const tokenizer = loadTokenizer(config.data.tokenizer, config.data.endToken ?? undefined), shape = transformerShape(config, tokenizer.vocabulary)
  const { weights, label } = isRun ? fromRun(source, arm, step, tokenizer) : fromFile(source, config, shape)
  const scheme = precision === undefined ? arm === 'baseline' ? config.baseline ?? config.precision : config.precision : namedScheme(precision)
  const place = (executor: Executor) => {
    const { arena } = executor, params = new ParameterVector(arena, transformerLayout(shape))
    params.import(arena, weights)
    // Forward passes alone: gradients' random rounding does not occur, so any counter and signs will do.
    const random = { seed: BigInt(config.seed), stepPtr: arena.allocBytes(8), stream: 0, signs: arena.from(Array(1024).fill(1)) }
    return { params, precision: resolveTransformerPrecision(scheme, config.sites, shape, { random }) }
  }
  return { config, shape, tokenizer, weights, label, place }
}

function fromRun(directory: string, arm: Arm, wanted: number | undefined, tokenizer: Tokenizer): { weights: NamedTensors, label: string } {
  const steps = listCheckpoints(directory), step = wanted ?? steps.at(-1)
  if (step === undefined || !steps.includes(step)) throw new UsageError(`${directory} has no checkpoint${wanted === undefined ? '' : ` at step ${wanted}`}${steps.length ? `, it has ${steps.join(', ')}` : ''}`)
  const file = checkpointFile(directory, step), { tensors } = readCheckpoint(file), prefix = `${arm}.weight.`
  checkFingerprint(tokenizer, tensors.tokenizer?.data, `checkpoint ${file}`)
  const weights = new Map(Object.entries(tensors).filter(([name]) => name.startsWith(prefix)).map(([name, t]) => [name.slice(prefix.length), { shape: t.shape, values: t.data as Float32Array }]))
  if (weights.size === 0) throw new UsageError(`${file} has no arm ${arm}`)
  return { weights, label: `${directory}, step ${step}, ${arm}` }
}

function fromFile(source: string, config: LanguageModelConfig, shape: TransformerShape): { weights: NamedTensors, label: string } {
  if (config.model.init === 'mitchell') throw new UsageError(`${source} is no run directory and names no weights in model.init`)
  return { weights: readWeights(config.model.init, shape), label: config.model.init }
}
