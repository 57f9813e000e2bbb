// How a single f32 becomes a code, where conversions differ: rounding, overflow, NaN. Types and the named policies of known converters.
import { hasNegativeZero, type Format } from './formats.ts'
import type { NanCode, Rounding } from './quantizer.ts'

/** Beyond the largest finite value (Inf included): that value, or the format's Inf, its NaN if it has no Inf, the largest value if it has neither. */
export type Overflow = 'saturate' | 'overflow'

/** How single numbers are cast to a format. */
export interface CastPolicy {
  readonly rounding: Rounding
  readonly overflow: Overflow
  readonly nan: NanCode
}

/** Casts of known converters. */
export const castPolicies = {
  /** ml_dtypes 0.6.0, every format; verified against its output (test/vectors/casts). */
  'ml_dtypes': { rounding: 'nearest-even', overflow: 'overflow', nan: 'quiet' },
  /** PTX ISA, cvt.rn.satfinite to e4m3, e5m2, e3m2, e2m3, e2m1; from its text. */
  'ptx-satfinite': { rounding: 'nearest-even', overflow: 'saturate', nan: 'max' },
} as const satisfies Record<string, CastPolicy>

export type CastPolicyName = keyof typeof castPolicies

/** Code of the largest finite magnitude, without sign. */
export const maxCode = (f: Format): number =>
  f.kind === 'float' && f.specials === 'ieee' ? (2 ** f.expBits - 1) * 2 ** f.manBits - 1 : f.kind === 'float' && f.specials === 'nan-only' ? 2 ** (f.bits - 1) - 2 : 2 ** (f.bits - 1) - 1

/** The code of NaN under a policy. `negative`: the NaN's sign bit. */
export function nanCode(f: Format, rule: NanCode, negative = false): number {
  const sign = 2 ** (f.bits - 1)
  if (f.kind === 'float' && f.specials === 'fnuz') return sign
  if (f.kind === 'int' || f.specials === 'none') {
    if (rule === 'quiet') return hasNegativeZero(f) && !negative ? sign : 0
    return rule === 'rebiased' && f.kind === 'float' ? ((128 + f.bias) * 2 ** f.manBits + 2 ** (f.manBits - 1)) % 256 : maxCode(f)
  }
  if (rule === 'quiet') return (f.specials === 'ieee' ? maxCode(f) + 1 + 2 ** (f.manBits - 1) : sign - 1) + (negative ? sign : 0)
  return sign - 1
}

/** The code, without sign, of a magnitude beyond the largest finite one. (A format whose NaN has no sign returns it whole.) */
export function overflowCode(f: Format, policy: CastPolicy): number {
  if (policy.overflow === 'saturate' || f.kind === 'int' || f.specials === 'none') return maxCode(f)
  return f.specials === 'fnuz' ? nanCode(f, policy.nan) : maxCode(f) + 1
}
