// How a single f32 becomes a code, where conversions differ: rounding, overflow, NaN. Types and the named policies of known converters.
import type { Rounding } from './quantizer.ts'

/** Beyond the largest finite value (Inf included): that value, or the format's Inf, its NaN if it has no Inf, the largest value if it has neither. */
export type Overflow = 'saturate' | 'overflow'

/**
 * The code of NaN. `quiet`: sign kept, top fraction bit alone; a format without NaN gives zero with the opposite sign (ml_dtypes).
 * `max`: all ones without sign; a format without NaN gives its largest value (PTX cvt). `rebiased`: as `max` where the format has NaN, else the exponent
 * field 255 moved to the format's bias and cut off at 8 bits (what torchao's bit arithmetic leaves).
 */
export type NanCode = 'quiet' | 'max' | 'rebiased'

export interface CastPolicy {
  readonly rounding: Rounding
  readonly overflow: Overflow
  readonly nan: NanCode
}

export const castPolicies = {
  /** ml_dtypes 0.6.0, every format; verified against its output (test/vectors/casts). */
  'ml_dtypes': { rounding: 'nearest-even', overflow: 'overflow', nan: 'quiet' },
  /** PTX ISA, cvt.rn.satfinite to e4m3, e5m2, e3m2, e2m3, e2m1; from its text. */
  'ptx-satfinite': { rounding: 'nearest-even', overflow: 'saturate', nan: 'max' },
} as const satisfies Record<string, CastPolicy>

export type CastPolicyName = keyof typeof castPolicies
