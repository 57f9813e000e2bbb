// From a precision scheme (numerics/scheme.ts: what the user says) to what each layer runs: quantizers, roundings and modes, resolved once per program.
import { UsageError } from '../errors.ts'
import { linearAccumulation, type LinearAccumulation } from '../numerics/accumulation.ts'
import { nvfp4Profiles, type Nvfp4Quantizer } from '../numerics/nvfp4.ts'
import { bfloat, blockQuantizer } from '../numerics/profiles.ts'
import type { Arithmetic, BlockQuantizer, ElementRounding, Rounding } from '../numerics/quantizer.ts'
import { schemes, type ElementFormat, type PrecisionScheme } from '../numerics/scheme.ts'
import type { ActivationMode, ActivationName } from '../ops/activation.ts'
import type { NormMode } from '../ops/norm.ts'
import type { Tensor } from '../runtime/memory.ts'

/** Quantizer of one GEMM operand: by block, by element, or none. */
export type OperandQuantizer = BlockQuantizer | Nvfp4Quantizer | ElementRounding | null

/** What random precision needs. Stochastic rounding: counter-based bits, each quantized operand from a stream of its own, numbered in order of emission.
 *  Hadamard transform: a vector of random signs at least as long as a block. */
export interface RandomBits { readonly seed: bigint, readonly stepPtr: number, stream: number, readonly signs: Tensor }

export interface LinearPrecision {
  readonly forward: { readonly activation: OperandQuantizer, readonly weight: OperandQuantizer }
  readonly dgrad: { readonly gradient: OperandQuantizer, readonly weight: OperandQuantizer }
  readonly wgrad: { readonly gradient: OperandQuantizer, readonly activation: OperandQuantizer }
  /** Elementwise rounding of the forward pass: inputs, weights, output, bias. */
  readonly round: ElementRounding | null
  /** The same for the backward pass. Null: a plain f32 backward from the unrounded input and weight. */
  readonly roundBackward: ElementRounding | null
  /** Signs of the random Hadamard transform of both operands of a GEMM, along the axis it sums over, before they are quantized. */
  readonly hadamard: { readonly dgrad: Tensor | null, readonly wgrad: Tensor | null }
  /** Scales of weights cover tiles. */
  readonly tiles: boolean
  /** What sums each product. */
  readonly accumulation: LinearAccumulation
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
  /** Blocks at either end whose linear layers run as `unquantized` instead. */
  readonly high: { readonly first: number, readonly last: number }
  /** `linear` without block formats. */
  readonly unquantized: LinearPrecision
  readonly norm: NormPrecision
  readonly activation: (name: ActivationName) => ActivationMode
}

/** The linear layers of block i of `depth`. */
export const linearOfBlock = ({ linear, unquantized, high }: ModelPrecision, i: number, depth: number): LinearPrecision =>
  i < high.first || i >= depth - high.last ? unquantized : linear

/** torch's default layer-norm epsilon, which every model here uses. */
const NORM_EPS = 1e-5

/** Resolve a scheme. `arithmetic`: how an implementation fills the gaps (default: exact decisions, signs kept). Stochastic rounding needs `random`. */
export function resolvePrecision(s: PrecisionScheme, options: { arithmetic?: Arithmetic, random?: RandomBits } = {}): ModelPrecision {
  const backward = s.backward === 'quantized', { vectorRounding: rounding } = s
  const linear = linearPrecision(s, options)
  return {
    linear, unquantized: linearPrecision(unquantized(s), options), high: { first: s.highFirst, last: s.highLast },
    norm: normPrecision(s, linear.forward.weight, options.arithmetic),
    activation: name => {
      const mode = s.activation === 'as-released' ? (name === 'relu' || name === 'silu' ? 'bf16' : 'exact') : s.activation
      return mode === 'bf16' ? { kind: 'bf16', rounding, backward: backward ? 'bf16' : 'fp32' } : { kind: mode }
    },
  }
}

const none = { forward: { activation: null, weight: null }, dgrad: { gradient: null, weight: null }, wgrad: { gradient: null, activation: null } } as const

/** The scheme with every block format taken out. */
const unquantized = (s: PrecisionScheme): PrecisionScheme => ({ ...s, ...none, hadamard: 'none' })

function linearPrecision(s: PrecisionScheme, options: { arithmetic?: Arithmetic, random?: RandomBits }): LinearPrecision {
  const bf16 = (rounding: Rounding) => bfloat(16, { rounding: rounding === 'nearest-even' ? 'nearest-even' : 'nearest-away' })
  const vector: ElementRounding | null = s.vector === 'fp32' ? null : bf16(s.vectorRounding)
  const operand = (format: ElementFormat | null, rounding: Rounding): OperandQuantizer => {
    if (format === null) return null
    // After bf16 rounding, a bf16 operand is itself.
    if (format === 'bf16') return vector ? null : bf16(rounding)
    if (s.scaling === 'nvfp4') return { ...nvfp4Profiles['te-nvfp4'], rounding: rounding === 'stochastic' ? rounding : 'nearest-even' }
    return blockQuantizer('ocp', format, { blockSize: s.blockSize, scaleBits: s.scaleBits, scaleRule: s.scaleRule, rounding, bump: s.bump, ...options.arithmetic })
  }
  const backward = s.backward === 'quantized', { forward, dgrad, wgrad } = s, other = s.backwardRounding ?? s.rounding
  const stochastic = s.rounding === 'stochastic' || (backward && (s.gradientRounding === 'stochastic' || other === 'stochastic'))
  if ((stochastic || s.hadamard !== 'none') && !options.random) throw new UsageError('stochastic rounding and Hadamard transforms need a source of random bits')
  const signs = s.hadamard === 'none' || !backward ? null : blockOf(options.random!.signs, s.blockSize)
  return {
    forward: { activation: operand(forward.activation, s.rounding), weight: operand(forward.weight, s.rounding) },
    dgrad: backward ? { gradient: operand(dgrad.gradient, s.gradientRounding), weight: operand(dgrad.weight, other) } : none.dgrad,
    wgrad: backward ? { gradient: operand(wgrad.gradient, s.gradientRounding), activation: operand(wgrad.activation, other) } : none.wgrad,
    round: vector, roundBackward: backward ? vector : null,
    hadamard: { dgrad: s.hadamard === 'backward' ? signs : null, wgrad: signs },
    tiles: s.weightBlocks === 'tiles', accumulation: linearAccumulation(s), random: options.random ?? null,
  }
}

/** The first n of a vector of signs. */
function blockOf(signs: Tensor, n: number): Tensor {
  if (n > signs.shape[0]!) throw new UsageError(`blockSize is ${n}, must be at most ${signs.shape[0]} with a Hadamard transform`)
  return { ptr: signs.ptr, shape: [n] }
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
export function teacherPrecision(s: PrecisionScheme, random?: RandomBits): ModelPrecision {
  if (s.teacher === 'fp32') return resolvePrecision(schemes.fp32!)
  return resolvePrecision(s.activation === 'as-released' ? { ...s, activation: 'bf16' } : s, { random })
}
