// What a transformer of this family is: its sizes, parameters, counts and named sizes. The computation is in transformer.ts.
import { lookup, UsageError } from '../errors.ts'
import { ParameterLayout, type ParameterShape } from './parameters.ts'

export interface TransformerShape {
  /** d_model. */
  readonly width: number
  /** Number of blocks. */
  readonly depth: number
  readonly heads: number
  readonly vocabulary: number
  /** Output width of the first MLP matrix, in multiples of `width`. SwiGLU passes half of it on. */
  readonly mlpRatio: number
  readonly activation: 'gelu' | 'swiglu' | 'relu' | 'silu'
  readonly norm: 'layernorm' | 'rmsnorm'
  /** Norms on queries and keys, over the whole width. */
  readonly qkNorm: boolean
  /** The head shares the embedding table. */
  readonly tied: boolean
  /** Base of the rotary position embedding. */
  readonly theta: number
}

export const headDim = ({ width, heads }: TransformerShape): number => width / heads
/** Input width of the second MLP matrix. */
export const innerWidth = ({ width, mlpRatio, activation }: TransformerShape): number => mlpRatio * width / (activation === 'swiglu' ? 2 : 1)

/** Throws UsageError, naming the value and the rule, for a shape that cannot be built. */
export function checkShape(s: TransformerShape): void {
  if (s.width % s.heads !== 0) throw new UsageError(`model.width ${s.width} is not a multiple of model.heads ${s.heads}`)
  if (headDim(s) % 2 !== 0) throw new UsageError(`width / heads = ${headDim(s)} must be even for the rotary position embedding`)
  if (!Number.isInteger(innerWidth(s))) throw new UsageError(`model.mlpRatio ${s.mlpRatio} does not give a whole MLP width for width ${s.width}`)
}

/** All parameters in forward order, under OLMo's names. */
export function transformerLayout(s: TransformerShape): ParameterLayout {
  checkShape(s)
  const d = s.width
  const matrix = (name: string, out: number, within: number): ParameterShape => ({ name: `transformer.${name}.weight`, shape: [out, within], group: name })
  const gamma = (name: string): ParameterShape => ({ name: `transformer.${name}.weight`, shape: [d], group: name })
  return new ParameterLayout([
    matrix('wte', s.vocabulary, d),
    ...Array.from({ length: s.depth }, (_, i) => `blocks.${i}`).flatMap(b => [
      gamma(`${b}.attn_norm`), matrix(`${b}.att_proj`, 3 * d, d), ...(s.qkNorm ? [gamma(`${b}.q_norm`), gamma(`${b}.k_norm`)] : []), matrix(`${b}.attn_out`, d, d),
      gamma(`${b}.ff_norm`), matrix(`${b}.ff_proj`, s.mlpRatio * d, d), matrix(`${b}.ff_out`, d, innerWidth(s)),
    ]),
    gamma('ln_f'),
    ...(s.tied ? [] : [matrix('ff_out_last', s.vocabulary, d)]),
  ])
}

/** Parameters as the paper counts them, embeddings included: 2 V d + L (12 d^2 + 4 d) + d for its shapes. */
export function parameterCount(s: TransformerShape): number { return transformerLayout(s).count }

/**
 * Floating-point operations per token of one training step. `budget` is the paper's 6 N. `matmul` counts the products that are computed: 6 per weight of a
 * matrix (the embedding is a look-up, a tied head counts), and attention's scores and values, forward and twice that backward, over the half below the diagonal.
 */
export function flopsPerToken(s: TransformerShape, context: number): { budget: number, matmul: number } {
  const blocks = s.depth * (4 * s.width ** 2 + s.mlpRatio * s.width ** 2 + innerWidth(s) * s.width)
  return { budget: 6 * parameterCount(s), matmul: 6 * (blocks + s.vocabulary * s.width) + 6 * s.depth * s.width * context }
}

/** The paper's family: width and depth; heads = width / 64, context 512, mlpRatio 4, untied head. */
const family: readonly (readonly [width: number, depth: number])[] = [
  [256, 4], [320, 5], [384, 6], [448, 7], [512, 8], [576, 9], [640, 10], [704, 11], [768, 12], [832, 13], [896, 14], [960, 15], [1024, 16], [1088, 17],
  [1152, 18], [1216, 19], [1280, 20], [1344, 21], [1408, 22], [1536, 24], [1664, 26], [1792, 28], [1920, 30], [2048, 32], [2560, 40],
]

/** Named sizes: the paper's, as `olmo-<width>` (256 ... 2560), its depth sweep at width 256 as `olmo-256x<depth>` (4 ... 22), and small ones for a CPU. */
export const sizes: Readonly<Record<string, Pick<TransformerShape, 'width' | 'depth' | 'heads'>>> = {
  tiny: { width: 64, depth: 2, heads: 2 },
  small: { width: 128, depth: 4, heads: 4 },
  ...Object.fromEntries(family.map(([width, depth]) => [`olmo-${width}`, { width, depth, heads: width / 64 }])),
  ...Object.fromEntries(Array.from({ length: 19 }, (_, i) => [`olmo-256x${i + 4}`, { width: 256, depth: i + 4, heads: 4 }])),
}

/** The size called `name`. Throws UsageError that lists the names. */
export const namedSize = (name: string) => lookup(sizes, name, 'model size')
