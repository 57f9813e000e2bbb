// f32 to codes and back, one number at a time: src/oracle/codec.ts for any element format, E8M0 among the scales.
import { exponent_of, power_of_two, value_of, word_of } from './bits'
import { emin, man, maximum, mode, NAN_WORD, prepare, round_to_grid } from './quantizer'

/** Kinds of format: with -0, two's complement integers, floats whose -0 is NaN. */
export const SIGNED: i32 = 0, INTEGER: i32 = 1, FNUZ: i32 = 2

// The format's codes; set by prepare_codes at the start of each kernel call, beside prepare().
export let codeBits: i32 = 0
export let kind: i32 = 0
export let maxCode: i32 = 0
export let overflowCode: i32 = 0
export let nanPositive: i32 = 0
let nanNegative: i32 = 0

/** Set the format that the functions below code for: codes without sign, but the two of NaN. */
export function prepare_codes(bits: i32, kind_: i32, max: i32, overflow: i32, positive: i32, negative: i32): void {
  codeBits = bits
  kind = kind_
  maxCode = max
  overflowCode = overflow
  nanPositive = positive
  nanNegative = negative
}

/** The code of a number that lies on the format's grid and within its range. */
export function code_of(y: f32): i32 {
  const a = abs(y), negative = word_of(y) < 0
  const e = a < power_of_two(emin) ? emin : exponent_of(word_of(a))
  const steps = <i32>(a / power_of_two(e) * power_of_two(man))
  if (kind == INTEGER) return (negative ? -steps : steps) & ((1 << codeBits) - 1)
  // The first 2^man of a binade's 2^(man + 1) steps belong to the binades below, so exponent field and fraction add up.
  const code = ((e - emin) << man) + steps
  return negative && (code != 0 || kind == SIGNED) ? code | 1 << (codeBits - 1) : code
}

/** The code of an f32 by itself. `u`: random fraction for stochastic rounding. */
export function encode(x: f32, u: f32): i32 {
  const word = word_of(x)
  if (x != x) return word < 0 ? nanNegative : nanPositive
  const infinity = value_of(0x7f800000)
  const y = abs(round_to_grid(x, man, emin, maximum, infinity, mode, u))
  if (y != infinity) return code_of(word < 0 ? -y : y)
  if (kind == INTEGER) return code_of(word < 0 ? -maximum : maximum)
  return word < 0 ? overflowCode | 1 << (codeBits - 1) : overflowCode
}

/** The value of a code. Integers are two's complement. */
export function decode(code: i32): f32 {
  if (kind == INTEGER) return <f32>(code << (32 - codeBits) >> (32 - codeBits)) / power_of_two(man)
  const sign = code >>> (codeBits - 1), magnitude = code & ((1 << (codeBits - 1)) - 1)
  if (kind == FNUZ && sign != 0 && magnitude == 0) return value_of(NAN_WORD)
  let a: f32
  if (magnitude > maxCode) a = value_of(magnitude == maxCode + 1 && has_infinity() ? 0x7f800000 : NAN_WORD)
  else {
    const field = magnitude >> man, fraction = magnitude & ((1 << man) - 1)
    a = field == 0 ? <f32>fraction / power_of_two(man) * power_of_two(emin) : <f32>(fraction + (1 << man)) / power_of_two(man) * power_of_two(field - 1 + emin)
  }
  return sign != 0 ? -a : a
}

/** A format with Inf has it right after its largest number, as fraction zero; one whose NaN alone follows has a fraction of ones there. */
// @ts-ignore: decorator
@inline function has_infinity(): bool { return ((maxCode + 1) & ((1 << man) - 1)) == 0 }

/** The E8M0 byte of an f32: encodeE8M0 of the oracle. `how`: 0 toward zero, 1 up, 2 nearest as ml_dtypes. */
function encode_e8m0(x: f32, how: i32): i32 {
  const word = word_of(x), a = word & 0x7fffffff
  if (a > 0x7f800000) return 255
  if (how == 2 && (word <= 0 || a == 0x7f800000)) return 255
  if (a == 0x7f800000) return 254
  if (a < 0x400000) return 0
  const e = exponent_of(a), beyond = value_of(a) > power_of_two(e)
  const up = how == 1 || how == 2 && e == -127 ? beyond : how == 2 && value_of(a) >= <f32>1.5 * power_of_two(e)
  const byte = e + 127 + (up ? 1 : 0)
  return how == 2 ? byte : min(byte, 254)
}

/** dst[i] = value of code src[i], `width` bytes each (1 or 2). Items: elements. */
export function decode_f32(dst: usize, src: usize, width: i32, man: i32, emin: i32, bits: i32, kind: i32, maxCode: i32, begin: i32, end: i32): void {
  prepare(man, emin, 0, 1, 0)
  prepare_codes(bits, kind, maxCode, 0, 0, 0)
  for (let i = <usize>begin; i < <usize>end; i++) store<f32>(dst + (i << 2), decode(width == 1 ? <i32>load<u8>(src + i) : <i32>load<u16>(src + (i << 1))))
}

/** dst[i] = E8M0 byte of src[i]; `how` as in encode_e8m0. Items: elements. */
export function encode_e8m0_f32(dst: usize, src: usize, how: i32, begin: i32, end: i32): void {
  for (let i = <usize>begin; i < <usize>end; i++) store<u8>(dst + i, <u8>encode_e8m0(load<f32>(src + (i << 2)), how))
}
