// From a precision scheme (numerics/scheme.ts: what the user says) to what each layer runs: quantizers, roundings and modes, resolved once per program.
import { bfloat, blockQuantizer } from '../numerics/profiles.ts'
import type { Arithmetic, BlockQuantizer, ElementRounding, Rounding } from '../numerics/quantizer.ts'
import { schemes, type ElementFormat, type PrecisionScheme } from '../numerics/scheme.ts'
import type { ActivationMode, ActivationName } from '../ops/activation.ts'
import type { NormMode } from '../ops/norm.ts'

/** Quantizer of one GEMM operand: by block, by element, or none. */
export type OperandQuantizer = BlockQuantizer | ElementRounding | null

/** Counter-based random bits for stochastic rounding. Each quantized operand draws from a stream of its own, numbered in order of emission. */
export interface RandomBits { readonly seed: bigint, readonly stepPtr: number, stream: number }

export interface LinearPrecision {
  readonly forward: { readonly activation: OperandQuantizer, readonly weight: OperandQuantizer }
  readonly dgrad: { readonly gradient: OperandQuantizer, readonly weight: OperandQuantizer }
  readonly wgrad: { readonly gradient: OperandQuantizer, readonly activation: OperandQuantizer }
  /** Elementwise rounding of the forward pass: inputs, weights, output, bias. */
  readonly round: ElementRounding | null
  /** The same for the backward pass. Null: a plain f32 backward from the unrounded input and weight. */
  readonly roundBackward: ElementRounding | null
  /** Where a stochastic quantizer takes its bits. */
  readonly random: RandomBits | null
}

export interface NormPrecision {
  readonly mode: NormMode
  /** Block quantizer of gamma and beta, forward and backward; null: not quantized. */
  readonly affine: BlockQuantizer | null
  /** The output already holds bf16 values, so that the next linear layer need not round it. */
  readonly rounded: boolean
  readonly betaGradient: 'computed' | 'dropped'
}

export interface ModelPrecision {
  readonly linear: LinearPrecision
  readonly norm: NormPrecision
  readonly activation: (name: ActivationName) => ActivationMode
}

/** torch's default layer-norm epsilon, which every model here uses. */
export const NORM_EPS = 1e-5

/** Resolve a scheme. `arithmetic`: how an implementation fills the gaps (default: exact decisions, signs kept). Stochastic rounding needs `random`. */
export function resolvePrecision(s: PrecisionScheme, options: { arithmetic?: Arithmetic, random?: RandomBits } = {}): ModelPrecision {
  const bf16 = (rounding: Rounding) => bfloat(16, { rounding: rounding === 'nearest-even' ? 'nearest-even' : 'nearest-away' })
  const vector: ElementRounding | null = s.vector === 'fp32' ? null : bf16(s.vectorRounding)
  const operand = (format: ElementFormat | null, rounding: Rounding): OperandQuantizer => {
    if (format === null) return null
    // After bf16 rounding, a bf16 operand is itself.
    if (format === 'bf16') return vector ? null : bf16(rounding)
    return blockQuantizer('ocp', format, { blockSize: s.blockSize, scaleBits: s.scaleBits, scaleRule: s.scaleRule, rounding, bump: s.bump, ...options.arithmetic })
  }
  const backward = s.backward === 'quantized'
  return {
    linear: {
      forward: { activation: operand(s.forward.activation, s.rounding), weight: operand(s.forward.weight, s.rounding) },
      dgrad: backward ? { gradient: operand(s.dgrad.gradient, s.gradientRounding), weight: operand(s.dgrad.weight, s.rounding) } : { gradient: null, weight: null },
      wgrad: backward ? { gradient: operand(s.wgrad.gradient, s.gradientRounding), activation: operand(s.wgrad.activation, s.rounding) } : { gradient: null, activation: null },
      round: vector, roundBackward: backward ? vector : null, random: options.random ?? null,
    },
    norm: normPrecision(s, operand(s.forward.weight, s.rounding), options.arithmetic),
    activation: name => {
      const mode = s.activation === 'as-released' ? (name === 'relu' || name === 'silu' ? 'bf16' : 'exact') : s.activation
      return mode === 'bf16' ? { kind: 'bf16', rounding: s.vectorRounding, backward: backward ? 'bf16' : 'fp32' } : { kind: mode }
    },
  }
}

function normPrecision(s: PrecisionScheme, weight: OperandQuantizer, arithmetic?: Arithmetic): NormPrecision {
  const { layerNorm, betaGradient } = s
  if (layerNorm === 'fp32') return { mode: { kind: 'fp32', eps: NORM_EPS }, affine: null, rounded: false, betaGradient }
  const affine = layerNorm === 'mx'
    ? weight?.kind === 'mx' ? weight : blockQuantizer('ocp', 'e4m3', { blockSize: s.blockSize, rounding: s.rounding, ...arithmetic })
    : null
  const mode: NormMode = layerNorm === 'bf16-half' ? { kind: 'bf16-half', eps: NORM_EPS, rounding: s.vectorRounding }
    : { kind: 'bf16', eps: NORM_EPS, rounding: s.vectorRounding, backward: s.backward === 'quantized' ? 'bf16' : 'fp32' }
  return { mode, affine, rounded: true, betaGradient }
}

/**
 * The teacher under a student's scheme: f32, or, where the scheme quantizes the teacher, the scheme's forward pass. The released code's injection
 * reaches all of the teacher's activations, GELU too (its student's GELU escapes).
 */
export function teacherPrecision(s: PrecisionScheme): ModelPrecision {
  if (s.teacher === 'fp32') return resolvePrecision(schemes.fp32!)
  return resolvePrecision(s.activation === 'as-released' ? { ...s, activation: 'bf16' } : s)
}
