// Every choice a quantizer makes, by name: how an element is rounded, how a block scale is chosen, what happens to zeros and non-finite values.
// Types only; the named combinations that libraries and vendors use are in profiles.ts, the arithmetic is in src/oracle and assembly/.
//
// MX block quantization (OCP MX v1.0 section 6.3), for a block V of a format with largest exponent emax:
//   e = exponent(max |V_i|), chosen by `scaleRule`;  X = 2^clamp(e - emax);  P_i = round(V_i / X), saturating at the format's maximum;  output X * P_i.
// A block whose scale exceeds the scale format becomes NaN in every element (E8M0 code 255).
import type { FormatName } from './formats.ts'

/**
 * To which neighbour a value between two codes goes. `nearest-away`: halves away from zero (microxcaling calls it "nearest").
 * `nearest-zero`: halves toward zero (ggml's search for the nearest value). `toward-zero`: truncation (microxcaling's "floor").
 * `stochastic`: magnitude plus random bits, then truncation, as PTX cvt.rs.
 */
export type Rounding = 'nearest-even' | 'nearest-away' | 'nearest-zero' | 'toward-zero' | 'stochastic'

/**
 * Block exponent from amax = max |V_i|, before emax is subtracted. `floor`: floor(log2 amax) (OCP). `ceil`: rounded up. `even`: floor after rounding amax
 * to the element's fraction width, halves up (AMD Quark, torchao EVEN); NaN if that overflows. `even-1`: the same with a fraction of one bit whatever the
 * format (compressed-tensors). `rceil`: the scale itself, amax times the float32 reciprocal of the format's maximum, rounded up (torchao, TransformerEngine);
 * `rceil-divide`: the same with a division (cuBLAS).
 */
export type ScaleRule = 'floor' | 'ceil' | 'even' | 'even-1' | 'rceil' | 'rceil-divide'

/**
 * Inf and NaN in a block. `poison`: every element becomes NaN, the scale byte 255. `element`: NaN does not count in the maximum, Inf has the largest scale,
 * 2^127, and each element is converted by itself, Inf to the format's maximum and NaN to NaN (TransformerEngine's fmaxf and PTX cvt.satfinite).
 */
export type NonFinite = 'poison' | 'element'

/**
 * The code of NaN. `quiet`: sign kept, top fraction bit alone; a format without NaN gives zero with the opposite sign (ml_dtypes).
 * `max`: all ones without sign; a format without NaN gives its largest value (PTX cvt). `rebiased`: as `max` where the format has NaN, else the exponent
 * field 255 moved to the format's bias and cut off at 8 bits (what torchao's bit arithmetic leaves).
 */
export type NanCode = 'quiet' | 'max' | 'rebiased'

/**
 * Add one to the block exponent where the largest element would saturate, that is where its significand exceeds the format's (1.75 for E4M3).
 * `intended`: one decision per block. `as-released`: the defect in the code released with arXiv 2506.20752, which takes the maximum over the blocks
 * at each position within a block, so that exponents differ inside a block.
 */
export type Bump = 'none' | 'intended' | 'as-released'

/** What an implementation does where the formula of OCP MX v1.0 section 6.3 leaves room, or where it departs from it. */
export interface Arithmetic {
  /** floor(log2 x): `bits` reads the exponent field; `torch-log2` takes floor of a float32 log2, one too high for 7456 values just below a power of two. */
  readonly exponent: 'bits' | 'torch-log2'
  /** `exact` decides halves exactly; `add-half` computes floor(fl(t + 0.5)), which takes t = 0.5 - 2^-25 up to 1. Nearest roundings only. */
  readonly half: 'exact' | 'add-half'
  /** Sign of a zero result. `preserve`: the input's, where the format has -0. `torch`: +0 for an input -0, -0 for a negative value rounded to zero. `positive`: always +0. */
  readonly zeroSign: 'preserve' | 'torch' | 'positive'
  /** A NaN outside a block: `propagate`, or `as-number`: its payload is rounded like a fraction, so it may become Inf or 0. (Inside a block NaN poisons the block.) */
  readonly nan: 'propagate' | 'as-number'
}

/** Quantizes blocks of one format along an axis with one power-of-two scale per block. */
export interface BlockQuantizer extends Arithmetic {
  readonly kind: 'mx'
  readonly format: FormatName
  /** Elements per block along the axis; the last block of an axis may be shorter. 0: the whole axis is one block. Two axes: tiles of blockSize x blockSize. */
  readonly blockSize: number
  readonly scaleRule: ScaleRule
  readonly rounding: Rounding
  readonly bump: Bump
  /** Width of the scale's exponent: it is clamped to [-(2^(scaleBits-1) - 1), ...], NaN above. 8 is E8M0. */
  readonly scaleBits: number
  /** Treat a block whose maximum is an f32 subnormal as zero. */
  readonly flushSubnormals: boolean
  readonly nonFinite: NonFinite
  /** Code of an element that is NaN. */
  readonly nanCode: NanCode
  /** `stochastic` only: random bits added to each element's discarded bits. */
  readonly randomBits: 8 | 16
}

/** Rounds each element by itself to a sign/exponent/mantissa format with Inf; overflow goes to Inf, the result is f32. */
export interface ElementRounding extends Arithmetic {
  readonly kind: 'element'
  /** 8 (bfloat family: bf16 has manBits 7) or 5 (fp family: fp16 has manBits 10). */
  readonly expBits: 8 | 5
  /** Fraction bits, 1..23. 23 with expBits 8 is the identity. */
  readonly manBits: number
  readonly rounding: Exclude<Rounding, 'stochastic' | 'nearest-zero'>
  /** Subnormals of the target format: kept, or inputs below its smallest normal flushed to zero before rounding. */
  readonly subnormals: 'keep' | 'flush'
}
