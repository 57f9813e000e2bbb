// Codes and values of every element and scale format, one number at a time: the definition that tables and kernels are tested against.
// A value is a JavaScript number (every format's values are exact in it); encode takes the f32 word, because a NaN's sign matters to some policies.
import { grid, hasNegativeZero, type Format, type ScaleFormatName } from '../numerics/formats.ts'
import { nanCode, overflowCode, type CastPolicy } from '../numerics/cast.ts'
import { exponentOf, valueOf } from './float.ts'
import { roundMagnitude } from './round.ts'

/** The value of a code. Integer codes are two's complement, so INT8's 0x80 is -2. */
export function decode(format: Format, code: number): number {
  if (format.kind === 'int') {
    const signed = code >= 2 ** (format.bits - 1) ? code - 2 ** format.bits : code
    return signed * 2 ** (2 - format.bits)
  }
  const { expBits, manBits, bias, specials } = format
  const negative = code >>> (expBits + manBits) === 1
  const field = code >>> manBits & 2 ** expBits - 1, fraction = code & 2 ** manBits - 1
  const top = field === 2 ** expBits - 1
  if (specials === 'ieee' && top) return fraction ? NaN : negative ? -Infinity : Infinity
  if (specials === 'nan-only' && top && fraction === 2 ** manBits - 1) return NaN
  if (specials === 'fnuz' && negative && field === 0 && fraction === 0) return NaN
  const magnitude = field === 0 ? fraction * 2 ** (1 - bias - manBits) : (1 + fraction * 2 ** -manBits) * 2 ** (field - bias)
  return negative ? -magnitude : magnitude
}

/** The code of a signed magnitude that lies on the format's grid and within its range. */
function codeOf(f: Format, negative: boolean, magnitude: number): number {
  const { man, emin } = grid(f)
  if (f.kind === 'int') return (negative ? 2 ** f.bits - magnitude * 2 ** man : magnitude * 2 ** man) % 2 ** f.bits
  const e = magnitude < 2 ** emin ? emin : exponentOf(magnitude)
  // Steps of 2^(e - man): the first 2^man of a binade's 2^(man + 1) belong to the binades below, so fraction and exponent field add up.
  const code = (e - emin) * 2 ** man + magnitude * 2 ** (man - e)
  return code === 0 && !hasNegativeZero(f) ? 0 : code + (negative ? 2 ** (f.bits - 1) : 0)
}

/** The code of an f32 word. `random`: an integer below 2^randomBits, for stochastic rounding only. */
export function encode(f: Format, word: number, policy: CastPolicy, random = 0, randomBits = 16): number {
  const x = valueOf(word), negative = word >>> 31 === 1
  if (Number.isNaN(x)) return nanCode(f, policy.nan, negative)
  const { man, emin, max } = grid(f)
  const a = Math.abs(x)
  let magnitude = a
  if (a !== Infinity && a !== 0) {
    const quantum = 2 ** (Math.max(exponentOf(a), emin) - man)
    magnitude = roundMagnitude(a / quantum, policy.rounding, random / 2 ** randomBits) * quantum
  }
  if (magnitude > max) {
    if (policy.overflow === 'overflow' && f.kind === 'float' && f.specials !== 'none') return overflowCode(f, policy) | (negative ? 2 ** (f.bits - 1) : 0)
    magnitude = max
  }
  return codeOf(f, negative, magnitude)
}

/** The value of a block-scale byte. */
export function decodeScale(format: ScaleFormatName, byte: number): number {
  if (format === 'e8m0') return byte === 255 ? NaN : 2 ** (byte - 127)
  const exponent = byte >> 3 & 15, fraction = byte & 7
  return exponent === 15 && fraction === 7 ? NaN : exponent ? (1 + fraction / 8) * 2 ** (exponent - 7) : fraction / 8 * 2 ** -6
}

/**
 * The E8M0 byte of an f32 word. `up` and `toward-zero` saturate at 254 and 0 and take Inf to 254 (PTX cvt.rp and cvt.rz .satfinite, sign dropped);
 * `nearest` is the ml_dtypes cast: halves up, but up from 2^-127 at once; 255 for Inf and for anything not above zero. NaN is 255 in every mode.
 */
export function encodeE8M0(word: number, mode: 'up' | 'toward-zero' | 'nearest'): number {
  const x = valueOf(word)
  if (Number.isNaN(x)) return 255
  if (mode === 'nearest' && (x <= 0 || x === Infinity)) return 255
  const a = Math.abs(x)
  if (a === Infinity) return 254
  if (a < 2 ** -127) return 0
  const e = exponentOf(a)
  const roundUp = mode === 'up' || mode === 'nearest' && e === -127 ? a > 2 ** e : mode === 'nearest' && a >= 1.5 * 2 ** e
  const byte = e + 127 + (roundUp ? 1 : 0)
  return mode === 'nearest' ? byte : Math.min(byte, 254)
}
