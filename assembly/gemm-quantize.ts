// One block of eight lanes of an operand: rounded to bf16, quantized along k and stored with lanes adjacent, as a packed panel wants them. Both passes (maxima,
// then values) are over scratch memory in the first-level cache, every lane is a column, and no maximum crosses lanes.
import { AWAY, Away, EVEN, Even, None, round, roundOne, step } from './bf16'
import { bytes } from './gemm-driver'
import { bits, largest, read, smallest } from './gemm-exact'
import { fake_quantize_columns } from './quantize-columns'
import * as Quantizer from './quantizer'
import { AWAY as HALVES_AWAY, EVEN as HALVES_EVEN, exponent_mask, how_of_mode, last_bit, magnitude_mask, Preserve, quantize_vector, step_word } from './quantize-vector'
import { zero_sign_of, ZERO_PRESERVE } from './quantize-modes'
import { scratch } from './scratch'

/** Where the block waits between the passes: beyond what the quantizers use. */
export const BLOCK_AT: usize = 1 << 20
/** Where the words of its lanes wait: of 2^emin and of the largest magnitude. (An engine runs two vector operations as one of 256 bits only where it finds the operands of both in memory, side by side.) */
const WORDS_AT: usize = BLOCK_AT - 64
/** Bytes of a row of the block. */
const ROW: usize = 32

/** The words of gemm-exact.ts over all blocks since start_words. */
let allBits: u32 = 0
let most: u32 = 0
let least: u32 = 0

export function start_words(): void {
  allBits = 0
  most = 0
  least = u32.MAX_VALUE
}

/** The words of nothing, at `at`. */
export function clear_words(at: usize): void {
  store<u32>(at, 0)
  store<u32>(at, 0, 4)
  store<u32>(at, u32.MAX_VALUE, 8)
}

/** Take the words into those at `at`. */
export function merge_words(at: usize): void {
  store<u32>(at, load<u32>(at) | allBits)
  store<u32>(at, max(load<u32>(at, 4), most), 4)
  store<u32>(at, min(load<u32>(at, 8), least), 8)
}

/** Take in what gemm-exact.ts has just read. */
export function add_words(): void {
  allBits |= bits
  most = max(most, largest)
  least = min(least, smallest)
}

/** Does quantize_lanes know the present quantizer? Roundings to nearest that keep a zero's sign. */
export function is_known(): bool {
  const how = how_of_mode()
  return (how == HALVES_EVEN || how == HALVES_AWAY) && zero_sign_of(Quantizer.mode) == ZERO_PRESERVE
}

/** n rows of eight lanes that are columns of the source; after them the largest magnitudes of the lanes. */
function columnBlock(from: usize, stride: usize, n: i32): void {
  const magnitude = magnitude_mask()
  let m0 = i32x4.splat(0), m1 = m0, to = scratch + BLOCK_AT
  for (const stop = to + <usize>n * ROW; to < stop; to += ROW, from += stride) {
    const x = v128.load(from), y = v128.load(from, 16)
    m0 = i32x4.max_s(m0, v128.and(x, magnitude))
    m1 = i32x4.max_s(m1, v128.and(y, magnitude))
    v128.store(to, x)
    v128.store(to, y, 16)
  }
  v128.store(to, m0)
  v128.store(to, m1, 16)
}

/** The same of lanes that are rows; n is a multiple of 4. */
function rowBlock(r0: usize, stride: usize, n: i32): void {
  const magnitude = magnitude_mask(), r1 = r0 + stride, r2 = r1 + stride, r3 = r2 + stride, half = 4 * stride
  let m0 = i32x4.splat(0), m1 = m0, to = scratch + BLOCK_AT
  for (let k: usize = 0, stop = <usize>n << 2; k < stop; k += 16, to += 4 * ROW) {
    const x0 = v128.load(r0 + k), x1 = v128.load(r1 + k), x2 = v128.load(r2 + k), x3 = v128.load(r3 + k)
    const y0 = v128.load(r0 + half + k), y1 = v128.load(r1 + half + k), y2 = v128.load(r2 + half + k), y3 = v128.load(r3 + half + k)
    const a0 = v128.shuffle<f32>(x0, x1, 0, 4, 1, 5), a1 = v128.shuffle<f32>(x2, x3, 0, 4, 1, 5), b0 = v128.shuffle<f32>(y0, y1, 0, 4, 1, 5), b1 = v128.shuffle<f32>(y2, y3, 0, 4, 1, 5)
    const c0 = v128.shuffle<f32>(x0, x1, 2, 6, 3, 7), c1 = v128.shuffle<f32>(x2, x3, 2, 6, 3, 7), d0 = v128.shuffle<f32>(y0, y1, 2, 6, 3, 7), d1 = v128.shuffle<f32>(y2, y3, 2, 6, 3, 7)
    const p0 = v128.shuffle<f32>(a0, a1, 0, 1, 4, 5), q0 = v128.shuffle<f32>(b0, b1, 0, 1, 4, 5)
    const p1 = v128.shuffle<f32>(a0, a1, 2, 3, 6, 7), q1 = v128.shuffle<f32>(b0, b1, 2, 3, 6, 7)
    const p2 = v128.shuffle<f32>(c0, c1, 0, 1, 4, 5), q2 = v128.shuffle<f32>(d0, d1, 0, 1, 4, 5)
    const p3 = v128.shuffle<f32>(c0, c1, 2, 3, 6, 7), q3 = v128.shuffle<f32>(d0, d1, 2, 3, 6, 7)
    v128.store(to, p0)
    v128.store(to, q0, 16)
    v128.store(to, p1, 32)
    v128.store(to, q1, 48)
    v128.store(to, p2, 64)
    v128.store(to, q2, 80)
    v128.store(to, p3, 96)
    v128.store(to, q3, 112)
    m0 = i32x4.max_s(m0, i32x4.max_s(i32x4.max_s(v128.and(p0, magnitude), v128.and(p1, magnitude)), i32x4.max_s(v128.and(p2, magnitude), v128.and(p3, magnitude))))
    m1 = i32x4.max_s(m1, i32x4.max_s(i32x4.max_s(v128.and(q0, magnitude), v128.and(q1, magnitude)), i32x4.max_s(v128.and(q2, magnitude), v128.and(q3, magnitude))))
  }
  v128.store(to, m0)
  v128.store(to, m1, 16)
}

// Each loop is a function of its own: an engine that finds one pair of stores in a function that it cannot make one of 256 bits leaves the function as it is.

/**
 * The block's n rows rounded and quantized, to rows `toRow` bytes apart. The short form of rounding serves here: where it may not (bf16.ts: infinite after rounding,
 * or NaN) the lane is not ordinary.
 */
// @ts-ignore: decorator
@inline
function sweep<R, How>(to: usize, toRow: usize, n: i32): void {
  const exponent = exponent_mask(), magnitude = magnitude_mask(), one = last_bit(), none = i32x4.splat(0)
  const toStep = i32x4.splat(step_word()), words = scratch + WORDS_AT
  let from = scratch + BLOCK_AT
  for (const stop = from + <usize>n * ROW; from < stop; from += ROW, to += toRow) {
    const y0 = quantize_vector<How, Preserve>(step<R>(v128.load(from)), v128.load(words), v128.load(words, 32), none, none, toStep, none, exponent, magnitude, one)
    const y1 = quantize_vector<How, Preserve>(step<R>(v128.load(from, 16)), v128.load(words, 16), v128.load(words, 48), none, none, toStep, none, exponent, magnitude, one)
    v128.store(to, y0)
    v128.store(to, y1, 16)
  }
}

function sweepEven<R>(to: usize, toRow: usize, n: i32): void { sweep<R, Even>(to, toRow, n) }
function sweepAway<R>(to: usize, toRow: usize, n: i32): void { sweep<R, Away>(to, toRow, n) }

function sweepRounded<R>(to: usize, toRow: usize, n: i32): void {
  if (how_of_mode() == HALVES_AWAY) sweepAway<R>(to, toRow, n)
  else sweepEven<R>(to, toRow, n)
}

// @ts-ignore: decorator
@inline
function unsignedMost(x: v128): u32 { return max(max(<u32>i32x4.extract_lane(x, 0), <u32>i32x4.extract_lane(x, 1)), max(<u32>i32x4.extract_lane(x, 2), <u32>i32x4.extract_lane(x, 3))) }
// @ts-ignore: decorator
@inline
function unsignedLeast(x: v128): u32 { return min(min(<u32>i32x4.extract_lane(x, 0), <u32>i32x4.extract_lane(x, 1)), min(<u32>i32x4.extract_lane(x, 2), <u32>i32x4.extract_lane(x, 3))) }

/** Quantize the block if all its lanes are ordinary (quantizer.ts): true if so. */
function ordinaryBlock(to: usize, toRow: usize, n: i32, rounding: i32): bool {
  const maxima = scratch + BLOCK_AT + <usize>n * ROW, m0 = round(v128.load(maxima), rounding), m1 = round(v128.load(maxima, 16), rounding), none = i32x4.splat(0)
  // A lane of zeros may take any scale.
  const a0 = v128.bitselect(f32x4.splat(1), m0, i32x4.eq(m0, none)), a1 = v128.bitselect(f32x4.splat(1), m1, i32x4.eq(m1, none))
  if (!v128.all_true<i32>(v128.and(Quantizer.ordinary_lanes(a0), Quantizer.ordinary_lanes(a1)))) return false
  const low0 = Quantizer.lowest_words(a0), low1 = Quantizer.lowest_words(a1), toLimit = i32x4.splat(Quantizer.toLimit), words = scratch + WORDS_AT
  v128.store(words, low0)
  v128.store(words, low1, 16)
  v128.store(words, i32x4.add(low0, toLimit), 32)
  v128.store(words, i32x4.add(low1, toLimit), 48)
  if (rounding == AWAY) sweepRounded<Away>(to, toRow, n)
  else if (rounding == EVEN) sweepRounded<Even>(to, toRow, n)
  else sweepRounded<None>(to, toRow, n)
  // Every value is a multiple of its lane's quantum, that of 2^emin with `man` fraction bits, and at most the lane's limit.
  allBits |= ((1 << Quantizer.man) - 1) << (23 - Quantizer.man)
  most = max(most, unsignedMost(i32x4.max_u(low0, low1)) + Quantizer.toLimit)
  least = min(least, unsignedLeast(i32x4.min_u(low0, low1)) - 1)
  return true
}

/**
 * One block of n rows of k and `count` <= 8 lanes to rows `toRow` bytes apart, eight lanes wide (missing ones zero). The source's lanes are rows
 * (`along`) or columns, `stride` bytes apart; it is rounded as `rounding` says and quantized as the last call of Quantizer.prepare and these parameters say.
 */
export function quantize_lanes(
  to: usize, toRow: usize, from: usize, stride: usize, n: i32, count: i32, along: bool, rounding: i32, man: i32, emin: i32, emax: i32, maximum: f32, choices: i32,
): void {
  const block = scratch + BLOCK_AT
  if (count == 8 && (!along || (n & 3) == 0)) {
    if (along) rowBlock(from, stride, n)
    else columnBlock(from, stride, n)
    if (ordinaryBlock(to, toRow, n, rounding)) return
  }
  const lane = along ? stride : 4, k = along ? 4 : stride
  memory.fill(block, 0, <usize>n * ROW)
  for (let r = 0; r < n; r++) for (let l = 0; l < count; l++) store<f32>(block + <usize>r * ROW + bytes(l, 1), roundOne(load<f32>(from + <usize>r * k + <usize>l * lane), rounding))
  fake_quantize_columns(block, block, n, 8, n, 8, man, emin, emax, maximum, choices, 0, 1)
  read(block, block + <usize>n * ROW)
  add_words()
  for (let p = block, stop = p + <usize>n * ROW; p < stop; p += ROW, to += toRow) {
    const x = v128.load(p), y = v128.load(p, 16)
    v128.store(to, x)
    v128.store(to, y, 16)
  }
}
