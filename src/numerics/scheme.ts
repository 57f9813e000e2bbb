// The precision scheme: one plain object that says everything about the precision of a training step. It is part of a run's configuration and of
// its hash, and it may change in mid-run (an intervention). Data and types only; src/model turns it into kernel calls.
//
// A linear layer Y = X W^T runs three GEMMs, and each operand of each has a format of its own, quantized along that GEMM's reduction axis:
//   forward  Y  = X  W^T   blocks along in-features     operands: activation, weight
//   dgrad    dX = dY W     blocks along out-features    operands: gradient, weight
//   wgrad    dW = dY^T X   blocks along the batch       operands: gradient, activation
//
// What would surprise: in the named pairs (`e4m3/e4m3` = weights / activations) gradients and stashed activations take the *activation* format,
// as in the language-model runs of arXiv 2506.20752; and the layer norm is bf16 there, never MX, as in the code that produced the paper.
import { lookup } from '../errors.ts'
import type { FormatName } from './formats.ts'
import type { Bump, Rounding, ScaleRule } from './quantizer.ts'

/** Formats a GEMM operand can take. `bf16`: elementwise bfloat16 rounding, no shared scale. null: left as it is. */
export const elementFormats = ['e4m3', 'e5m2', 'e3m2', 'e2m3', 'e2m1', 'int8', 'int4', 'int2', 'bf16'] as const satisfies readonly FormatName[]
/** A format of elementFormats. */
export type ElementFormat = typeof elementFormats[number]

export const roundings = ['nearest-even', 'nearest-away', 'toward-zero', 'stochastic'] as const satisfies readonly Rounding[]
export const scaleRules = ['floor', 'ceil', 'even', 'rceil'] as const satisfies readonly ScaleRule[]
export const bumps = ['none', 'intended', 'as-released'] as const satisfies readonly Bump[]
export const vectorPrecisions = ['fp32', 'bf16'] as const
export const layerNormPrecisions = ['fp32', 'bf16', 'mx', 'bf16-half'] as const
export const activationPrecisions = ['exact', 'bf16', 'sigmoid-form', 'as-released'] as const
export const hadamards = ['none', 'wgrad', 'backward'] as const
export const scalings = ['mx', 'nvfp4'] as const
export const weightBlockings = ['rows', 'tiles'] as const

/** Everything about the precision of a training step; `schemes` has the named ones. */
export interface PrecisionScheme {
  readonly forward: { readonly activation: ElementFormat | null, readonly weight: ElementFormat | null }
  readonly dgrad: { readonly gradient: ElementFormat | null, readonly weight: ElementFormat | null }
  readonly wgrad: { readonly gradient: ElementFormat | null, readonly activation: ElementFormat | null }
  /** `fp32`: the whole backward pass is plain f32 over the unrounded saved tensors (forward-only quantization); dgrad and wgrad are then null. */
  readonly backward: 'quantized' | 'fp32'
  /** `mx`: a power of two per block. `nvfp4`: an E4M3 scale per block of 16 and one f32 scale for the tensor, as TransformerEngine computes them
   *  (numerics/nvfp4.ts); all block formats are then e2m1, and the settings of power-of-two scales have no meaning. */
  readonly scaling: typeof scalings[number]
  /** Elements that share one scale. A last block may be shorter. */
  readonly blockSize: number
  /** `tiles`: a scale of a weight covers blockSize x blockSize elements, so that forward and dgrad see the same quantized weight. */
  readonly weightBlocks: typeof weightBlockings[number]
  /** Width of the shared exponent; 8 is E8M0. */
  readonly scaleBits: number
  /** How the shared exponent follows from the block's largest magnitude (OCP MX v1.0 section 6.3 is `floor`). */
  readonly scaleRule: typeof scaleRules[number]
  /** Element rounding of activations and weights. microxcaling's "nearest" is `nearest-away`; Blackwell rounds `nearest-even`. */
  readonly rounding: typeof roundings[number]
  /** Element rounding of gradients. */
  readonly gradientRounding: typeof roundings[number]
  /** Element rounding of activations and weights in dgrad and wgrad; null: as `rounding`. */
  readonly backwardRounding: typeof roundings[number] | null
  /** Exponent bump for blocks that would saturate: as its authors meant it, or as released (maximum taken over the wrong axis). */
  readonly bump: typeof bumps[number]
  /** Random Hadamard transform of blocks before quantization: on both operands of wgrad, or of dgrad and wgrad. */
  readonly hadamard: typeof hadamards[number]
  /** GEMM inputs and outputs, biases and elementwise operations: f32, or rounded to bf16 after every step. */
  readonly vector: typeof vectorPrecisions[number]
  readonly vectorRounding: 'nearest-even' | 'nearest-away'
  /** `bf16`: every step rounded to bf16. `mx`: that, with gamma and beta block-quantized to forward.weight. `bf16-half`: the released code's
   *  half-applied `dont_quantize_layernorm` (first half of the forward f32, second half bf16, backward f32). */
  readonly layerNorm: typeof layerNormPrecisions[number]
  /** `dropped`: beta gets no gradient and stays where it is (a defect of the released code). */
  readonly betaGradient: 'computed' | 'dropped'
  /** `exact`: f32, GELU by erf. `bf16`: microxcaling's chain of bf16 steps (its GELU is x sigmoid(1.59375 (x + 0.044677734 x^3))).
   *  `sigmoid-form`: that formula in f32. `as-released`: GELU exact, ReLU and SiLU the bf16 chain. */
  readonly activation: typeof activationPrecisions[number]
  /** `quantized`: labels of this arm come from a teacher that runs under this scheme's forward formats (as in the released code's MX phase). */
  readonly teacher: 'fp32' | 'quantized'
  /** Blocks of the model at either end whose linear layers are not quantized. */
  readonly highFirst: number
  readonly highLast: number
  /** How the products of linear layers are summed: `f32` (one sequential f32 sum over k per output), `exact`, `block-exact`, a matrix unit or a family of
   *  them (numerics/accumulation.ts, numerics/mma.ts). Under an f32 backward it is that of the forward pass. */
  readonly accumulator: string
}

const fp32: PrecisionScheme = {
  forward: { activation: null, weight: null }, dgrad: { gradient: null, weight: null }, wgrad: { gradient: null, activation: null }, backward: 'fp32',
  scaling: 'mx', blockSize: 32, weightBlocks: 'rows', scaleBits: 8, scaleRule: 'floor', rounding: 'nearest-away', gradientRounding: 'nearest-away', backwardRounding: null,
  bump: 'none', hadamard: 'none', vector: 'fp32', vectorRounding: 'nearest-away', layerNorm: 'fp32', betaGradient: 'computed', activation: 'exact', teacher: 'fp32',
  highFirst: 0, highLast: 0, accumulator: 'f32',
}

// Activations stay exact in the named pairs, so that they differ from fp32 by rounding alone and not by another formula for GELU.
const bf16: PrecisionScheme = { ...fp32, backward: 'quantized', vector: 'bf16', layerNorm: 'bf16' }

/** Weights in format `w`, everything else in format `a`. */
const pair = (w: ElementFormat, a: ElementFormat): PrecisionScheme => ({
  ...bf16, forward: { activation: a, weight: w }, dgrad: { gradient: a, weight: w }, wgrad: { gradient: a, activation: a },
})

const forwardOnly = (s: PrecisionScheme): PrecisionScheme => normalizeScheme({ ...s, backward: 'fp32' })

/** Pairs with data in the paper's runs, and E2M1, which it left out. */
const pairs: readonly [ElementFormat, ElementFormat][] = [
  ['e4m3', 'e4m3'], ['e4m3', 'bf16'], ['e4m3', 'e5m2'],
  ['e5m2', 'e5m2'], ['e5m2', 'bf16'], ['e5m2', 'e4m3'],
  ['e2m3', 'e2m3'], ['e2m3', 'bf16'], ['e2m3', 'e3m2'], ['e2m3', 'e4m3'], ['e2m3', 'e5m2'],
  ['e3m2', 'e3m2'], ['e3m2', 'bf16'], ['e3m2', 'e2m3'],
  ['e2m1', 'e2m1'], ['e2m1', 'bf16'], ['int8', 'int8'],
]

const e4m3 = pair('e4m3', 'e4m3')
const paperCode: PrecisionScheme = { ...e4m3, activation: 'as-released', betaGradient: 'dropped', teacher: 'quantized' }
const evenBf16 = { rounding: 'nearest-even', gradientRounding: 'nearest-even', vectorRounding: 'nearest-even' } as const
const mxfp8Rceil: PrecisionScheme = { ...e4m3, ...evenBf16, scaleRule: 'rceil' }
const nvfp4: PrecisionScheme = {
  ...pair('e2m1', 'e2m1'), ...evenBf16, scaling: 'nvfp4', blockSize: 16, weightBlocks: 'tiles', gradientRounding: 'stochastic', hadamard: 'wgrad', highLast: 1,
}

/** Every scheme that has a name. `W/A` is weights / activations and gradients. */
export const schemes: Readonly<Record<string, PrecisionScheme>> = {
  fp32,
  bf16,
  ...Object.fromEntries(pairs.map(([w, a]) => [`${w}/${a}`, pair(w, a)])),
  ...Object.fromEntries((['e4m3', 'e5m2', 'e2m3', 'e3m2', 'e2m1'] as const).map(f => [`${f}/${f}/forward-only`, forwardOnly(pair(f, f))])),
  'e5m2/e5m2/block-2': { ...pair('e5m2', 'e5m2'), blockSize: 2 },
  // Forward E4M3, backward E5M2: the paper's sweep. The stashed activation keeps its forward format (the released code cannot set it apart).
  'mx-mix': { ...e4m3, dgrad: { gradient: 'e5m2', weight: 'e5m2' }, wgrad: { gradient: 'e5m2', activation: 'e4m3' } },
  // What the released student_teacher.py computes in its MX phase, defects included.
  'paper-code': paperCode,
  'paper-code/bump': { ...paperCode, bump: 'as-released' },
  'paper-code/no-layernorm': { ...paperCode, layerNorm: 'bf16-half' },
  // What the paper's text says it computes: layer-norm affine parameters in MX too.
  'paper-claim': { ...e4m3, layerNorm: 'mx' },
  'e4m3/bump': { ...e4m3, bump: 'intended' },
  // NVIDIA's MXFP8 recipe (arXiv 2506.08027): E4M3 everywhere, scale rounded up so that nothing saturates, nearest-even.
  'mxfp8-rceil': mxfp8Rceil,
  'mxfp8-floor': { ...e4m3, ...evenBf16 },
  'mxfp8-rceil/blackwell': { ...mxfp8Rceil, accumulator: 'blackwell' },
  // MXFP4 in the backward only, unbiased: stochastic rounding of both operands after a random Hadamard transform (arXiv 2502.20586). Scales rounded up keep every
  // element within E2M1's range, which is what the original's factor 3/4 before quantization is for.
  'mxfp4-backward': {
    ...bf16, ...evenBf16, gradientRounding: 'stochastic', backwardRounding: 'stochastic', hadamard: 'backward', scaleRule: 'rceil',
    dgrad: { gradient: 'e2m1', weight: 'e2m1' }, wgrad: { gradient: 'e2m1', activation: 'e2m1' },
  },
  // NVIDIA's NVFP4 pretraining recipe (arXiv 2509.25149): all three products in NVFP4, weights in tiles, gradients rounded stochastically, a Hadamard transform of
  // wgrad's operands, some blocks left in bf16 (there 10 of 62, most of them last; here the last one). The recipe leaves the head in bf16 too: a language model's sites.head.
  nvfp4,
  'nvfp4/blackwell': { ...nvfp4, accumulator: 'blackwell' },
}

/** The scheme called `name`. Throws UsageError that lists the valid names. */
export const namedScheme = (name: string): PrecisionScheme => lookup(schemes, name, 'precision scheme')

/** One spelling for one meaning: under an f32 backward the backward's own settings are cleared. */
export function normalizeScheme(s: PrecisionScheme): PrecisionScheme {
  return s.backward === 'quantized' ? s : { ...s, dgrad: fp32.dgrad, wgrad: fp32.wgrad, gradientRounding: s.rounding, backwardRounding: null, hadamard: 'none' }
}

/** A readable name: the scheme's own if it has one, else the named scheme that differs in the fewest settings, with the differences: `e4m3/e4m3 layerNorm=mx`. */
export function describeScheme(scheme: PrecisionScheme): string {
  const flat = flatten(scheme)
  let best = '', fewest = Infinity
  for (const [name, named] of Object.entries(schemes)) {
    const other = flatten(named)
    const differences = [...flat].filter(([key, value]) => other.get(key) !== value).map(([key, value]) => ` ${key}=${value}`)
    if (differences.length < fewest) { fewest = differences.length; best = name + differences.join('') }
  }
  return best
}

/** The scheme's settings by dotted key, in declaration order. */
function flatten(scheme: PrecisionScheme): Map<string, string> {
  return new Map(Object.entries(scheme).flatMap(([key, value]): [string, string][] =>
    typeof value === 'object' && value !== null ? Object.entries(value).map(([k, v]) => [`${key}.${k}`, String(v)]) : [[key, String(value)]]))
}
