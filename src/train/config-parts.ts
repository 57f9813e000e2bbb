// Pieces that the configurations of all tasks share: kinds of numbers, the precision scheme, checkpoints, and the rules of a scheme.
import { z } from 'zod'
import { accumulatorRefusal } from '../numerics/accumulation.ts'
import * as scheme from '../numerics/scheme.ts'
import type { PrecisionScheme } from '../numerics/scheme.ts'

export const count = z.int().min(1).max(2 ** 31 - 1)
/** An interval in steps; 0 switches the thing off. */
export const every = z.int().min(0).max(2 ** 31 - 1)
export const positive = z.number().positive()
export const notNegative = z.number().min(0)
const format = z.enum(scheme.elementFormats).nullable()
const rounding = z.enum(scheme.roundings)

const schemeSchema = z.strictObject({
  forward: z.strictObject({ activation: format, weight: format }),
  dgrad: z.strictObject({ gradient: format, weight: format }),
  wgrad: z.strictObject({ gradient: format, activation: format }),
  backward: z.enum(['quantized', 'fp32']),
  scaling: z.enum(scheme.scalings).default('mx'),
  blockSize: z.int().min(1).max(65536),
  weightBlocks: z.enum(scheme.weightBlockings).default('rows'),
  scaleBits: z.int().min(2).max(8),
  scaleRule: z.enum(scheme.scaleRules),
  rounding,
  gradientRounding: rounding,
  backwardRounding: rounding.nullable().default(null),
  bump: z.enum(scheme.bumps),
  hadamard: z.enum(scheme.hadamards),
  vector: z.enum(scheme.vectorPrecisions),
  vectorRounding: z.enum(['nearest-even', 'nearest-away']),
  layerNorm: z.enum(scheme.layerNormPrecisions),
  betaGradient: z.enum(['computed', 'dropped']),
  activation: z.enum(scheme.activationPrecisions),
  teacher: z.enum(['fp32', 'quantized']),
  highFirst: every.default(0),
  highLast: every.default(0),
  accumulator: z.string().default('f32'),
})

/** A scheme's name, or `{ scheme: name, key: value... }` for a named scheme with changes, or every setting spelled out. */
export const precision = z.preprocess((value, context) => {
  const { scheme: name, ...changes } = typeof value === 'string' ? { scheme: value } : isObject(value) ? value : {}
  if (name === undefined) return value
  if (typeof name !== 'string' || !Object.hasOwn(scheme.schemes, name)) {
    context.addIssue({ code: 'custom', input: name, path: typeof value === 'string' ? [] : ['scheme'], message: `unknown precision scheme, use one of ${Object.keys(scheme.schemes).join(', ')}` })
    return z.NEVER
  }
  return merge(scheme.schemes[name], changes)
}, schemeSchema.transform(s => scheme.normalizeScheme(s as PrecisionScheme)))

/** Changes of the studied arm's precision in mid-run: from `step` (counted in completed steps) on, `precision`. */
export const precisionSchedule = z.array(z.strictObject({ step: count, precision })).default([])

/** Gradient error at the same weights: every `every` steps the gradient under each scheme is compared with the f32 gradient, at the weights of one arm. */
export const probes = z.strictObject({
  every: every.default(0),
  weights: z.enum(['baseline', 'studied']).default('baseline'),
  schemes: z.record(z.string().regex(/^[A-Za-z0-9][\w /.-]*$/), precision).default({}),
})

/** Completed steps after which a checkpoint is written. The last step always has one. */
export const checkpoints = z.strictObject({
  every: every.default(0),
  /** Every `every` steps while |step - center| <= size; never deleted. */
  window: z.strictObject({ center: count, size: z.int().min(0).default(100), every: count.default(5) }).nullable().default(null),
  /** Periodic checkpoints to keep, the newest ones; 0 keeps all. */
  keep: z.int().min(0).default(3),
}).prefault({})

/** A combination that each value alone allows: [holds, key, value, rule]. */
export type Rule = [holds: boolean, key: string, value: unknown, rule: string]

/** What every task's configuration has. */
interface Common {
  readonly steps: number
  readonly precision: PrecisionScheme
  readonly baseline: PrecisionScheme | null
  readonly precisionSchedule: readonly { readonly step: number, readonly precision: PrecisionScheme }[]
  readonly checkpoints: z.output<typeof checkpoints>
  readonly probes: z.output<typeof probes>
}

/** The studied arm's precision after `done` completed steps. */
export const scheduledPrecision = ({ precision, precisionSchedule }: Pick<Common, 'precision' | 'precisionSchedule'>, done: number): PrecisionScheme => precisionSchedule.findLast(s => s.step <= done)?.precision ?? precision

/** What a scheme must fit: the number of blocks, and the lengths of the axes that the backward GEMMs sum over, by what decides them. */
export interface ModelExtents {
  readonly depth: number
  readonly dgrad: Readonly<Record<string, number>>
  readonly wgrad: Readonly<Record<string, number>>
  /** wgrad sums over sequences of that length, several to a batch. */
  readonly sequences: boolean
}

/** The rules that hold for every task. */
export function commonRules(c: Common, extents: ModelExtents): Rule[] {
  const { checkpoints: { window }, precisionSchedule, probes } = c, steps = precisionSchedule.map(s => s.step)
  const schemes: Record<string, PrecisionScheme> = {
    precision: c.precision, ...c.baseline && { baseline: c.baseline },
    ...Object.fromEntries(precisionSchedule.map((s, i) => [`precisionSchedule.${i}.precision`, s.precision])),
    ...Object.fromEntries(Object.entries(probes.schemes).map(([name, s]) => [`probes.schemes.${name}`, s])),
  }
  return [
    [!window || window.center <= c.steps, 'checkpoints.window.center', window?.center, `must not exceed steps ${c.steps}`],
    [steps.every((s, i) => s < c.steps && (i === 0 || s > steps[i - 1]!)), 'precisionSchedule', steps, `steps must rise and stay below steps ${c.steps}`],
    [probes.every === 0 || Object.keys(probes.schemes).length > 0, 'probes.every', probes.every, 'needs at least one entry in probes.schemes'],
    [probes.every === 0 || probes.weights === 'studied' || c.baseline !== null, 'probes.weights', probes.weights, 'needs a baseline, which is null'],
    ...Object.entries(schemes).flatMap(([key, s]) => schemeRules(key, s, extents)),
  ]
}

function schemeRules(key: string, s: PrecisionScheme, extents: ModelExtents): Rule[] {
  const formats = [s.forward, s.dgrad, s.wgrad].flatMap(pair => Object.values(pair) as (string | null)[]).filter(f => f !== null)
  const weight = s.forward.weight, unfit = accumulatorRefusal(s), roundings = [s.rounding, s.gradientRounding, s.backwardRounding ?? s.rounding]
  const transformed = { ...s.hadamard === 'none' ? {} : extents.wgrad, ...s.hadamard === 'backward' ? extents.dgrad : {} }
  return [
    [s.layerNorm !== 'mx' || (weight !== null && weight !== 'bf16'), `${key}.layerNorm`, s.layerNorm, `needs a block format in ${key}.forward.weight, which is ${weight}`],
    [s.layerNorm !== 'mx' || (s.scaling === 'mx' && s.rounding !== 'stochastic'), `${key}.layerNorm`, s.layerNorm, `needs ${key}.scaling mx and a rounding that is not stochastic`],
    [s.bump === 'none' || s.scaleRule === 'floor', `${key}.bump`, s.bump, `needs ${key}.scaleRule floor, which is ${s.scaleRule}`],
    [s.bump !== 'as-released' || formats.every(f => f === 'e4m3'), `${key}.bump`, s.bump, `needs e4m3 for every operand, as the released code does; found ${formats.find(f => f !== 'e4m3')}`],
    [s.hadamard === 'none' || Number.isInteger(Math.log2(s.blockSize)), `${key}.hadamard`, s.hadamard, `needs a power of two as ${key}.blockSize, which is ${s.blockSize}`],
    [s.scaling === 'mx' || s.blockSize === 16, `${key}.blockSize`, s.blockSize, `must be 16 with ${key}.scaling nvfp4`],
    [s.scaling === 'mx' || formats.every(f => f === 'e2m1' || f === 'bf16'), `${key}.scaling`, s.scaling, `needs e2m1 (or bf16, or null) for every operand, found ${formats.find(f => f !== 'e2m1' && f !== 'bf16')}`],
    [s.scaling === 'mx' || roundings.every(r => r === 'nearest-even' || r === 'stochastic'), `${key}.scaling`, s.scaling, `rounds nearest-even or stochastic, found ${roundings.find(r => r !== 'nearest-even' && r !== 'stochastic')}`],
    [s.scaling === 'mx' || s.bump === 'none', `${key}.bump`, s.bump, `needs ${key}.scaling mx, which is nvfp4`],
    [s.highFirst + s.highLast <= extents.depth, `${key}.highLast`, s.highLast, `highFirst and highLast must not exceed depth ${extents.depth} together`],
    [unfit === null, `${key}.accumulator`, s.accumulator, unfit ?? ''],
    ...Object.entries(s.accumulator === 'f32' || !extents.sequences || s.backward === 'fp32' ? {} : extents.wgrad).map(([what, length]): Rule => [length % s.blockSize === 0, `${key}.accumulator`, s.accumulator, `needs ${what} ${length} to be a multiple of ${key}.blockSize ${s.blockSize}`]),
    ...Object.entries(transformed).map(([what, length]): Rule => [length % s.blockSize === 0, `${key}.hadamard`, s.hadamard, `needs ${what} ${length} to be a multiple of ${key}.blockSize ${s.blockSize}`]),
  ]
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
