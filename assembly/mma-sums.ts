// Truncated fused dot-product-add (T-FDPA, ST-FDPA) at nearly the speed of a GEMM, with the bits of mma_fdpa, for units whose accumulator is f32 rounded toward zero.
//
// A step cuts every term toward zero at u = 2^(E - F), adds exactly, and keeps 24 bits; E is the largest exponent of c and of the products, at most that of c or H, the
// largest exponent of the row's operand plus that of the column's. Let S be the sum of the products and x = c + S. RZ(x), a mask on an f64, is the result if nothing
// loses bits by being cut:
//   c does not where it is a multiple of 2^(H - F); or where its own exponent is E, since its last bit is then at least 2^(E - 23), and F >= 23;
//   a product does not where the last bits of its factors are together at least u.
// finish computes RZ(x) for a tile and whether its c are all multiples; they nearly always are. If not, lanes_in_doubt looks closer: what c loses is below 2^(H - F), and
// toward zero, so that the exact sum lies between x and x less 2^(H - F) in the direction of c; and RZ is monotone: where it gives the same for both, that is the
// result. This holds of numbers rounded to f64 too, since the exact sum is one (a multiple of u below 2^(F + 8) u), as are its parts and, if nothing is cut, x.
// ks_below tells at which k some product of the tile may lose bits, lanes_to_cut in which lanes. What is left in doubt is computed again from E (mma-sums-repair.ts).
//
// S is computed in f64, or, where significands are of at most four bits (FP8, FP6, FP4 elements), in integers: see mma-sums-pack.ts.
// A step that holds an Inf or NaN, or whose magnitudes could leave the f32 range, goes through the plain kernel. The floor of E cannot show: 2^(floor - F) is below
// 2^-149, of which every term is a multiple here.
import { COLUMNS, DEPTH, ROWS, TALL, TILE, beyond, load_tile, pow2, store_tile } from './mma-accumulators'
import { END_PAIR, FIRST_PAIR, HIGH, LOW, PLANES_USED, PLANE_STEP, coldBytes, hotBytes, infoAt, leastAt, planeAt, unitsAt } from './mma-sums-pack'
import { fractionBits, inIntegers, ks_below, lanes_to_cut, plain, repair, set_operands, stepLength } from './mma-sums-repair'
import { Both, Floats, INTEGER_TILE, Integers, add_scaled, finish, lanes_in_doubt } from './mma-sums-tile'
import { dot_4x16, dot_f64_4x16 } from './mma-tiles'
import { scratch } from './scratch'

/** Scratch: sums, i32 of one product of planes and then f64; masks of lanes, then what finish tells; for each tile of an item two sets of accumulators (f64) and its state. */
const SUMS_AT: usize = 0, MASKS_AT: usize = 1024, ANY_AT: usize = MASKS_AT + TILE + 160, MOST_AT: usize = ANY_AT + 32
const TILES_AT: usize = 2048, STATE_AT: usize = TILES_AT + 2 * TILE * <usize>TALL
/** A state: whether a NaN or Inf is among the accumulators, which of the two sets is current (its offset). */
const SPECIAL_TILE: usize = 0, CURRENT: usize = 4

// @ts-ignore: decorator
@inline
function state(t: i32): usize { return scratch + STATE_AT + (<usize>t << 3) }
// @ts-ignore: decorator
@inline
function tileAt(t: i32): usize { return scratch + TILES_AT + <usize>t * (2 * TILE) }

/**
 * T-FDPA and ST-FDPA over the panels of mma_pack_sums, with the bits of mma_fdpa and rounding 0 (RZ to f32). d[M, N] = chain of the steps first..last from c[M, N]
 * (0: from +0), bits of f32. a, b and their flags: what the panels were made of. Items: blocks of 64 rows by 16 columns, all columns of the first rows first.
 */
export function mma_sums(d: usize, c: usize, a_packed: usize, b_packed: usize, a: usize, a_flags: usize, b: usize, b_flags: usize, M: i32, N: i32, stride: i32,
  step: i32, first: i32, last: i32, point: i32, fraction: i32, floor: i32, integers: i32, begin: i32, end: i32): void {
  set_operands(a, a_flags, b, b_flags, M, N, stride, step, point, fraction, floor, integers != 0)
  const steps = stride / step, panelsA = (M + ROWS - 1) / ROWS, panelsB = (N + COLUMNS - 1) / COLUMNS
  const hotA = hotBytes(ROWS, step, inIntegers), hotB = hotBytes(COLUMNS, step, inIntegers), coldA = coldBytes(ROWS, step, inIntegers), coldB = coldBytes(COLUMNS, step, inIntegers)
  const a_cold = a_packed + <usize>(panelsA * steps) * hotA, b_cold = b_packed + <usize>(panelsB * steps) * hotB
  for (let item = begin; item < end; item++) {
    const panel0 = item / panelsB * TALL, column = item % panelsB
    const panels = min(TALL, panelsA - panel0), columns = min(COLUMNS, N - column * COLUMNS)
    for (let t = 0; t < panels; t++) {
      const row = (panel0 + t) * ROWS
      store<i32>(state(t), beyond(load_tile(tileAt(t), c ? c + (<usize>(row * N + column * COLUMNS) << 2) : 0, N, min(ROWS, M - row), columns)), SPECIAL_TILE)
      store<i32>(state(t), 0, CURRENT)
    }
    for (let s0 = first; s0 < last; s0 += DEPTH) {
      for (let t = 0; t < panels; t++) {
        for (let s = s0; s < min(s0 + DEPTH, last); s++) {
          const ia = <usize>((panel0 + t) * steps + s), ib = <usize>(column * steps + s)
          run(t, a_packed + ia * hotA, b_packed + ib * hotB, a_cold + ia * coldA, b_cold + ib * coldB, (panel0 + t) * ROWS, column * COLUMNS, s)
        }
      }
    }
    for (let t = 0; t < panels; t++) {
      const row = (panel0 + t) * ROWS
      store_tile(tileAt(t) + <usize>load<i32>(state(t), CURRENT), d + (<usize>(row * N + column * COLUMNS) << 2), N, min(ROWS, M - row), columns, load<i32>(state(t), SPECIAL_TILE) != 0)
    }
  }
}

/** Step s of tile t at (row, column), from the current accumulators into the others. */
function run(t: i32, pa: usize, pb: usize, coldA: usize, coldB: usize, row: i32, column: i32, s: i32): void {
  const at = state(t), step = stepLength, old = <usize>load<i32>(at, CURRENT), from = tileAt(t) + old, to = tileAt(t) + TILE - old
  const infoA = pa + infoAt(ROWS, step, inIntegers), infoB = pb + infoAt(COLUMNS, step, inIntegers)
  const high = load<i32>(infoA, HIGH) + load<i32>(infoB, HIGH), low = load<i32>(infoA, LOW) + load<i32>(infoB, LOW)
  store<i32>(at, <i32>(TILE - old), CURRENT)
  // Results above 2^-149 are exact; none leaves the range: a product is below 2^102, which |c| >= 2^127 cuts to nothing as F <= 25, and 32 of them below 2^107.
  if (load<i32>(at, SPECIAL_TILE) || high > 100 || low < -149) {
    store<i32>(at, plain(from, to, row, column, s), SPECIAL_TILE)
    return
  }
  const fa = pa + unitsAt(ROWS, step, inIntegers), fb = pb + unitsAt(COLUMNS, step, inIntegers)
  const ulp = pow2(-fractionBits), told = scratch + ANY_AT, masks = scratch + MASKS_AT
  const sums = scratch + SUMS_AT, whole = load<i32>(infoA, PLANES_USED) + load<i32>(infoB, PLANES_USED) == 2
  let lanes: u64 = 0
  if (!inIntegers) {
    dot_f64_4x16(step, pa, pb, sums + INTEGER_TILE)
    finish<Floats>(sums, fa, fb, from, to, told, ulp)
    if (some(told)) lanes = lanes_in_doubt<Floats>(sums, fa, fb, from, masks, ulp)
  } else if (whole) {
    dot_4x16(step >> 1, pa, pb, sums)
    finish<Integers>(sums, fa, fb, from, to, told, ulp)
    if (some(told)) lanes = lanes_in_doubt<Integers>(sums, fa, fb, from, masks, ulp)
  } else {
    other_planes(pa, pb, coldA, coldB, infoA, infoB, sums)
    dot_4x16(step >> 1, pa, pb, sums)
    finish<Both>(sums, fa, fb, from, to, told, ulp)
    if (some(told)) lanes = lanes_in_doubt<Both>(sums, fa, fb, from, masks, ulp)
  }
  const most = f64x2.pmax(v128.load(scratch + MOST_AT), v128.load(scratch + MOST_AT, 16))
  const cut = max(<i32>(max(i64x2.extract_lane(most, 0), i64x2.extract_lane(most, 1)) >> 52) - 1023, high) - fractionBits
  const leastA = pa + leastAt(ROWS, step, inIntegers), leastB = pb + leastAt(COLUMNS, step, inIntegers)
  const ks = ks_below(leastA, leastB, cut)
  if (ks) lanes |= lanes_to_cut(ks, from, pa, pb, coldA, coldB, masks)
  if (lanes) repair(lanes, ks, from, to, sums, !inIntegers || !whole, pa, pb, coldA, coldB, low, row, column, s)
}

// @ts-ignore: decorator
@inline
function some(told: usize): bool { return v128.any_true(v128.or(v128.load(told), v128.load(told, 16))) }

/** Sums in f64 of the products of planes other than the first of both operands, between the first and the last pair of k that are not 0. */
function other_planes(pa: usize, pb: usize, coldA: usize, coldB: usize, infoA: usize, infoB: usize, sums: usize): void {
  const step = stepLength, fa = pa + unitsAt(ROWS, step, true), fb = pb + unitsAt(COLUMNS, step, true), zero = i32x4.splat(0)
  for (let p = sums + INTEGER_TILE; p < sums + INTEGER_TILE + TILE; p += 16) v128.store(p, zero)
  for (let i = 0; i < load<i32>(infoA, PLANES_USED); i++) {
    for (let j = i ? 0 : 1; j < load<i32>(infoB, PLANES_USED); j++) {
      const first = max(i ? <i32>load<u8>(infoA + i - 1, FIRST_PAIR) : 0, j ? <i32>load<u8>(infoB + j - 1, FIRST_PAIR) : 0)
      const end = min(i ? <i32>load<u8>(infoA + i - 1, END_PAIR) : step >> 1, j ? <i32>load<u8>(infoB + j - 1, END_PAIR) : step >> 1)
      if (first >= end) continue
      const a = i ? coldA + planeAt(ROWS, step, i) : pa, b = j ? coldB + planeAt(COLUMNS, step, j) : pb
      dot_4x16(end - first, a + <usize>first * (4 * ROWS), b + <usize>first * (4 * COLUMNS), sums)
      add_scaled(sums, fa, fb, pow2(-PLANE_STEP * (i + j)))
    }
  }
}
