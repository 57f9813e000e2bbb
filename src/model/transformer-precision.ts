// From a precision scheme to what runs at each site of a transformer. The scheme says how a quantized layer computes (numerics/scheme.ts), the sites say
// which layers are quantized. A site that is not keeps the scheme's elementwise rounding (bf16 in all but fp32) and its norm and activation modes.
import { UsageError } from '../errors.ts'
import { bfloat } from '../numerics/profiles.ts'
import type { Arithmetic, ElementRounding } from '../numerics/quantizer.ts'
import type { PrecisionScheme } from '../numerics/scheme.ts'
import type { ActivationMode } from '../ops/activation.ts'
import type { AttentionPrecision, AttentionQuantizer, SoftmaxMode } from './attention.ts'
import { linearOfBlock, resolvePrecision, type LinearPrecision, type ModelPrecision, type NormPrecision, type OperandQuantizer, type RandomBits } from './precision.ts'
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
}

export const paperSites: TransformerSites = {
  qkv: true, attentionOut: true, mlp: true, head: true, attentionProducts: false, embedding: 'fp32', residual: 'fp32',
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

/** Resolve a scheme at all sites of `shape`. Options as resolvePrecision's. */
export function resolveTransformerPrecision(
  scheme: PrecisionScheme, sites: TransformerSites, shape: TransformerShape, options: { arithmetic?: Arithmetic, random?: RandomBits } = {},
): TransformerPrecision {
  return transformerPrecision(resolvePrecision(scheme, options), sites, shape)
}

/** The precision at all sites: quantized where `sites` says so, in blocks that the scheme quantizes. */
export function transformerPrecision(p: ModelPrecision, sites: TransformerSites, shape: TransformerShape, softmax: SoftmaxMode = 'exact'): TransformerPrecision {
  const at = (quantized: boolean): LinearPrecision => quantized ? p.linear : p.unquantized
  const blocks = Array.from({ length: shape.depth }, (_, i): BlockPrecision => {
    const inside = linearOfBlock(p, i, shape.depth) === p.linear, mlp = at(inside && sites.mlp)
    return {
      attProj: at(inside && sites.qkv), attnOut: at(inside && sites.attentionOut), ffProj: mlp, ffOut: mlp,
      norm: p.norm, activation: p.activation(shape.activation === 'swiglu' ? 'silu' : shape.activation),
      attention: inside && sites.attentionProducts ? attentionPrecision(p.linear) : null,
    }
  })
  const rounding = (to: 'fp32' | 'bf16') => to === 'bf16' ? bfloat(16, { rounding: 'nearest-even' }) : null
  return { block: i => blocks[i]!, finalNorm: p.norm, head: at(sites.head), embedding: rounding(sites.embedding), residual: rounding(sites.residual), softmax }
}

/** Attention's products take the activation formats on both sides, as microxcaling's matmul does. Throws UsageError for NVFP4. */
function attentionPrecision({ forward, dgrad, wgrad, round, roundBackward, random }: LinearPrecision): AttentionPrecision {
  const blocks = (q: OperandQuantizer): AttentionQuantizer => {
    if (q?.kind === 'nvfp4') throw new UsageError('sites.attentionProducts needs precision.scaling mx, which is nvfp4')
    return q
  }
  return { forward: blocks(forward.activation), backward: blocks(wgrad.activation), gradient: blocks(dgrad.gradient), round, roundBackward, random }
}
