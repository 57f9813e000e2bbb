// The configuration of a language-model run. Defaults are the paper's recipe (arXiv 2506.20752 and the code of its OLMo runs) scaled to a CPU: the optimizer,
// schedule and model are the paper's, size, batch and text are small.
import { z } from 'zod'
import { corpusDefaults, tokenTypes } from '../data/corpus-options.ts'
import { sizes } from '../model/transformer-shape.ts'
import { checkpoints, commonRules, count, every, notNegative, positive, precision, precisionSchedule, probes, type Rule } from './config-parts.ts'

const fraction = z.number().min(0).max(1)

export const languageModelSchema = z.strictObject({
  task: z.literal('language-model'),
  model: z.strictObject({
    /** A named size; width, depth and heads replace its own. A resolved configuration has those and null here. */
    size: z.enum(Object.keys(sizes) as [string, ...string[]]).nullable().default('tiny'),
    width: count.nullable().default(null),
    /** Blocks. */
    depth: count.nullable().default(null),
    heads: count.nullable().default(null),
    /** Tokens per sequence, of which one less are predicted. */
    context: count.min(2).default(256),
    /** Width of the MLP in multiples of `width`; SwiGLU passes half of it on. */
    mlpRatio: positive.default(4),
    activation: z.enum(['gelu', 'swiglu', 'relu', 'silu']).default('gelu'),
    norm: z.enum(['layernorm', 'rmsnorm']).default('layernorm'),
    /** Norms on queries and keys over the whole width. */
    qkNorm: z.boolean().default(true),
    /** The head shares the embedding table. */
    tied: z.boolean().default(false),
    /** Base of the rotary position embedding. */
    theta: positive.default(10000),
    /** Rows of embedding and head; null: as many as the tokenizer has ids. */
    vocabulary: count.nullable().default(null),
    /** `mitchell`, or a safetensors file with OLMo's or Hugging Face's names. */
    init: z.string().default('mitchell'),
  }).prefault({}),
  data: z.strictObject({
    /** Files, folders, patterns; `default`: text that every installation has. */
    files: z.array(z.string()).min(1).default(['default']),
    /** Held-out files; without any, a part of `files` is held out by document. */
    validationFiles: z.array(z.string()).default([]),
    validationFraction: z.number().gt(0).lt(1).default(0.05),
    /** Decides which documents are held out: the same ones for every `seed`. */
    splitSeed: z.int().min(0).default(0),
    /** `bytes`, or the path of a tokenizer.json. */
    tokenizer: z.string().default('bytes'),
    /** The token between documents, where the tokenizer has no usual one. */
    endToken: z.string().nullable().default(null),
    textField: z.string().default(corpusDefaults.textField),
    documentBytes: count.default(corpusDefaults.documentBytes),
    tokenType: z.enum(tokenTypes).default(corpusDefaults.tokenType),
  }).prefault({}),
  /** AdamW. `clip`: largest norm of the whole gradient, null for none. */
  optimizer: z.strictObject({
    lr: positive.default(2e-4),
    betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([0.9, 0.95]),
    eps: notNegative.default(1e-15),
    weightDecay: notNegative.default(0),
    clip: positive.nullable().default(1),
  }).prefault({}),
  /** Linear warm-up from `warmupStart` lr over `warmup` of all steps, then cosine to `end` lr, or constant. */
  schedule: z.strictObject({
    kind: z.enum(['cosine', 'constant']).default('cosine'),
    warmup: fraction.default(0.2),
    warmupStart: fraction.default(0.1),
    end: fraction.default(0.1),
  }).prefault({}),
  /** Weight of logsumexp(logits)^2 in the loss. */
  zLoss: notNegative.default(0),
  steps: count.default(1000),
  /** Sequences per step. */
  batch: count.default(8),
  /** Sequences in memory at once; gradients of batch / microBatch parts are averaged. null: the whole batch. */
  microBatch: count.nullable().default(null),
  seed: z.int().min(0).default(0),
  /** The arm under study. */
  precision: precision.prefault('e4m3/e4m3'),
  /** Which layers the precision's formats apply to. */
  sites: z.strictObject({
    qkv: z.boolean().default(true),
    attentionOut: z.boolean().default(true),
    mlp: z.boolean().default(true),
    head: z.boolean().default(true),
    /** Scores and values of attention. */
    attentionProducts: z.boolean().default(false),
    embedding: z.enum(['fp32', 'bf16']).default('fp32'),
    residual: z.enum(['fp32', 'bf16']).default('fp32'),
  }).prefault({}),
  /** A second arm from the same start on the same data; null trains the studied arm alone. */
  baseline: precision.nullable().prefault(null),
  precisionSchedule,
  /** Loss on the first `sequences` held-out ones. */
  validation: z.strictObject({ every: every.default(100), sequences: count.default(64) }).prefault({}),
  /** Text that the model writes, greedily at temperature 0. */
  samples: z.strictObject({ every: every.default(0), tokens: count.default(200), temperature: notNegative.default(0.8), prompt: z.string().default('\n') }).prefault({}),
  /** Intervals of what is logged. */
  metrics: z.strictObject({
    loss: every.default(1),
    /** Gradient norms by layer, and the difference of the two arms' gradients. */
    gradient: every.default(10),
    /** Share of values in the last bucket: weights, norm weights, MLP activations, block outputs. */
    overflow: every.default(100),
  }).prefault({}),
  /** A spike: the loss is more than `rise` above what it was `window` steps before (the paper's rule has 1000 steps and 0.8). */
  spikes: z.strictObject({ window: count.default(100), rise: positive.default(0.8) }).prefault({}),
  probes: probes.prefault({}),
  checkpoints: checkpoints.prefault({}),
})

/** A resolved configuration, but for what finishLanguageModel fills in. */
type Raw = z.output<typeof languageModelSchema>
export type LanguageModelConfig = Omit<Raw, 'model' | 'microBatch'> & { model: Omit<Raw['model'], 'width' | 'depth' | 'heads'> & { width: number, depth: number, heads: number }, microBatch: number }

/** Spell out the size and the micro-batch. */
export function finishLanguageModel(c: Raw): void {
  const { model } = c, size = model.size === null ? null : sizes[model.size]!
  model.width ??= size?.width ?? null
  model.depth ??= size?.depth ?? null
  model.heads ??= size?.heads ?? null
  if (model.width !== null && model.depth !== null && model.heads !== null) model.size = null
  c.microBatch ??= c.batch
}

export function languageModelRules(c: LanguageModelConfig): Rule[] {
  const { model, schedule } = c
  return [
    ...(['width', 'depth', 'heads'] as const).map((key): Rule => [model[key] !== null, `model.${key}`, model[key], 'must be given where model.size is null']),
    [model.width % model.heads === 0, 'model.heads', model.heads, `must divide model.width ${model.width}`],
    [model.width / model.heads % 2 === 0, 'model.heads', model.heads, `must leave an even head dimension, width ${model.width} / heads is ${model.width / model.heads}`],
    [Number.isInteger(model.mlpRatio * model.width / (model.activation === 'swiglu' ? 2 : 1)), 'model.mlpRatio', model.mlpRatio, `must give a whole width of the MLP for width ${model.width}`],
    [c.batch % c.microBatch === 0, 'microBatch', c.microBatch, `must divide batch ${c.batch}`],
    [schedule.warmup < 1, 'schedule.warmup', schedule.warmup, 'must leave steps after the warm-up'],
    ...commonRules(c, { depth: model.depth, dgrad: { 'model.width': model.width, 'the MLP\'s width': model.mlpRatio * model.width }, wgrad: { 'model.context': model.context }, sequences: true }),
  ]
}
