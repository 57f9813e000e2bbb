// Single lanes of mma-sums.ts: those that fail a condition, from E, and whole steps by the plain kernel.
import { COLUMNS, ROWS, TILE, pow2, to_bits } from './mma-accumulators'
import { fdpa_full_step } from './mma-fdpa'
import { RZ_F32, isSpecial } from './mma-round'
import { END_PAIR, FIRST_PAIR, PLANES_USED, PLANE_STEP, infoAt, largest, planeAt, topsAfter, unitsAt } from './mma-sums-pack'
import { INTEGER_TILE, mark_cut, tile_bits } from './mma-sums-tile'

/** The operands as mma_decode left them, their sizes, and the unit: set_operands. */
let wordsA: usize = 0, flagsA: usize = 0, wordsB: usize = 0, flagsB: usize = 0
let rowsA: i32 = 0, rowsB: i32 = 0, rowStride: i32 = 0, pointBits: i32 = 0, floorExp: i32 = 0
/** Elements of a step; F; whether sums are of integers. */
export let stepLength: i32 = 0
export let fractionBits: i32 = 0
export let inIntegers: bool = false

/** What the functions of this file and of mma-sums.ts work on, until the next call. */
export function set_operands(a: usize, a_flags: usize, b: usize, b_flags: usize, M: i32, N: i32, stride: i32, step: i32, point: i32, fraction: i32, floor: i32, integers: bool): void {
  inIntegers = integers
  wordsA = a; flagsA = a_flags; wordsB = b; flagsB = b_flags
  rowsA = M; rowsB = N; rowStride = stride; stepLength = step; pointBits = point; fractionBits = fraction; floorExp = floor
}

/** Step s of the tile at (row, column) by the plain kernel. Returns whether an Inf or NaN is among the results. Lanes outside the matrix stay zero. */
export function plain(from: usize, to: usize, row: i32, column: i32, s: i32): bool {
  const k = s * stepLength, steps = rowStride / stepLength
  let special = false
  for (let r = 0; r < min(ROWS, rowsA - row); r++) {
    for (let j = 0; j < min(COLUMNS, rowsB - column); j++) {
      const lane = <usize>(r * COLUMNS + j) << 3, i = row + r, n = column + j
      const bits = fdpa_full_step(wordsA + (<usize>(i * rowStride + k) << 2), wordsB + (<usize>(n * rowStride + k) << 2),
        load<u8>(flagsA + <usize>(i * steps + s)) | load<u8>(flagsB + <usize>(n * steps + s)), stepLength, to_bits(load<f64>(from + lane)), pointBits, fractionBits, floorExp, RZ_F32)
      special = special || isSpecial(bits, false)
      store<f64>(to + lane, <f64>reinterpret<f32>(bits))
    }
  }
  return special
}

/** The k, a bit each, at which some row and some column have last bits that are together below 2^cut. a, b: least last bits of the panels. */
export function ks_below(a: usize, b: usize, cut: i32): u32 {
  const limit = i16x8.splat(<i16>cut)
  let any = i16x8.lt_s(i16x8.add(v128.load(a), v128.load(b)), limit), next = i16x8.splat(0)
  if (stepLength <= 8) return i8x16.bitmask(i8x16.narrow_i16x8_s(any, next))
  next = i16x8.lt_s(i16x8.add(v128.load(a, 16), v128.load(b, 16)), limit)
  const bits = <u32>i8x16.bitmask(i8x16.narrow_i16x8_s(any, next))
  if (stepLength == 16) return bits
  any = i16x8.lt_s(i16x8.add(v128.load(a, 32), v128.load(b, 32)), limit)
  next = i16x8.lt_s(i16x8.add(v128.load(a, 48), v128.load(b, 48)), limit)
  return bits | <u32>i8x16.bitmask(i8x16.narrow_i16x8_s(any, next)) << 16
}

/** Element k of row r of a panel of `width`. */
function value(panel: usize, cold: usize, width: i32, r: i32, k: i32): f64 {
  if (!inIntegers) return load<f64>(panel + (<usize>(k * width + r) << 3))
  const at = (<usize>((k >> 1) * width + r) << 2) + (<usize>(k & 1) << 1), unit = load<f64>(panel + unitsAt(width, stepLength, true) + (<usize>r << 3))
  const n = <i32>load<i16>(panel + at), planes = load<i32>(panel + infoAt(width, stepLength, true), PLANES_USED)
  if (n || planes == 1) return <f64>n * unit
  let sum: f64 = 0
  for (let i = 1; i < planes; i++) sum += <f64>load<i16>(cold + planeAt(width, stepLength, i) + at) * (unit * pow2(-PLANE_STEP * i))
  return sum
}

/** Elements k of the rows of a panel of `width`, to[width]. */
// @ts-ignore: decorator
@inline
function values(to: usize, panel: usize, cold: usize, width: i32, k: i32): void {
  const rows = <usize>width << 3
  if (!inIntegers) {
    for (let p: usize = 0; p < rows; p += 16) v128.store(to + p, v128.load(panel + <usize>k * rows + p))
    return
  }
  const pair = k >> 1, upper = (k & 1) << 4 ^ 16, units = panel + unitsAt(width, stepLength, true), info = panel + infoAt(width, stepLength, true)
  for (let i = 0; i < load<i32>(info, PLANES_USED); i++) {
    if (i && (pair < <i32>load<u8>(info + i - 1, FIRST_PAIR) || pair >= <i32>load<u8>(info + i - 1, END_PAIR))) continue
    const weight = f64x2.splat(pow2(-PLANE_STEP * i)), from = (i ? cold + planeAt(width, stepLength, i) : panel) + (<usize>(pair * width) << 2)
    for (let p: usize = 0; p < rows; p += 32) {
      const n = i32x4.shr_s(i32x4.shl(v128.load(from + (p >> 1)), upper), 16)
      let x = f64x2.mul(f64x2.convert_low_i32x4_s(n), v128.load(units + p)), y = f64x2.mul(f64x2.convert_low_i32x4_s(v128.shuffle<i32>(n, n, 2, 3, 0, 1)), v128.load(units + p, 16))
      if (i) { // in one plane alone it is not 0
        x = f64x2.add(v128.load(to + p), f64x2.mul(x, weight))
        y = f64x2.add(v128.load(to + p, 16), f64x2.mul(y, weight))
      }
      v128.store(to + p, y, 16)
      v128.store(to + p, x)
    }
  }
}

/** The lanes, a bit each, with a product to cut at one of the k of ks_below. from: the accumulators; masks: 512 bytes, and 160 more, to work in. */
export function lanes_to_cut(ks: u32, from: usize, pa: usize, pb: usize, coldA: usize, coldB: usize, masks: usize): u64 {
  const fa = pa + unitsAt(ROWS, stepLength, inIntegers), fb = pb + unitsAt(COLUMNS, stepLength, inIntegers), columns = masks + TILE, rows = columns + 128
  let lanes: u64 = 0
  for (; ks; ks &= ks - 1) {
    const k = <i32>ctz(ks)
    values(rows, pa, coldA, ROWS, k)
    values(columns, pb, coldB, COLUMNS, k)
    mark_cut(rows, columns, fa, fb, from, masks, pow2(-fractionBits))
    lanes |= tile_bits(masks)
  }
  return lanes
}

/** floor(log2 |x|) of a normal f64. */
// @ts-ignore: decorator
@inline
function log2(x: f64): i32 { return (<i32>(reinterpret<u64>(x) >> 52) & 2047) - 1023 }

/**
 * Lanes of a step again, from E: those with a c or a product to cut, hence not 0. Products lose bits at `ks` alone. from, to: the tile's accumulators before and after; sums: as finish took
 * them, i32 (`inIntegers`), f64 (`floats`) or both; low: a bound on the last bits of all products; row, column: of the tile.
 */
export function repair(lanes: u64, ks: u32, from: usize, to: usize, sums: usize, floats: bool, pa: usize, pb: usize, coldA: usize, coldB: usize,
  low: i32, row: i32, column: i32, s: i32): void {
  const fa = pa + unitsAt(ROWS, stepLength, inIntegers), fb = pb + unitsAt(COLUMNS, stepLength, inIntegers)
  for (; lanes; lanes &= lanes - 1) {
    const at = <i32>ctz(lanes), r = at / COLUMNS, j = at % COLUMNS, lane = <usize>at << 3
    const ua = fa + (<usize>r << 3), ub = fb + (<usize>j << 3)
    const high = load<f64>(ua + topsAfter(ROWS)) * load<f64>(ub + topsAfter(COLUMNS))
    const c = load<f64>(from + lane)
    let E = log2(c) // of a subnormal and of 0 too little, but -126 cuts no term, and 0 does not count
    if (abs(c) < high) E = max(E, top_exponent(row + r, column + j, s))
    const cut = E - fractionBits, unit = pow2(cut), scale = pow2(-cut)
    let sum: f64 = floats ? load<f64>(sums + INTEGER_TILE + lane) : 0
    if (inIntegers) sum += <f64>load<i32>(sums + (lane >> 1)) * load<f64>(ub) * load<f64>(ua)
    // Beyond 45 binades sums of 32 products need not be exact in f64 before they are cut.
    if (high > pow2(low + 45)) {
      sum = 0
      for (let k = 0; k < stepLength; k++) {
        const p = value(pa, coldA, ROWS, r, k) * value(pb, coldB, COLUMNS, j, k)
        sum += trunc(p * scale) * unit
      }
    } else if (!inIntegers) {
      const x = pa + (<usize>r << 3), y = pb + (<usize>j << 3)
      for (let k: usize = 0; k < <usize>stepLength; k++) {
        const p = load<f64>(x + k * (8 * ROWS)) * load<f64>(y + k * (8 * COLUMNS))
        sum += trunc(p * scale) * unit - p
      }
    } else {
      for (let rest = ks; rest; rest &= rest - 1) {
        const k = <i32>ctz(rest), p = value(pa, coldA, ROWS, r, k) * value(pb, coldB, COLUMNS, j, k)
        sum += trunc(p * scale) * unit - p
      }
    }
    store<u64>(to + lane, reinterpret<u64>(trunc(c * scale) * unit + sum) & 0xffffffffe0000000)
  }
}

const HIGH_HALVES = memory.data<i32>([-0x10000, -0x10000, -0x10000, -0x10000])

/** Largest exponent of the products of step s of row i of A and row j of B. */
function top_exponent(i: i32, j: i32, s: i32): i32 {
  let a = wordsA + (<usize>(i * rowStride + s * stepLength) << 2), b = wordsB + (<usize>(j * rowStride + s * stepLength) << 2)
  const mask = v128.load(HIGH_HALVES), end = a + (<usize>stepLength << 2)
  let top = i32x4.splat(i32.MIN_VALUE)
  do {
    top = i32x4.max_s(top, i32x4.add(v128.and(v128.load(a), mask), v128.and(v128.load(b), mask)))
    a += 16
    b += 16
  } while (a != end)
  return largest(top) >> 16
}
