// Truncated fused dot-product-add (T-FDPA, ST-FDPA) at nearly the speed of a GEMM, with the bits of mma_fdpa, for units whose accumulator is f32 rounded toward zero.
//
// A step cuts every term toward zero at 2^(E - F), adds exactly, and keeps 24 bits. E is at most max(H, exponent of c), where H, the largest exponent of the row's
// operand plus that of the column's, bounds the products' exponents; and every product is a multiple of 2^L, with L the sum of the two operands' least last bits. So
//   |c| >= t = 2^(H - F + 23)          says that nothing of c is cut,
//   |c| and 2^H below 2^(L + F + 1)    says that nothing of a product is cut,
// and then d = RZ(c + sum of products) with a sum that fits f64 exactly (at most F + 9 bits), and RZ is a mask. A smaller c may be cut: by less than a multiple of
// 2^(E - F), which shows in a sum of its own sign and at least t only below the last bit that is kept. That is the first condition's other half,
//   c d >= t max(|c|, t / 2^8),        where t / 2^8 (or more) keeps c + sum within 53 bits (|d| < 2^10 t, so |c| > 2^-18 t).
// The conditions are checked in every lane. In a lane that fails, E is computed (repair); few products are cut even then, and what is cut is cut term by term.
// A step that holds an Inf or NaN, or whose magnitudes could leave the f32 range, goes through the plain kernel. The floor of E cannot show: 2^(floor - F) is below
// 2^-149, of which every term is a multiple here.
//
// The sums are computed in f64, or, where significands are of at most four bits (FP8, FP6, FP4 elements), in integers: see mma-sums-pack.ts.
import { wordExp, wordSig } from './mma-operand'
import { fdpa_full_step } from './mma-fdpa'
import { isSpecial, nanBits } from './mma-round'
import { COLUMNS, HIGH, LAST_AT, LOW, LOW_AT, NONE, ROWS, SPECIAL, SPREAD, SQUARES, TALL, UNIT_AT, WIDEST_WHOLE, factorsAt, infoAt, largest, panelBytes, partAt, pow2 } from './mma-sums-pack'
import { dot_4x8, dot_f64_4x8 } from './mma-tiles'
import { scratch } from './scratch'

/** floor(log2 |x|) of a normal f64. */
// @ts-ignore: decorator
@inline
function log2(x: f64): i32 { return (<i32>(reinterpret<u64>(x) >> 52) & 2047) - 1023 }

/**
 * Scratch: masks of failed lanes, integer sums; for each tile of an item its sums, two sets of accumulators (f64), which lanes failed (a bit each), and a state:
 * whether a NaN or Inf is among its accumulators, whether all of them may be zero.
 */
const FAILED_AT: usize = 0, INTEGERS_AT: usize = 256, SUMS_AT: usize = 1024
const TILES_AT: usize = SUMS_AT + 256 * <usize>TALL, SET: usize = 256, TILE: usize = 512
const LANES_AT: usize = TILES_AT + TILE * <usize>TALL, STATE_AT: usize = LANES_AT + 4 * <usize>TALL
const SPECIAL_TILE: usize = 0, ZERO_TILE: usize = 4

/** The operands as mma_decode left them, for the lanes that need more than sums; and the unit. */
let wordsA: usize = 0, flagsA: usize = 0, wordsB: usize = 0, flagsB: usize = 0
let rowsA: i32 = 0, rowsB: i32 = 0, rowStride: i32 = 0, stepLength: i32 = 0, fractionBits: i32 = 0, pointBits: i32 = 0, floorExp: i32 = 0, inIntegers: bool = false

/**
 * T-FDPA and ST-FDPA over the panels of mma_pack_sums, with the bits of mma_fdpa and rounding 0 (RZ to f32). d[M, N] = chain of the steps first..last from c[M, N]
 * (0: from +0), bits of f32. a, b and their flags: what the panels were made of. Items: blocks of 64 rows by 8 columns, all columns of the first rows first.
 */
export function mma_sums(d: usize, c: usize, a_packed: usize, b_packed: usize, a: usize, a_flags: usize, b: usize, b_flags: usize, M: i32, N: i32, stride: i32,
  step: i32, first: i32, last: i32, point: i32, fraction: i32, floor: i32, integers: i32, begin: i32, end: i32): void {
  wordsA = a; flagsA = a_flags; wordsB = b; flagsB = b_flags
  rowsA = M; rowsB = N; rowStride = stride; stepLength = step; fractionBits = fraction; pointBits = point; floorExp = floor; inIntegers = integers != 0
  const steps = stride / step
  const columns = (N + COLUMNS - 1) / COLUMNS
  const bytesA = panelBytes(ROWS, step, inIntegers), bytesB = panelBytes(COLUMNS, step, inIntegers)
  for (let item = begin; item < end; item++) {
    const panel0 = item / columns * TALL, column = item % columns
    const panels = min(TALL, (M + ROWS - 1) / ROWS - panel0)
    for (let t = 0; t < panels; t++) load_tile(t, c, (panel0 + t) * ROWS, column * COLUMNS)
    let old: usize = 0
    for (let s = first; s < last; s++) {
      // All tiles, then all lanes to repair: so that the one need not wait for the other.
      const pa = a_packed + <usize>(panel0 * steps + s * TALL) * bytesA, pb = b_packed + <usize>(column * steps + s) * bytesB
      for (let t = 0; t < panels; t++) store<u32>(scratch + LANES_AT + (<usize>t << 2), run(t, pa + <usize>t * bytesA, pb, old, (panel0 + t) * ROWS, column * COLUMNS, s))
      for (let t = 0; t < panels; t += 2) repair(t, pa, bytesA, pb, old, panel0 * ROWS, column * COLUMNS, s)
      old = SET - old
    }
    for (let t = 0; t < panels; t++) store_tile(t, d, old, (panel0 + t) * ROWS, column * COLUMNS)
  }
}

// @ts-ignore: decorator
@inline
function state(t: i32): usize { return scratch + STATE_AT + (<usize>t << 3) }
// @ts-ignore: decorator
@inline
function tileAt(t: i32): usize { return scratch + TILES_AT + <usize>t * TILE }
// @ts-ignore: decorator
@inline
function sumsAt(t: i32): usize { return scratch + SUMS_AT + (<usize>t << 8) }

/** Step s of tile t, from the accumulators at `old` into the others. Returns the lanes to repair. */
function run(t: i32, pa: usize, pb: usize, old: usize, row: i32, column: i32, s: i32): u32 {
  const at = state(t), step = stepLength, from = tileAt(t) + old, to = tileAt(t) + SET - old
  const infoA = pa + infoAt(ROWS, step, inIntegers), infoB = pb + infoAt(COLUMNS, step, inIntegers)
  // Sums stay below 2^(H + 7), accumulators below 2^(L + F + 1) or repaired, results above 2^-149 or exact.
  if (load<i32>(infoA, SPECIAL) | load<i32>(infoB, SPECIAL) | load<i32>(at, SPECIAL_TILE) || load<i32>(infoA, HIGH) + load<i32>(infoB, HIGH) > 100 || load<i32>(infoA, LOW) + load<i32>(infoB, LOW) < -149
    || max(load<i32>(infoA, SPREAD), load<i32>(infoB, SPREAD)) == NONE) {
    plain(t, from, to, row, column, s)
    return 0
  }
  const fa = pa + factorsAt(ROWS, step, inIntegers), fb = pb + factorsAt(COLUMNS, step, inIntegers)
  if (inIntegers) integer_sums(step, pa, pb, infoA, infoB, fa, fb, sumsAt(t))
  else dot_f64_4x8(step, pa, pb, sumsAt(t))
  const least = load<i32>(at, ZERO_TILE) ? 0 : pow2(23 - fractionBits)
  finish(fa, fb, from, to, sumsAt(t), least, pow2(fractionBits + 1), least * pow2(max(load<i32>(infoA, HIGH) + load<i32>(infoB, HIGH), -900) - 8))
  store<i32>(at, 0, ZERO_TILE)
  return <u32>(maskBits(scratch + FAILED_AT) | maskBits(scratch + FAILED_AT + 128) << 16)
}

/** The sums of a tile from integers: one product of whole numbers, or two or four of parts. */
function integer_sums(step: i32, pa: usize, pb: usize, infoA: usize, infoB: usize, fa: usize, fb: usize, sums: usize): void {
  const wideA = load<i32>(infoA, SPREAD) > WIDEST_WHOLE, wideB = load<i32>(infoB, SPREAD) > WIDEST_WHOLE
  const pairs = step >> 1, to = scratch + INTEGERS_AT
  const lowA = pa + partAt(ROWS, step, 1), highA = pa + partAt(ROWS, step, 2), lowB = pb + partAt(COLUMNS, step, 1), highB = pb + partAt(COLUMNS, step, 2)
  if (!wideA && !wideB && load<f64>(infoA, SQUARES) * load<f64>(infoB, SQUARES) < 0.999 * 4611686018427387904) { // 2^62
    dot_4x8(pairs, pa, pb, to)
    scale_sums(1, 1, fa, fb, sums)
  } else if (!wideA || !wideB) {
    dot_4x8(pairs, wideB ? pa : lowA, wideB ? lowB : pb, to)
    dot_4x8(pairs, wideB ? pa : highA, wideB ? highB : pb, to + 128)
    scale_sums(2, 256, fa, fb, sums)
  } else {
    dot_4x8(pairs, lowA, lowB, to)
    dot_4x8(pairs, lowA, highB, to + 128)
    dot_4x8(pairs, highA, lowB, to + 256)
    dot_4x8(pairs, highA, highB, to + 384)
    // The middle ones have the same weight, and fit i32 together: parts are below 2^11.
    for (let p = to; p < to + 128; p += 32) {
      const x = i32x4.add(v128.load(p, 128), v128.load(p, 256)), y = i32x4.add(v128.load(p, 144), v128.load(p, 272))
      v128.store(p, x, 128)
      v128.store(p, y, 144)
      const z = v128.load(p, 384), w = v128.load(p, 400)
      v128.store(p, z, 256)
      v128.store(p, w, 272)
    }
    scale_sums(3, 256, fa, fb, sums)
  }
}

/** to = units of row and column times the `count` integers of a lane, each `weight` times the one before. */
function scale_sums(count: i32, weight: f64, fa: usize, fb: usize, to: usize): void {
  let from = scratch + INTEGERS_AT
  const w = f64x2.splat(weight), w2 = f64x2.splat(weight * weight)
  for (let r = 0; r < ROWS; r++) {
    const unit = f64x2.splat(load<f64>(fa, UNIT_AT * ROWS))
    const end = to + 64
    do {
      const s = v128.load(from)
      let x = f64x2.convert_low_i32x4_s(s), y = f64x2.convert_low_i32x4_s(v128.shuffle<i32>(s, s, 2, 3, 0, 1))
      if (count > 1) {
        const t = v128.load(from, 128)
        x = f64x2.add(x, f64x2.mul(f64x2.convert_low_i32x4_s(t), w))
        y = f64x2.add(y, f64x2.mul(f64x2.convert_low_i32x4_s(v128.shuffle<i32>(t, t, 2, 3, 0, 1)), w))
        if (count > 2) {
          const u = v128.load(from, 256)
          x = f64x2.add(x, f64x2.mul(f64x2.convert_low_i32x4_s(u), w2))
          y = f64x2.add(y, f64x2.mul(f64x2.convert_low_i32x4_s(v128.shuffle<i32>(u, u, 2, 3, 0, 1)), w2))
        }
      }
      const x0 = f64x2.mul(f64x2.mul(x, v128.load(fb, UNIT_AT * COLUMNS)), unit), x1 = f64x2.mul(f64x2.mul(y, v128.load(fb, UNIT_AT * COLUMNS + 16)), unit)
      v128.store(to, x0)
      v128.store(to, x1, 16)
      from += 16
      fb += 32
      to += 32
    } while (to != end)
    fb -= 64
    fa += 8
  }
}

/** The 24 leading bits of an f64. */
const KEEP = memory.data<i64>([-0x20000000, -0x20000000])

/** to = RZ(from + sums), and at FAILED_AT which lanes fail a condition. `least` and `most`: the conditions' constants,
 * 2^(23 - F) (or 0: all c are 0) and 2^(F + 1); `guard`: the largest t / 2^8. */
function finish(fa: usize, fb: usize, from: usize, to: usize, sums: usize, least: f64, most: f64, guard: f64): void {
  const keep = v128.load(KEEP), g = f64x2.splat(guard)
  let failed = scratch + FAILED_AT
  for (let r = 0; r < ROWS; r++) {
    const high = load<f64>(fa), top = f64x2.splat(high), limit = f64x2.splat(high * least), low = f64x2.splat(load<f64>(fa, LOW_AT * ROWS) * most)
    const end = to + 64
    do {
      const c0 = v128.load(from), c1 = v128.load(from, 16)
      const d0 = v128.and(f64x2.add(c0, v128.load(sums)), keep)
      const d1 = v128.and(f64x2.add(c1, v128.load(sums, 16)), keep)
      const h0 = v128.load(fb), h1 = v128.load(fb, 16)
      const a0 = f64x2.abs(c0), a1 = f64x2.abs(c1)
      const t0 = f64x2.mul(h0, limit), t1 = f64x2.mul(h1, limit)
      const cut0 = v128.and(f64x2.lt(a0, t0), f64x2.lt(f64x2.mul(c0, d0), f64x2.mul(t0, f64x2.pmax(a0, g))))
      const cut1 = v128.and(f64x2.lt(a1, t1), f64x2.lt(f64x2.mul(c1, d1), f64x2.mul(t1, f64x2.pmax(a1, g))))
      const l0 = f64x2.mul(v128.load(fb, LOW_AT * COLUMNS), low), l1 = f64x2.mul(v128.load(fb, LOW_AT * COLUMNS + 16), low)
      const x0 = v128.or(cut0, f64x2.le(l0, f64x2.pmax(a0, f64x2.mul(h0, top))))
      const x1 = v128.or(cut1, f64x2.le(l1, f64x2.pmax(a1, f64x2.mul(h1, top))))
      v128.store(to, d0)
      v128.store(to, d1, 16)
      v128.store(failed, x0)
      v128.store(failed, x1, 16)
      sums += 32
      failed += 32
      from += 32
      fb += 32
      to += 32
    } while (to != end)
    fb -= 64
    fa += 8
  }
}

/** Sixteen lanes' masks as bits. */
// @ts-ignore: decorator
@inline
function maskBits(p: usize): i32 {
  const a = v128.shuffle<i32>(v128.load(p), v128.load(p, 16), 0, 2, 4, 6), b = v128.shuffle<i32>(v128.load(p, 32), v128.load(p, 48), 0, 2, 4, 6)
  const c = v128.shuffle<i32>(v128.load(p, 64), v128.load(p, 80), 0, 2, 4, 6), d = v128.shuffle<i32>(v128.load(p, 96), v128.load(p, 112), 0, 2, 4, 6)
  return i8x16.bitmask(i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d)))
}

/** The failed lanes of tiles t and t + 1 of a step again, from E. `row` is the item's first. */
function repair(t: i32, pa: usize, bytesA: usize, pb: usize, old: usize, row: i32, column: i32, s: i32): void {
  const step = stepLength, last = <usize>max(step, 8) << 1, k = s * step
  const fb = pb + factorsAt(COLUMNS, step, inIntegers)
  for (let lanes = load<u64>(scratch + LANES_AT + (<usize>t << 2)); lanes; lanes &= lanes - 1) {
    const at = <i32>ctz(lanes), tile = t + (at >> 5), r = at >> 3 & 3, j = at & 7, lane = <usize>(at & 31) << 3
    const fa = pa + <usize>tile * bytesA + factorsAt(ROWS, step, inIntegers) + (<usize>r << 3), fj = fb + (<usize>j << 3)
    const high = load<f64>(fa) * load<f64>(fj), low = load<f64>(fa, LOW_AT * ROWS) * load<f64>(fj, LOW_AT * COLUMNS)
    if (high == 0) continue // products of zeros: RZ(c + 0) = c
    const x = wordsA + (<usize>((row + tile * ROWS + r) * rowStride + k) << 2), y = wordsB + (<usize>((column + j) * rowStride + k) << 2)
    const c = load<f64>(tileAt(tile) + old + lane)
    // Without branches on the data, which a processor would guess wrong as often as not.
    const E = max(select(max(log2(c), -126), -NONE, c != 0), top_exponent(x, y, step))
    const cut = E - fractionBits, unit = pow2(cut)
    let sum = load<f64>(sumsAt(tile) + lane)
    // Is a product cut? Beyond 45 binades the sum need not be exact in f64 either.
    const lastA = fa + LAST_AT * ROWS + <usize>r * (last - 8), lastB = fj + LAST_AT * COLUMNS + <usize>j * (last - 8)
    if (i32(any_below(lastA, lastB, last, cut)) | i32(high > low * pow2(45))) sum = cut_sum(x, y, step, pointBits + cut) * unit
    let d = reinterpret<f64>(reinterpret<u64>(trunc(c * pow2(-cut)) * unit + sum) & 0xffffffffe0000000)
    if (abs(d) >= pow2(128)) {
      d = copysign<f64>(Infinity, d)
      store<i32>(state(tile), 1, SPECIAL_TILE)
    }
    store<f64>(tileAt(tile) + SET - old + lane, d)
  }
}

const HIGH_HALVES = memory.data<i32>([-0x10000, -0x10000, -0x10000, -0x10000])

/** Largest exponent of the products of two rows of words. */
// @ts-ignore: decorator
@inline
function top_exponent(a: usize, b: usize, step: i32): i32 {
  const mask = v128.load(HIGH_HALVES), end = a + (<usize>step << 2)
  let top = i32x4.splat(i32.MIN_VALUE)
  do {
    top = i32x4.max_s(top, i32x4.add(v128.and(v128.load(a), mask), v128.and(v128.load(b), mask)))
    a += 16
    b += 16
  } while (a != end)
  return largest(top) >> 16
}

/** Does some product have a bit below 2^cut? a, b: exponents of last bits. */
// @ts-ignore: decorator
@inline
function any_below(a: usize, b: usize, bytes: usize, cut: i32): bool {
  const limit = i16x8.splat(<i16>cut), end = a + bytes
  let any = i16x8.splat(0)
  do {
    any = v128.or(any, i16x8.lt_s(i16x8.add(v128.load(a), v128.load(b)), limit))
    a += 16
    b += 16
  } while (a != end)
  return v128.any_true(any)
}

/** The sum of the products of two rows of words, in units of 2^(unit - point), each toward zero. */
function cut_sum(a: usize, b: usize, step: i32, unit: i32): f64 {
  let sum: f64 = 0
  for (const end = a + (<usize>step << 2); a != end; a += 4, b += 4) {
    const x = load<i32>(a), y = load<i32>(b), p = wordSig(x) * wordSig(y)
    if (p) sum += trunc(<f64>p * pow2(wordExp(x) + wordExp(y) - unit))
  }
  return sum
}

/** Step s of tile t by the plain kernel. */
function plain(t: i32, from: usize, to: usize, row: i32, column: i32, s: i32): void {
  const at = state(t), k = s * stepLength, steps = rowStride / stepLength
  store<i32>(at, 0, ZERO_TILE)
  for (let r = 0; r < min(ROWS, rowsA - row); r++) {
    for (let j = 0; j < min(COLUMNS, rowsB - column); j++) {
      const lane = <usize>(r * COLUMNS + j) << 3, i = row + r, n = column + j
      const bits = fdpa_full_step(wordsA + (<usize>(i * rowStride + k) << 2), wordsB + (<usize>(n * rowStride + k) << 2),
        load<u8>(flagsA + <usize>(i * steps + s)) | load<u8>(flagsB + <usize>(n * steps + s)), stepLength, to_bits(load<f64>(from + lane)), pointBits, fractionBits, floorExp, 0)
      if (isSpecial(bits, false)) store<i32>(at, 1, SPECIAL_TILE)
      store<f64>(to + lane, <f64>reinterpret<f32>(bits))
    }
  }
}

/** An accumulator as bits, NaN as NVIDIA writes it. */
// @ts-ignore: decorator
@inline
function to_bits(c: f64): u32 {
  const x = <f32>c
  return x == x ? reinterpret<u32>(x) : nanBits(false)
}

function load_tile(t: i32, c: usize, row: i32, column: i32): void {
  const at = state(t), to = tileAt(t), zero = i32x4.splat(0)
  for (let p = to; p < to + TILE; p += 16) v128.store(p, zero)
  store<u32>(scratch + LANES_AT + (<usize>t << 2), 0)
  store<u32>(scratch + LANES_AT + (<usize>(t | 1) << 2), 0)
  store<i32>(at, 0, SPECIAL_TILE)
  store<i32>(at, c ? 0 : 1, ZERO_TILE)
  if (!c) return
  for (let r = 0; r < min(ROWS, rowsA - row); r++) {
    for (let j = 0; j < min(COLUMNS, rowsB - column); j++) {
      const bits = load<u32>(c + (<usize>((row + r) * rowsB + column + j) << 2))
      if (isSpecial(bits, false)) store<i32>(at, 1, SPECIAL_TILE)
      store<f64>(to + (<usize>(r * COLUMNS + j) << 3), <f64>reinterpret<f32>(bits))
    }
  }
}

function store_tile(t: i32, d: usize, old: usize, row: i32, column: i32): void {
  const from = tileAt(t) + old
  for (let r = 0; r < min(ROWS, rowsA - row); r++) {
    const to = d + (<usize>((row + r) * rowsB + column) << 2), line = from + (<usize>(r * COLUMNS) << 3)
    for (let j = 0; j < min(COLUMNS, rowsB - column); j++) store<u32>(to + (<usize>j << 2), to_bits(load<f64>(line + (<usize>j << 3))))
  }
}
