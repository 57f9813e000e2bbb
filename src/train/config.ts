// The configuration of a student-teacher run: a strict schema with defaults. A resolved configuration has every value spelled out, so it can be
// hashed, stored and compared. Pure: files, presets and the hash are in config-file.ts.
//
// Defaults are those of the original student_teacher.py where it has the option, so that a run is described by the same differences as there.
// Not part of a configuration, because they cannot change a bit of the result: threads, engine, output directory.
import { z } from 'zod'
import { UsageError } from '../errors.ts'
import * as scheme from '../numerics/scheme.ts'
import type { PrecisionScheme } from '../numerics/scheme.ts'

const count = z.int().min(1).max(2 ** 31 - 1)
/** An interval in steps; 0 switches the thing off. */
const every = z.int().min(0).max(2 ** 31 - 1)
const positive = z.number().positive()
const notNegative = z.number().min(0)
const activation = z.enum(['gelu', 'relu', 'swiglu', 'linear'])
const format = z.enum(scheme.elementFormats).nullable()
const rounding = z.enum(scheme.roundings)

const schemeSchema = z.strictObject({
  forward: z.strictObject({ activation: format, weight: format }),
  dgrad: z.strictObject({ gradient: format, weight: format }),
  wgrad: z.strictObject({ gradient: format, activation: format }),
  backward: z.enum(['quantized', 'fp32']),
  blockSize: z.int().min(1).max(65536),
  scaleBits: z.int().min(2).max(8),
  scaleRule: z.enum(scheme.scaleRules),
  rounding,
  gradientRounding: rounding,
  bump: z.enum(scheme.bumps),
  hadamard: z.enum(scheme.hadamards),
  vector: z.enum(scheme.vectorPrecisions),
  vectorRounding: z.enum(['nearest-even', 'nearest-away']),
  layerNorm: z.enum(scheme.layerNormPrecisions),
  betaGradient: z.enum(['computed', 'dropped']),
  activation: z.enum(scheme.activationPrecisions),
  teacher: z.enum(['fp32', 'quantized']),
  accumulator: z.enum(['f32']),
})

/** A scheme's name, or `{ scheme: name, key: value... }` for a named scheme with changes, or every setting spelled out. */
const precision = z.preprocess((value, context) => {
  const { scheme: name, ...changes } = typeof value === 'string' ? { scheme: value } : isObject(value) ? value : {}
  if (name === undefined) return value
  if (typeof name !== 'string' || !Object.hasOwn(scheme.schemes, name)) {
    context.addIssue({ code: 'custom', input: name, path: typeof value === 'string' ? [] : ['scheme'], message: `unknown precision scheme, use one of ${Object.keys(scheme.schemes).join(', ')}` })
    return z.NEVER
  }
  return merge(scheme.schemes[name], changes)
}, schemeSchema.transform(s => scheme.normalizeScheme(s as PrecisionScheme)))

const configSchema = z.strictObject({
  task: z.literal('student-teacher').default('student-teacher'),
  /** The student: `depth` residual blocks x + fc2(act(fc1(LN(x)))), hidden width 4 `width` (SwiGLU: round(8 width / 3)). */
  model: z.strictObject({
    depth: count.max(1024).default(8),
    width: count.default(512),
    activation: activation.default('gelu'),
    layerNorm: z.boolean().default(true),
    /** `default`: torch's Linear, U(±1/sqrt(fan_in)). `xavier`: Xavier-normal with gain 0.5, zero bias. */
    init: z.enum(['default', 'xavier']).default('default'),
  }).prefault({}),
  /** The teacher: `depth` blocks fc2(act(fc1(x))), no residual, no norm, no bias. null: as the student. Its hidden width is `width`, not 4 `width`. */
  teacher: z.strictObject({
    depth: count.nullable().default(null),
    width: count.nullable().default(null),
    activation: z.enum(['gelu', 'relu', 'swiglu', 'linear', 'tanh']).nullable().default(null),
  }).prefault({}),
  optimizer: z.strictObject({
    name: z.enum(['adam', 'sgd']).default('adam'),
    lr: positive.default(1e-3),
    betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([0.9, 0.999]),
    eps: notNegative.default(1e-8),
    /** SGD only. */
    momentum: z.number().min(0).lt(1).default(0),
  }).prefault({}),
  /** `cosine` falls from optimizer.lr to lrMin over all steps. No warm-up, as in the paper. */
  schedule: z.strictObject({
    kind: z.enum(['constant', 'cosine']).default('constant'),
    /** Cosine only; null means 1e-4 there. */
    lrMin: notNegative.nullable().default(null),
  }).prefault({}),
  steps: count.default(7000),
  batch: count.default(512),
  seed: z.int().min(0).default(1337),
  /** Standard deviation of the noise added to training labels. The released code has 0.005, the paper's text 0.001. */
  labelNoise: notNegative.default(0.005),
  /** `shared`: both arms see the same noise. `per-arm`: each draws its own, as in the released code, whose second phase goes on drawing. */
  labelNoiseStream: z.enum(['shared', 'per-arm']).default('shared'),
  /** `philox`: every number is a function of (seed, step, index). `torch`: the streams of torch's CPU generator, for the paper's own numbers. */
  data: z.strictObject({ generator: z.enum(['philox', 'torch']).default('philox') }).prefault({}),
  /** The arm under study. */
  precision: precision.prefault('e4m3/e4m3'),
  /** A second arm from the same start on the same data, for comparison; null trains the studied arm alone. */
  baseline: precision.nullable().prefault('fp32'),
  /** Changes of the studied arm's precision in mid-run: from `step` (counted in completed steps) on, `precision`. */
  precisionSchedule: z.array(z.strictObject({ step: count, precision })).default([]),
  validation: z.strictObject({ every: every.default(200), batches: count.default(4), batchSize: count.default(2048) }).prefault({}),
  /** Intervals of what is logged. */
  metrics: z.strictObject({
    loss: every.default(1),
    /** Gradient norms, and the difference of the two arms' gradients. */
    gradient: every.default(10),
    /** Share of values in the last bucket, for weights, gamma, beta, hidden activations, block outputs. */
    overflow: every.default(10),
    activations: every.default(10),
    /** All gamma values, for histograms. */
    gamma: every.default(100),
  }).prefault({}),
  /** Gradient error at the same weights: every `every` steps the gradient under each scheme is compared with the f32 gradient, at the weights of one arm. */
  probes: z.strictObject({
    every: every.default(0),
    weights: z.enum(['baseline', 'studied']).default('baseline'),
    schemes: z.record(z.string().regex(/^[A-Za-z0-9][\w /.-]*$/), precision).default({}),
  }).prefault({}),
  /** Completed steps after which a checkpoint is written. The last step always has one. */
  checkpoints: z.strictObject({
    every: every.default(0),
    /** Every `every` steps while |step - center| <= size; never deleted. */
    window: z.strictObject({ center: count, size: z.int().min(0).default(100), every: count.default(5) }).nullable().default(null),
    /** Periodic checkpoints to keep, the newest ones; 0 keeps all. */
    keep: z.int().min(0).default(3),
  }).prefault({}),
})

/** A resolved configuration: every key present. */
export type RunConfig = z.output<typeof configSchema>
/** The two runs of a pair. */
export type Arm = 'baseline' | 'studied'

/** Combinations that each value alone allows: [holds, key, value, rule]. */
function rules(c: RunConfig): [boolean, string, unknown, string][] {
  const { optimizer, schedule, checkpoints: { window }, probes, precisionSchedule } = c
  const steps = precisionSchedule.map(s => s.step)
  return [
    [optimizer.momentum === 0 || optimizer.name === 'sgd', 'optimizer.momentum', optimizer.momentum, 'needs optimizer.name sgd'],
    [schedule.lrMin === null || schedule.kind === 'cosine', 'schedule.lrMin', schedule.lrMin, 'needs schedule.kind cosine'],
    [schedule.kind === 'constant' || schedule.lrMin! <= optimizer.lr, 'schedule.lrMin', schedule.lrMin, `must not exceed optimizer.lr ${optimizer.lr}`],
    [!window || window.center <= c.steps, 'checkpoints.window.center', window?.center, `must not exceed steps ${c.steps}`],
    [probes.every === 0 || Object.keys(probes.schemes).length > 0, 'probes.every', probes.every, 'needs at least one entry in probes.schemes'],
    [probes.every === 0 || probes.weights === 'studied' || c.baseline !== null, 'probes.weights', probes.weights, 'needs a baseline, which is null'],
    [steps.every((s, i) => s < c.steps && (i === 0 || s > steps[i - 1]!)), 'precisionSchedule', steps, `steps must rise and stay below steps ${c.steps}`],
    ...([['precision', c.precision], ['baseline', c.baseline], ...precisionSchedule.map((s, i) => [`precisionSchedule.${i}.precision`, s.precision]),
      ...Object.entries(probes.schemes).map(([name, s]) => [`probes.schemes.${name}`, s])] as [string, PrecisionScheme | null][])
      .flatMap(([key, s]) => s ? schemeRules(key, s) : []),
  ]
}

function schemeRules(key: string, s: PrecisionScheme): [boolean, string, unknown, string][] {
  const formats = [s.forward, s.dgrad, s.wgrad].flatMap(pair => Object.values(pair) as (string | null)[]).filter(f => f !== null)
  const weight = s.forward.weight
  return [
    [s.layerNorm !== 'mx' || (weight !== null && weight !== 'bf16'), `${key}.layerNorm`, s.layerNorm, `needs a block format in ${key}.forward.weight, which is ${weight}`],
    [s.bump === 'none' || s.scaleRule === 'floor', `${key}.bump`, s.bump, `needs ${key}.scaleRule floor, which is ${s.scaleRule}`],
    [s.bump !== 'as-released' || formats.every(f => f === 'e4m3'), `${key}.bump`, s.bump, `needs e4m3 for every operand, as the released code does; found ${formats.find(f => f !== 'e4m3')}`],
    [s.hadamard === 'none' || Number.isInteger(Math.log2(s.blockSize)), `${key}.hadamard`, s.hadamard, `needs a power of two as ${key}.blockSize, which is ${s.blockSize}`],
  ]
}

/** Where a key stands, appended to an error: " (run.yaml line 3, column 5)". */
export type Locate = (path: readonly PropertyKey[]) => string

/** Validate `raw` (what YAML or JSON gave) and fill in defaults. Throws UsageError, one line: key, value, rule. */
export function parseConfig(raw: unknown, locate: Locate = () => ''): RunConfig {
  const parsed = configSchema.safeParse(raw)
  if (!parsed.success) throw new UsageError(explain(parsed.error.issues[0]!, raw, locate))
  const config = parsed.data
  if (config.schedule.kind === 'cosine') config.schedule.lrMin ??= 1e-4
  for (const [holds, key, value, rule] of rules(config)) {
    if (!holds) throw new UsageError(`config: ${key} = ${JSON.stringify(value)}: ${rule}${locate(key.split('.'))}`)
  }
  return config
}

function explain(issue: z.core.$ZodIssue, raw: unknown, locate: Locate): string {
  const key = issue.path.join('.')
  if (issue.code === 'unrecognized_keys') {
    const path = [...issue.path, issue.keys[0]!]
    return `config: ${path.join('.')}: unknown key, use one of ${keysAt(issue.path).join(', ')}${locate(path)}`
  }
  let value: any = raw
  for (const k of issue.path) value = isObject(value) || Array.isArray(value) ? (value as any)[k] : undefined
  const rule = issue.message.replace(/^Invalid (input|option): |^Too (small|big): /, '').replaceAll('"|"', '", "')
  if (issue.path.length === 0 && issue.code === 'invalid_type') return `config: ${rule}`
  return value === undefined ? `config: ${key} is missing: ${rule}${locate(issue.path)}` : `config: ${key} = ${JSON.stringify(value)}: ${rule}${locate(issue.path)}`
}

/** The keys that the schema allows at `path`. */
function keysAt(path: readonly PropertyKey[]): string[] {
  let at: any = configSchema
  for (const key of [undefined, ...path]) {
    if (key !== undefined) at = at.shape?.[key] ?? at.element ?? at.valueType
    while (!at.shape && !at.element && !at.valueType) {
      if (at.in) at = at.in.shape ? at.in : at.out
      else if (at.def?.innerType) at = at.def.innerType
      else break
    }
  }
  const keys = Object.keys(at.shape ?? {})
  return keys.includes('scaleRule') ? ['scheme', ...keys] : keys
}

/** Is this a plain object (as YAML and JSON make them)? */
export const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** `over` laid over `base`: objects key by key, all else replaced. A precision named anew (by string or by `scheme:`) replaces the old one whole. */
export function merge(base: unknown, over: unknown): unknown {
  if (!isObject(over)) return over
  if (typeof base === 'string' && !('scheme' in over)) return { scheme: base, ...over }
  if (!isObject(base) || 'scheme' in over) return over
  const merged: Record<string, unknown> = { ...base }
  for (const [key, value] of Object.entries(over)) merged[key] = Object.hasOwn(base, key) ? merge(base[key], value) : value
  return merged
}
