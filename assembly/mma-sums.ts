// Truncated fused dot-product-add (T-FDPA, ST-FDPA) at the speed of a GEMM in f64, with the bits of mma_fdpa, for units whose accumulator is f32 rounded toward zero.
//
// A step cuts every term toward zero at 2^(E - F), adds exactly, and keeps 24 bits. E is at most max(H, exponent of c), where H, the largest exponent of the row's
// operand plus that of the column's, bounds the products' exponents; and every product is a multiple of 2^L, with L the sum of the two operands' least last bits. So
//   |c| >= 2^(H - F + 23)              says that nothing of c is cut,
//   |c| and 2^H below 2^(L + F + 1)    says that nothing of a product is cut,
// and then d = RZ(c + sum of products) with a sum that fits f64 exactly (at most F + 9 bits), and RZ is a mask. The two conditions are checked in every lane. In a lane
// that fails one, E is computed (repair); few products are cut even then, and what is cut is cut term by term.
// A step that holds an Inf or NaN, or whose magnitudes could leave the f32 range, goes through the plain kernel. The floor of E cannot show: 2^(floor - F) is below
// 2^-149, of which every term is a multiple here.
import { fdpa_full_step } from './mma-fdpa'
import { isSpecial, nanBits } from './mma-round'
import { dot_f64_4x8 } from './mma-tiles'
import { scratch } from './scratch'

/** Rows of a panel of A, columns of a panel of B. */
const ROWS: i32 = 4, COLUMNS: i32 = 8
/** Panels of A in one item: 64 rows. */
const TALL: i32 = 16
/** Products along k done for one tile before the next: a panel of B of that length stays in the first-level cache. */
const DEPTH: i32 = 256

/**
 * A panel of `width` rows, one step: f64 values [step][width]; f64 2^H and 2^L of each row; i16 exponents of last bits [width][at least 8];
 * then four i32: holds Inf or NaN, largest H, least L.
 */
// @ts-ignore: decorator
@inline
function panelBytes(width: i32, step: i32): usize { return <usize>((8 * step + 16 + 2 * max(step, 8)) * width + 16) }
const SPECIAL: usize = 0, HIGH: usize = 4, LOW: usize = 8
/** L of zeros, minus their H. Sums of two fit i16. */
const NONE: i32 = 8192

/** 2^n. */
// @ts-ignore: decorator
@inline
function pow2(n: i32): f64 { return reinterpret<f64>(<u64>(n + 1023) << 52) }
/** floor(log2 |x|) of a normal f64. */
// @ts-ignore: decorator
@inline
function log2(x: f64): i32 { return (<i32>(reinterpret<u64>(x) >> 52) & 2047) - 1023 }

/** Scratch: sums and the lanes to repair of a tile; for each tile of an item two sets of accumulators (f64) and its state. */
const SUMS_AT: usize = 0, FAILED_AT: usize = 256, ANY_AT: usize = 512
const TILES_AT: usize = 1024, SET: usize = 256, TILE: usize = 512
const STATE_AT: usize = TILES_AT + <usize>TALL * TILE

/** What rows beyond the matrix are packed from. */
const ZEROS_AT: usize = STATE_AT + 1024

/** Panels of `width` rows (4 for A, 8 for B) from the words and flags of mma_decode, [rows, stride] and [rows, stride / step]. Items: panels. */
export function mma_pack_sums(packed: usize, words: usize, flags: usize, rows: i32, stride: i32, step: i32, man_bits: i32, width: i32, begin: i32, end: i32): void {
  const steps = stride / step, lastBits = <usize>max(step, 8) << 1
  const zero = i32x4.splat(0), none = i32x4.splat(NONE), bias = i32x4.splat(1023 - man_bits), man = i32x4.splat(man_bits)
  for (let k = 0; k < step; k++) store<i32>(scratch + ZEROS_AT + (<usize>k << 2), -NONE << 16)
  for (let panel = begin; panel < end; panel++) {
    for (let s = 0; s < steps; s++) {
      const to = packed + <usize>(panel * steps + s) * panelBytes(width, step)
      const factors = to + <usize>(8 * step * width), lasts = factors + <usize>(16 * width), info = lasts + <usize>width * lastBits
      let special = 0, tileHigh = -NONE, tileLow = NONE
      for (let r = 0; r < width; r++) {
        const row = panel * width + r
        let from = scratch + ZEROS_AT
        if (row < rows) {
          from = words + (<usize>(row * stride + s * step) << 2)
          special |= <i32>load<u8>(flags + <usize>(row * steps + s))
        }
        let high = i32x4.neg(none), low = none
        let value = to + (<usize>r << 3), last = lasts + <usize>r * lastBits
        const valueEnd = value + <usize>(8 * step * width)
        if (step < 8) v128.store(last, i16x8.splat(<i16>NONE))
        do {
          const w = v128.load(from), exp = i32x4.shr_s(w, 16), sig = i32x4.shr_s(i32x4.shl(w, 16), 16)
          // The last bit's exponent: that of sig & -sig as a float. Zeros have none.
          const bit = i32x4.shr_s(f32x4.convert_i32x4_s(v128.and(sig, i32x4.neg(sig))), 23)
          const lastBit = v128.bitselect(none, i32x4.add(i32x4.sub(exp, man), i32x4.sub(bit, i32x4.splat(127))), i32x4.eq(sig, zero))
          high = i32x4.max_s(high, exp)
          low = i32x4.min_s(low, lastBit)
          v128.store64_lane(last, i16x8.narrow_i32x4_s(lastBit, lastBit), 0)
          const field = i32x4.max_s(i32x4.add(exp, bias), zero) // 2^(exp - man_bits); 0 for a zero
          const x = f64x2.mul(f64x2.convert_low_i32x4_s(sig), i64x2.shl(i64x2.extend_low_i32x4_u(field), 52))
          const y = f64x2.mul(f64x2.convert_low_i32x4_s(v128.shuffle<i32>(sig, sig, 2, 3, 0, 1)), i64x2.shl(i64x2.extend_high_i32x4_u(field), 52))
          v128.store64_lane(value, x, 0)
          value += <usize>width << 3
          v128.store64_lane(value, x, 1)
          value += <usize>width << 3
          v128.store64_lane(value, y, 0)
          value += <usize>width << 3
          v128.store64_lane(value, y, 1)
          value += <usize>width << 3
          from += 16
          last += 8
        } while (value != valueEnd)
        const h = largest(high), l = -largest(i32x4.neg(low))
        tileHigh = max(tileHigh, h)
        tileLow = min(tileLow, l)
        store<f64>(factors + (<usize>r << 3), h == -NONE ? 0 : pow2(h))
        store<f64>(factors + (<usize>(width + r) << 3), l == NONE ? pow2(500) : pow2(l))
      }
      store<i32>(info, special, SPECIAL)
      store<i32>(info, tileHigh, HIGH)
      store<i32>(info, tileLow, LOW)
    }
  }
}

// @ts-ignore: decorator
@inline
function largest(x: v128): i32 {
  x = i32x4.max_s(x, v128.shuffle<i32>(x, x, 2, 3, 0, 1))
  return max(i32x4.extract_lane(x, 0), i32x4.extract_lane(x, 1))
}

/** The operands as mma_decode left them, for the lanes that need more than sums; and the unit. */
let wordsA: usize = 0, flagsA: usize = 0, wordsB: usize = 0, flagsB: usize = 0
let rowsA: i32 = 0, rowsB: i32 = 0, rowStride: i32 = 0, stepLength: i32 = 0, fractionBits: i32 = 0, pointBits: i32 = 0, floorExp: i32 = 0

/**
 * T-FDPA and ST-FDPA over the panels of mma_pack_sums, with the bits of mma_fdpa and rounding 0 (RZ to f32). d[M, N] = chain of the steps first..last from c[M, N]
 * (0: from +0), bits of f32. a, b and their flags: what the panels were made of. Items: blocks of 64 rows by 8 columns, all columns of the first rows first.
 */
export function mma_sums(d: usize, c: usize, a_packed: usize, b_packed: usize, a: usize, a_flags: usize, b: usize, b_flags: usize, M: i32, N: i32, stride: i32,
  step: i32, first: i32, last: i32, point: i32, fraction: i32, floor: i32, begin: i32, end: i32): void {
  wordsA = a; flagsA = a_flags; wordsB = b; flagsB = b_flags
  rowsA = M; rowsB = N; rowStride = stride; stepLength = step; fractionBits = fraction; pointBits = point; floorExp = floor
  const steps = stride / step, depth = DEPTH / step
  const columns = (N + COLUMNS - 1) / COLUMNS
  const bytesA = panelBytes(ROWS, step), bytesB = panelBytes(COLUMNS, step)
  for (let item = begin; item < end; item++) {
    const panel0 = item / columns * TALL, column = item % columns
    const panels = min(TALL, (M + ROWS - 1) / ROWS - panel0)
    for (let t = 0; t < panels; t++) load_tile(t, c, (panel0 + t) * ROWS, column * COLUMNS)
    for (let s = first; s < last; s += depth) {
      const count = min(depth, last - s)
      for (let t = 0; t < panels; t++) {
        let pa = a_packed + <usize>((panel0 + t) * steps + s) * bytesA, pb = b_packed + <usize>(column * steps + s) * bytesB
        for (let i = 0; i < count; i++) {
          run(t, pa, pb, (panel0 + t) * ROWS, column * COLUMNS, s + i)
          pa += bytesA
          pb += bytesB
        }
      }
    }
    for (let t = 0; t < panels; t++) store_tile(t, d, (panel0 + t) * ROWS, column * COLUMNS)
  }
}

/** A tile's state: which of its two sets of accumulators is current (byte offset); whether a NaN or Inf is among them; whether all of them may be zero. */
// @ts-ignore: decorator
@inline
function state(t: i32): usize { return scratch + STATE_AT + (<usize>t << 4) }
// @ts-ignore: decorator
@inline
function tileAt(t: i32): usize { return scratch + TILES_AT + <usize>t * TILE }

/** Step s of tile t. */
function run(t: i32, pa: usize, pb: usize, row: i32, column: i32, s: i32): void {
  const at = state(t), step = stepLength
  const old = <usize>load<i32>(at), from = tileAt(t) + old, to = tileAt(t) + SET - old
  const fa = pa + <usize>(8 * step * ROWS), fb = pb + <usize>(8 * step * COLUMNS)
  const infoA = fa + <usize>((16 + 2 * max(step, 8)) * ROWS), infoB = fb + <usize>((16 + 2 * max(step, 8)) * COLUMNS)
  store<i32>(at, <i32>(SET - old))
  // Sums stay below 2^(H + 7), accumulators below 2^(L + F + 1) or repaired, results above 2^-149 or exact.
  if (load<i32>(infoA, SPECIAL) | load<i32>(infoB, SPECIAL) | load<i32>(at, 4) || load<i32>(infoA, HIGH) + load<i32>(infoB, HIGH) > 100 || load<i32>(infoA, LOW) + load<i32>(infoB, LOW) < -149) {
    plain(t, from, to, row, column, s)
    return
  }
  dot_f64_4x8(step, pa, pb, scratch + SUMS_AT)
  finish(fa, fb, from, to, load<i32>(at, 8) ? 0 : pow2(23 - fractionBits), pow2(fractionBits + 1))
  store<i32>(at, 0, 8)
  if (v128.any_true(v128.or(v128.load(scratch + ANY_AT), v128.load(scratch + ANY_AT, 16)))) repair(at, fa, fb, from, to, row, column, s)
}

/** Masks: the 24 leading bits of an f64; all but its sign. */
const KEEP = memory.data<i64>([-0x20000000, -0x20000000, 0x7fffffffffffffff, 0x7fffffffffffffff])

/** to = RZ(from + sums), and at FAILED_AT which lanes fail a condition; their union at ANY_AT. `least` and `most`: the conditions' constants, 2^(23 - F) and 2^(F + 1). */
function finish(fa: usize, fb: usize, from: usize, to: usize, least: f64, most: f64): void {
  const keep = v128.load(KEEP), magnitude = v128.load(KEEP, 16)
  let any0 = i64x2.splat(0), any1 = any0
  let sums = scratch + SUMS_AT, failed = scratch + FAILED_AT
  for (let r = 0; r < ROWS; r++) {
    const high = load<f64>(fa), top = f64x2.splat(high), leastTop = f64x2.splat(high * least), low = f64x2.splat(load<f64>(fa, 8 * ROWS) * most)
    const end = to + 64
    do {
      const c0 = v128.load(from), c1 = v128.load(from, 16)
      const d0 = v128.and(f64x2.add(c0, v128.load(sums)), keep)
      const d1 = v128.and(f64x2.add(c1, v128.load(sums, 16)), keep)
      const h0 = v128.load(fb), h1 = v128.load(fb, 16)
      const a0 = v128.and(c0, magnitude), a1 = v128.and(c1, magnitude)
      const l0 = f64x2.mul(v128.load(fb, 8 * COLUMNS), low), l1 = f64x2.mul(v128.load(fb, 8 * COLUMNS + 16), low)
      const x0 = v128.or(f64x2.lt(a0, f64x2.mul(h0, leastTop)), f64x2.le(l0, f64x2.pmax(a0, f64x2.mul(h0, top))))
      const x1 = v128.or(f64x2.lt(a1, f64x2.mul(h1, leastTop)), f64x2.le(l1, f64x2.pmax(a1, f64x2.mul(h1, top))))
      any0 = v128.or(any0, x0)
      any1 = v128.or(any1, x1)
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
  v128.store(scratch + ANY_AT, any0)
  v128.store(scratch + ANY_AT, any1, 16)
}

/** The failed lanes of a step again, from E. */
function repair(at: usize, fa: usize, fb: usize, from: usize, to: usize, row: i32, column: i32, s: i32): void {
  const lanes = scratch + FAILED_AT
  for (let lane = 0; lane < ROWS * COLUMNS; lane += 2) {
    let bits = i64x2.bitmask(v128.load(lanes + (<usize>lane << 3)))
    if (!bits) continue
    if (bits & 1) repair_lane(at, fa, fb, from, to, row, column, s, lane)
    if (bits & 2) repair_lane(at, fa, fb, from, to, row, column, s, lane + 1)
  }
}

function repair_lane(at: usize, fa: usize, fb: usize, from: usize, to: usize, row: i32, column: i32, s: i32, lane: i32): void {
  const r = <usize>(lane / COLUMNS), j = <usize>(lane % COLUMNS), step = stepLength
  const high = load<f64>(fa + (r << 3)) * load<f64>(fb + (j << 3)), low = load<f64>(fa + (r << 3), 8 * ROWS) * load<f64>(fb + (j << 3), 8 * COLUMNS)
  if (high == 0) return // products of zeros: RZ(c + 0) = c
  const c = load<f64>(from + (<usize>lane << 3))
  let E = c != 0 ? max(log2(c), -126) : -NONE
  if (E < log2(high)) {
    const k = s * step
    E = max(E, top_exponent(wordsA + (<usize>((row + <i32>r) * rowStride + k) << 2), wordsB + (<usize>((column + <i32>j) * rowStride + k) << 2), step))
  }
  const cut = E - fractionBits, unit = pow2(cut)
  let sum = load<f64>(scratch + SUMS_AT + (<usize>lane << 3))
  // Is a product cut? Beyond 45 binades the sum need not be exact in f64 either.
  if (low < unit) {
    const last = <usize>max(step, 8) << 1
    if (high > low * pow2(45) || any_below(fa + 16 * ROWS + r * last, fb + 16 * COLUMNS + j * last, last, cut)) {
      sum = cut_sum(fa - <usize>(8 * step * ROWS) + (r << 3), fb - <usize>(8 * step * COLUMNS) + (j << 3), step, pow2(-cut)) * unit
    }
  }
  let d = reinterpret<f64>(reinterpret<u64>(trunc(c * pow2(-cut)) * unit + sum) & 0xffffffffe0000000)
  if (abs(d) >= pow2(128)) {
    d = copysign<f64>(Infinity, d)
    store<i32>(at, 1, 4)
  }
  store<f64>(to + (<usize>lane << 3), d)
}

const HIGH_HALVES = memory.data<i32>([-0x10000, -0x10000, -0x10000, -0x10000])

/** Largest exponent of the products of two rows of words. */
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

/** The sum of the products in units of 1 / scale, each toward zero. a, b: a row's values in a panel. */
function cut_sum(a: usize, b: usize, step: i32, scale: f64): f64 {
  let sum: f64 = 0
  for (let k = 0; k < step; k++) {
    sum += trunc(load<f64>(a) * load<f64>(b) * scale)
    a += 8 * ROWS
    b += 8 * COLUMNS
  }
  return sum
}

/** Step s of tile t by the plain kernel. */
function plain(t: i32, from: usize, to: usize, row: i32, column: i32, s: i32): void {
  const at = state(t), k = s * stepLength, steps = rowStride / stepLength
  store<i32>(at, 0, 8)
  for (let r = 0; r < min(ROWS, rowsA - row); r++) {
    for (let j = 0; j < min(COLUMNS, rowsB - column); j++) {
      const lane = <usize>(r * COLUMNS + j) << 3, i = row + r, n = column + j
      const bits = fdpa_full_step(wordsA + (<usize>(i * rowStride + k) << 2), wordsB + (<usize>(n * rowStride + k) << 2),
        load<u8>(flagsA + <usize>(i * steps + s)) | load<u8>(flagsB + <usize>(n * steps + s)), stepLength, to_bits(load<f64>(from + lane)), pointBits, fractionBits, floorExp, 0)
      if (isSpecial(bits, false)) store<i32>(at, 1, 4)
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
  v128.store(at, zero)
  store<i32>(at, c ? 0 : 1, 8)
  if (!c) return
  for (let r = 0; r < min(ROWS, rowsA - row); r++) {
    for (let j = 0; j < min(COLUMNS, rowsB - column); j++) {
      const bits = load<u32>(c + (<usize>((row + r) * rowsB + column + j) << 2))
      if (isSpecial(bits, false)) store<i32>(at, 1, 4)
      store<f64>(to + (<usize>(r * COLUMNS + j) << 3), <f64>reinterpret<f32>(bits))
    }
  }
}

function store_tile(t: i32, d: usize, row: i32, column: i32): void {
  const from = tileAt(t) + <usize>load<i32>(state(t))
  for (let r = 0; r < min(ROWS, rowsA - row); r++) {
    const to = d + (<usize>((row + r) * rowsB + column) << 2), line = from + (<usize>(r * COLUMNS) << 3)
    for (let j = 0; j < min(COLUMNS, rowsB - column); j++) store<u32>(to + (<usize>j << 2), to_bits(load<f64>(line + (<usize>j << 3))))
  }
}
