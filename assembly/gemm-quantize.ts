// Groups of lanes of an operand on their way into packed panels: one block of k at a time is gathered in scratch memory with lanes adjacent (whether they are rows
// or columns of the source), then rounded to bf16, quantized and stored where the register tile will read it. Every lane is a column there: no maximum crosses lanes.
//
// The sign of a zero is not kept: every sum of the product starts from +0, so that +0 or -0 added to it is the same.
import { AWAY, Away, EVEN, Even, halfOf, None, round, roundOne, step } from './bf16'
import { bytes } from './gemm-driver'
import { bits, largest, read, smallest } from './gemm-exact'
import { pack } from './gemm-pack'
import { fake_quantize_columns } from './quantize-columns'
import * as Quantizer from './quantizer'
import { AWAY as HALVES_AWAY, EVEN as HALVES_EVEN, exponent_mask, how_of_mode, last_bit, magnitude_mask, step_word } from './quantize-vector'
import { scratch } from './scratch'

/** Most lanes of a group. */
export const GROUP: i32 = 96
/** Bytes of a row of the gathered block. */
const ROW: usize = GROUP << 2
/** Scratch layout, beyond what the quantizers use: words of each lane (largest magnitude; 2^emin; largest and least value), a row of a panel's ends, the block. */
const BLOCK_AT: usize = 1 << 20
const WORDS: usize = ROW + 64
const MAXIMA_AT: usize = BLOCK_AT - 5 * WORDS, LOWEST_AT: usize = BLOCK_AT - 4 * WORDS, ENDS_AT: usize = BLOCK_AT - WORDS

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

/** Does quantize_group know the present quantizer? Roundings to nearest, half a quantum being at least a unit in the last place of bf16. */
export function is_known(): bool {
  const how = how_of_mode()
  return (how == HALVES_EVEN || how == HALVES_AWAY) && Quantizer.man <= 6
}

// Gathering. Each loop is a function of its own: an engine that finds one pair of stores in a function that it cannot make one of 256 bits leaves the function as it is.

/** n rows of `lanes` lanes that are columns of the source; and the largest magnitudes. n is a multiple of 4, `lanes` of 8. */
function gatherColumns(from: usize, stride: usize, n: i32, lanes: i32): void {
  const magnitude = magnitude_mask(), maxima = scratch + MAXIMA_AT, stop = bytes(lanes, 1)
  memory.fill(maxima, 0, stop)
  let to = scratch + BLOCK_AT
  for (const end = to + <usize>n * ROW; to < end; to += 4 * ROW, from += 4 * stride) {
    const r1 = from + stride, r2 = r1 + stride, r3 = r2 + stride
    for (let o: usize = 0; o < stop; o += 32) {
      const x0 = v128.load(from + o), y0 = v128.load(from + o, 16), x1 = v128.load(r1 + o), y1 = v128.load(r1 + o, 16)
      const x2 = v128.load(r2 + o), y2 = v128.load(r2 + o, 16), x3 = v128.load(r3 + o), y3 = v128.load(r3 + o, 16)
      const m = i32x4.max_s(i32x4.max_s(v128.and(x0, magnitude), v128.and(x1, magnitude)), i32x4.max_s(v128.and(x2, magnitude), v128.and(x3, magnitude)))
      const n = i32x4.max_s(i32x4.max_s(v128.and(y0, magnitude), v128.and(y1, magnitude)), i32x4.max_s(v128.and(y2, magnitude), v128.and(y3, magnitude)))
      const m1 = i32x4.max_s(m, v128.load(maxima + o)), n1 = i32x4.max_s(n, v128.load(maxima + o, 16))
      const p = to + o
      v128.store(maxima + o, n1, 16)
      v128.store(maxima + o, m1)
      v128.store(p, y0, 16)
      v128.store(p, x0)
      v128.store(p, y1, ROW + 16)
      v128.store(p, x1, ROW)
      v128.store(p, y2, 2 * ROW + 16)
      v128.store(p, x2, 2 * ROW)
      v128.store(p, y3, 3 * ROW + 16)
      v128.store(p, x3, 3 * ROW)
    }
  }
}

/** The same of eight lanes that are rows, to columns of the block from `to` on. */
function gatherRows(to: usize, r0: usize, stride: usize, n: i32, maxima: usize): void {
  const magnitude = magnitude_mask(), r1 = r0 + stride, r2 = r1 + stride, r3 = r2 + stride, half: usize = 4 * stride
  let m0 = i32x4.splat(0), m1 = m0
  for (let k: usize = 0, stop = <usize>n << 2; k < stop; k += 16, to += 4 * ROW) {
    const x0 = v128.load(r0 + k), x1 = v128.load(r1 + k), x2 = v128.load(r2 + k), x3 = v128.load(r3 + k)
    const y0 = v128.load(r0 + half + k), y1 = v128.load(r1 + half + k), y2 = v128.load(r2 + half + k), y3 = v128.load(r3 + half + k)
    const a0 = v128.shuffle<f32>(x0, x1, 0, 4, 1, 5), a1 = v128.shuffle<f32>(x2, x3, 0, 4, 1, 5), b0 = v128.shuffle<f32>(y0, y1, 0, 4, 1, 5), b1 = v128.shuffle<f32>(y2, y3, 0, 4, 1, 5)
    const c0 = v128.shuffle<f32>(x0, x1, 2, 6, 3, 7), c1 = v128.shuffle<f32>(x2, x3, 2, 6, 3, 7), d0 = v128.shuffle<f32>(y0, y1, 2, 6, 3, 7), d1 = v128.shuffle<f32>(y2, y3, 2, 6, 3, 7)
    const p0 = v128.shuffle<f32>(a0, a1, 0, 1, 4, 5), q0 = v128.shuffle<f32>(b0, b1, 0, 1, 4, 5)
    const p1 = v128.shuffle<f32>(a0, a1, 2, 3, 6, 7), q1 = v128.shuffle<f32>(b0, b1, 2, 3, 6, 7)
    const p2 = v128.shuffle<f32>(c0, c1, 0, 1, 4, 5), q2 = v128.shuffle<f32>(d0, d1, 0, 1, 4, 5)
    const p3 = v128.shuffle<f32>(c0, c1, 2, 3, 6, 7), q3 = v128.shuffle<f32>(d0, d1, 2, 3, 6, 7)
    v128.store(to, q0, 16)
    v128.store(to, p0)
    v128.store(to, q1, ROW + 16)
    v128.store(to, p1, ROW)
    v128.store(to, q2, 2 * ROW + 16)
    v128.store(to, p2, 2 * ROW)
    v128.store(to, q3, 3 * ROW + 16)
    v128.store(to, p3, 3 * ROW)
    m0 = i32x4.max_s(m0, i32x4.max_s(i32x4.max_s(v128.and(p0, magnitude), v128.and(p1, magnitude)), i32x4.max_s(v128.and(p2, magnitude), v128.and(p3, magnitude))))
    m1 = i32x4.max_s(m1, i32x4.max_s(i32x4.max_s(v128.and(q0, magnitude), v128.and(q1, magnitude)), i32x4.max_s(v128.and(q2, magnitude), v128.and(q3, magnitude))))
  }
  v128.store(maxima, m1, 16)
  v128.store(maxima, m0)
}

/** The same of `count` lanes, `lane` bytes apart, into columns [first, lanes) of the block; zeros where no lane is left. Any n. */
function gatherRest(from: usize, lane: usize, k: usize, n: i32, count: i32, first: i32, lanes: i32): void {
  const maxima = scratch + MAXIMA_AT
  for (let l = first; l < lanes; l++) {
    let top: u32 = 0, to = scratch + BLOCK_AT + bytes(l, 1)
    for (let i = 0; i < n; i++, to += ROW) {
      const x: u32 = l < count ? load<u32>(from + <usize>l * lane + <usize>i * k) : 0
      top = max(top, x & 0x7fffffff)
      store<u32>(to, x)
    }
    store<u32>(maxima + bytes(l, 1), top)
  }
}

// Quantizing.

/** Each lane's words from its largest magnitude, and the words of gemm-exact.ts: false if a lane is not ordinary (quantizer.ts). `lanes` is a multiple of 8. */
function ordinaryLanes(lanes: i32, rounding: i32): bool {
  const none = i32x4.splat(0), one = f32x4.splat(1), toLimit = i32x4.splat(Quantizer.toLimit)
  let all = i32x4.splat(-1), high = none, low = all, all1 = all, high1 = none, low1 = all
  for (let p = scratch + MAXIMA_AT, stop = p + bytes(lanes, 1); p < stop; p += 32) {
    const m = round(v128.load(p), rounding), m1 = round(v128.load(p, 16), rounding)
    const a = v128.bitselect(one, m, i32x4.eq(m, none)), a1 = v128.bitselect(one, m1, i32x4.eq(m1, none)) // a lane of zeros may take any scale
    const lowest = Quantizer.lowest_words(a), lowest1 = Quantizer.lowest_words(a1), limit = i32x4.add(lowest, toLimit), limit1 = i32x4.add(lowest1, toLimit)
    all = v128.and(all, Quantizer.ordinary_lanes(a))
    all1 = v128.and(all1, Quantizer.ordinary_lanes(a1))
    high = i32x4.max_u(high, limit)
    high1 = i32x4.max_u(high1, limit1)
    low = i32x4.min_u(low, lowest)
    low1 = i32x4.min_u(low1, lowest1)
    v128.store(p, lowest1, WORDS + 16)
    v128.store(p, lowest, WORDS)
    v128.store(p, limit1, 2 * WORDS + 16)
    v128.store(p, limit, 2 * WORDS)
    v128.store(p, f32x4.neg(limit1), 3 * WORDS + 16)
    v128.store(p, f32x4.neg(limit), 3 * WORDS)
  }
  all = v128.and(all, all1)
  high = i32x4.max_u(high, high1)
  low = i32x4.min_u(low, low1)
  if (!v128.all_true<i32>(all)) return false
  // Every value is a multiple of its lane's quantum, that of 2^emin with `man` fraction bits, and at most the lane's limit.
  allBits |= ((1 << Quantizer.man) - 1) << (23 - Quantizer.man)
  most = max(most, unsignedMost(high))
  least = min(least, unsignedLeast(low) - 1)
  return true
}

// @ts-ignore: decorator
@inline
function unsignedMost(x: v128): u32 { return max(max(<u32>i32x4.extract_lane(x, 0), <u32>i32x4.extract_lane(x, 1)), max(<u32>i32x4.extract_lane(x, 2), <u32>i32x4.extract_lane(x, 3))) }
// @ts-ignore: decorator
@inline
function unsignedLeast(x: v128): u32 { return min(min(<u32>i32x4.extract_lane(x, 0), <u32>i32x4.extract_lane(x, 1)), min(<u32>i32x4.extract_lane(x, 2), <u32>i32x4.extract_lane(x, 3))) }

/**
 * Round x and quantize it with its lane's words, as in quantize-vector.ts. Of bf16 with halves away from zero the addition of half a unit is enough: the fraction
 * below it stays, cannot reach the next half of a quantum, and takes a tie up, as it should be.
 */
// @ts-ignore: decorator
@inline
function quantized<R, How>(x: v128, lowest: v128, limit: v128, minusLimit: v128, toStep: v128, exponent: v128, one: v128): v128 {
  const y = idof<R>() == idof<Away>() && idof<How>() == idof<Away>() ? i32x4.add(x, halfOf<R>()) : step<R>(x)
  const c = i32x4.add(i32x4.max_s(v128.and(y, exponent), lowest), toStep), z = idof<How>() == idof<Away>() ? v128.or(y, one) : y
  return f32x4.pmax(f32x4.pmin(f32x4.sub(f32x4.add(z, c), c), limit), minusLimit)
}

/**
 * Lanes of n rows of the block in `count` panels, each `width` lanes further and `panel` bytes from the one before; rows of a panel `toRow` bytes apart. Eight lanes
 * are written of each row, in order: of narrower panels, the next row writes over those that are too many.
 */
// @ts-ignore: decorator
@inline
function sweep<R, How>(to: usize, toRow: usize, panel: usize, width: usize, from: usize, words: usize, count: i32, n: i32): void {
  const exponent = exponent_mask(), one = last_bit(), toStep = i32x4.splat(step_word()), rows = <usize>n * ROW
  for (; count; count--, to += panel, from += width, words += width) {
    const lowest0 = v128.load(words), lowest1 = v128.load(words, 16), limit0 = v128.load(words, WORDS), limit1 = v128.load(words, WORDS + 16)
    const minus0 = v128.load(words, 2 * WORDS), minus1 = v128.load(words, 2 * WORDS + 16)
    for (let p = from, q = to, stop = from + rows; p < stop; p += ROW, q += toRow) {
      const y0 = quantized<R, How>(v128.load(p), lowest0, limit0, minus0, toStep, exponent, one)
      const y1 = quantized<R, How>(v128.load(p, 16), lowest1, limit1, minus1, toStep, exponent, one)
      v128.store(q, y1, 16)
      v128.store(q, y0)
    }
  }
}

function sweepEven<R>(to: usize, toRow: usize, panel: usize, width: usize, from: usize, words: usize, count: i32, n: i32): void { sweep<R, Even>(to, toRow, panel, width, from, words, count, n) }
function sweepAway<R>(to: usize, toRow: usize, panel: usize, width: usize, from: usize, words: usize, count: i32, n: i32): void { sweep<R, Away>(to, toRow, panel, width, from, words, count, n) }

function sweepRounded<R>(to: usize, toRow: usize, panel: usize, width: usize, from: usize, words: usize, count: i32, n: i32): void {
  if (how_of_mode() == HALVES_AWAY) sweepAway<R>(to, toRow, panel, width, from, words, count, n)
  else sweepEven<R>(to, toRow, panel, width, from, words, count, n)
}

function sweepAny(rounding: i32, to: usize, toRow: usize, panel: usize, width: usize, from: usize, words: usize, count: i32, n: i32): void {
  if (rounding == AWAY) sweepRounded<Away>(to, toRow, panel, width, from, words, count, n)
  else if (rounding == EVEN) sweepRounded<Even>(to, toRow, panel, width, from, words, count, n)
  else sweepRounded<None>(to, toRow, panel, width, from, words, count, n)
}

/**
 * One block of n rows of k and `count` <= GROUP lanes, `lane` and `k` bytes apart in the source, into panels of W lanes, the first at `to`, each `panel` bytes after the
 * one before; missing lanes of the last panel are zero. Rounded as `rounding` says and quantized as the last call of Quantizer.prepare and these parameters say.
 */
export function quantize_group(
  to: usize, W: i32, panel: usize, from: usize, lane: usize, k: usize, n: i32, count: i32, rounding: i32, man: i32, emin: i32, emax: i32, maximum: f32, choices: i32,
): void {
  const block = scratch + BLOCK_AT, maxima = scratch + MAXIMA_AT, panels = (count + W - 1) / W, lanes = panels * W + 7 & -8
  let done = 0
  if ((n & 3) == 0) {
    done = count & -8
    if (lane == 4) gatherColumns(from, k, n, done)
    else for (let l = 0; l < done; l += 8) gatherRows(block + bytes(l, 1), from + <usize>l * lane, lane, n, maxima + bytes(l, 1))
  }
  if (done < lanes) gatherRest(from, lane, k, n, count, done, lanes)
  if (!ordinaryLanes(lanes, rounding)) return anyGroup(to, W, panel, n, count, lanes, rounding, man, emin, emax, maximum, choices)
  const row = bytes(W, 1), words = scratch + LOWEST_AT
  if (W % 8 == 0) {
    for (let l = 0; l < W; l += 8) sweepAny(rounding, to + bytes(l, 1), row, panel, row, block + bytes(l, 1), words + bytes(l, 1), panels, n)
    return
  }
  if (n > 1) sweepAny(rounding, to, row, panel, row, block, words, panels, n - 1)
  const ends = scratch + ENDS_AT
  to += <usize>(n - 1) * row
  sweepAny(rounding, ends, row, row, row, block + <usize>(n - 1) * ROW, words, panels, 1)
  for (let i = 0; i < panels; i++, to += panel) for (let l = 0; l < W; l++) store<f32>(to + bytes(l, 1), load<f32>(ends + bytes(i * W + l, 1)))
}

/** The gathered block by way of the quantizer for whole tensors, which takes every value. */
function anyGroup(to: usize, W: i32, panel: usize, n: i32, count: i32, lanes: i32, rounding: i32, man: i32, emin: i32, emax: i32, maximum: f32, choices: i32): void {
  const block = scratch + BLOCK_AT
  for (let r = 0; r < n; r++) for (let l = 0; l < lanes; l++) {
    const p = block + <usize>r * ROW + bytes(l, 1)
    store<f32>(p, roundOne(load<f32>(p), rounding))
  }
  fake_quantize_columns(block, block, n, GROUP, n, GROUP, man, emin, emax, maximum, choices, 0, 1)
  for (let r = 0; r < n; r++) {
    const at = scratch + ENDS_AT
    memory.copy(at, block + <usize>r * ROW, bytes(lanes, 1))
    read(at, at + bytes(lanes, 1))
    add_words()
  }
  pack(to, W, panel, block, 4, ROW, count, n)
}
