// From a precision scheme to what runs at each site of a transformer. The scheme says how a quantized layer computes (numerics/scheme.ts), the sites say
// which layers are quantized. A site that is not keeps the scheme's elementwise rounding (bf16 in all but fp32) and its norm and activation modes.
import { bfloat } from '../numerics/profiles.ts'
import type { Arithmetic, ElementRounding } from '../numerics/quantizer.ts'
import type { PrecisionScheme } from '../numerics/scheme.ts'
import type { ActivationMode } from '../ops/activation.ts'
import type { AttentionPrecision, SoftmaxMode } from './attention.ts'
import { resolvePrecision, type LinearPrecision, type ModelPrecision, type NormPrecision, type RandomBits } from './precision.ts'
import type { TransformerShape } from './transformer-shape.ts'

/** Which sites are quantized. The paper's runs: all linear layers with the head, nothing else. */
export interface TransformerSites {
  /** The fused query, key and value projection. */
  readonly qkv: boolean
  /** The attention output projection. */
  readonly attentionOut: boolean
  /** Both matrices of the MLP. */
  readonly mlp: boolean
  /** The output head. */
  readonly head: boolean
  /** The products of queries with keys and of probabilities with values. */
  readonly attentionProducts: boolean
  /** Rounding of the embedding's output, and of the residual stream after every addition (gradients pass unrounded). */
  readonly embedding: 'fp32' | 'bf16'
  readonly residual: 'fp32' | 'bf16'
  /** Blocks at either end whose layers are not quantized. */
  readonly highFirst: number
  readonly highLast: number
}

export const paperSites: TransformerSites = {
  qkv: true, attentionOut: true, mlp: true, head: true, attentionProducts: false, embedding: 'fp32', residual: 'fp32', highFirst: 0, highLast: 0,
}

export interface BlockPrecision {
  readonly attProj: LinearPrecision
  readonly attnOut: LinearPrecision
  readonly ffProj: LinearPrecision
  readonly ffOut: LinearPrecision
  readonly norm: NormPrecision
  readonly activation: ActivationMode
  /** Null: attention's products run in f32. */
  readonly attention: AttentionPrecision | null
}

export interface TransformerPrecision {
  readonly block: (i: number) => BlockPrecision
  readonly finalNorm: NormPrecision
  readonly head: LinearPrecision
  readonly embedding: ElementRounding | null
  readonly residual: ElementRounding | null
  readonly softmax: SoftmaxMode
}

/** The scheme with every block format taken out. */
function unquantized(s: PrecisionScheme): PrecisionScheme {
  return { ...s, forward: { activation: null, weight: null }, dgrad: { gradient: null, weight: null }, wgrad: { gradient: null, activation: null } }
}

/** Resolve a scheme at all sites of `shape`. Options as resolvePrecision's. */
export function resolveTransformerPrecision(
  scheme: PrecisionScheme, sites: TransformerSites, shape: TransformerShape, options: { arithmetic?: Arithmetic, random?: RandomBits } = {},
): TransformerPrecision {
  return transformerPrecision(resolvePrecision(scheme, options), resolvePrecision(unquantized(scheme), options), sites, shape)
}

/** The precision at all sites: `low` where `sites` quantizes, `high` elsewhere; norms and activations as in `low`. */
export function transformerPrecision(low: ModelPrecision, high: ModelPrecision, sites: TransformerSites, shape: TransformerShape, softmax: SoftmaxMode = 'exact'): TransformerPrecision {
  const at = (quantized: boolean): ModelPrecision => quantized ? low : high
  const blocks = Array.from({ length: shape.depth }, (_, i): BlockPrecision => {
    const inside = i >= sites.highFirst && i < shape.depth - sites.highLast, mlp = at(inside && sites.mlp).linear
    return {
      attProj: at(inside && sites.qkv).linear, attnOut: at(inside && sites.attentionOut).linear, ffProj: mlp, ffOut: mlp,
      norm: low.norm, activation: low.activation(shape.activation === 'swiglu' ? 'silu' : shape.activation),
      attention: inside && sites.attentionProducts ? attentionPrecision(low.linear) : null,
    }
  })
  const rounding = (p: 'fp32' | 'bf16') => p === 'bf16' ? bfloat(16, { rounding: 'nearest-even' }) : null
  return { block: i => blocks[i]!, finalNorm: low.norm, head: at(sites.head).linear, embedding: rounding(sites.embedding), residual: rounding(sites.residual), softmax }
}

/** Attention's products take the activation formats on both sides, as microxcaling's matmul does. */
function attentionPrecision({ forward, dgrad, wgrad, round, roundBackward, random }: LinearPrecision): AttentionPrecision {
  return { forward: forward.activation, backward: wgrad.activation, gradient: dgrad.gradient, round, roundBackward, random }
}
