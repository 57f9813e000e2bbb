// Truncated fused dot-product-add (T-FDPA, ST-FDPA) at nearly the speed of a GEMM, with the bits of mma_fdpa, for units whose accumulator is f32 rounded toward zero.
//
// A step cuts every term toward zero at u = 2^(E - F), adds exactly, and keeps 24 bits; E is the largest exponent of c and of the products, at most that of c or H, the
// largest exponent of the row's operand plus that of the column's. All that is cut, rarely anything, are the last bits of
//   a product, only where the last bits of its factors are together below u,
//   c, only where |c| < t = 2^(H - F + 23) (else its own last bit is at least 2^(E - F), as F >= 23), and then by less than 2^-23 t, toward zero.
// Let S be the sum of the products, none of them cut, and x = c + S: RZ(x) is the result if nothing of c is cut either. If something is, the exact sum lies between x and
// x less 2^-23 t in the direction of c, and RZ is monotone: where it gives the same for both, that is the result. This holds of the numbers rounded to f64 too,
// since the exact sum is one (a multiple of u below 2^(F + 8) u), as are S and, if nothing is cut, c + S. RZ to 24 bits of an f64 is a mask.
//
// S is computed in f64, or, where significands are of at most four bits (FP8, FP6, FP4 elements), in integers: see mma-sums-pack.ts. finish computes all of this, for a
// tile, and tells which lanes fail; any_below, whether some lane of the tile may have a product to cut. Those lanes are computed again from E (mma-sums-repair.ts).
// A step that holds an Inf or NaN, or whose magnitudes could leave the f32 range, goes through the plain kernel. The floor of E cannot show: 2^(floor - F) is below
// 2^-149, of which every term is a multiple here. Results above the range come only from |c| >= 2^126, which cuts every product: repair sees them.
import { COLUMNS, HIGH, LOW, PLANES_USED, PLANE_STEP, ROWS, coldBytes, hotBytes, infoAt, leastAt, planeAt, pow2, unitsAt } from './mma-sums-pack'
import { any_below, lanes_below, log2, plain, repair, set_operands } from './mma-sums-repair'
import { TILE, add_scaled, finish, lanes_in_doubt, load_tile, store_tile } from './mma-sums-tile'
import { dot_4x16, dot_f64_4x16 } from './mma-tiles'
import { scratch } from './scratch'

/** Panels of A in one item: 64 rows. */
const TALL: i32 = 16
/** Steps done for one tile before the next: a panel of B of that length stays in the first-level cache. */
const DEPTH: i32 = 8

/** Scratch: sums, f64 or i32 of one product of planes; masks of lanes, then what finish tells; for each tile of an item two sets of accumulators (f64) and its state. */
const SUMS_AT: usize = 0, INTEGERS_AT: usize = 512, MASKS_AT: usize = 1024, ANY_AT: usize = MASKS_AT + TILE, MOST_AT: usize = ANY_AT + 32
const TILES_AT: usize = 2048, STATE_AT: usize = TILES_AT + 2 * TILE * <usize>TALL
/** A state: whether a NaN or Inf is among the accumulators, which of the two sets is current (its offset). */
const SPECIAL_TILE: usize = 0, CURRENT: usize = 4

// @ts-ignore: decorator
@inline
function state(t: i32): usize { return scratch + STATE_AT + (<usize>t << 3) }
// @ts-ignore: decorator
@inline
function tileAt(t: i32): usize { return scratch + TILES_AT + <usize>t * (2 * TILE) }

let stepLength: i32 = 0, fractionBits: i32 = 0, inIntegers: bool = false

/**
 * T-FDPA and ST-FDPA over the panels of mma_pack_sums, with the bits of mma_fdpa and rounding 0 (RZ to f32). d[M, N] = chain of the steps first..last from c[M, N]
 * (0: from +0), bits of f32. a, b and their flags: what the panels were made of. Items: blocks of 64 rows by 16 columns, all columns of the first rows first.
 */
export function mma_sums(d: usize, c: usize, a_packed: usize, b_packed: usize, a: usize, a_flags: usize, b: usize, b_flags: usize, M: i32, N: i32, stride: i32,
  step: i32, first: i32, last: i32, point: i32, fraction: i32, floor: i32, integers: i32, begin: i32, end: i32): void {
  set_operands(a, a_flags, b, b_flags, M, N, stride, step, point, fraction, floor)
  stepLength = step; fractionBits = fraction; inIntegers = integers != 0
  const steps = stride / step, panelsA = (M + ROWS - 1) / ROWS, panelsB = (N + COLUMNS - 1) / COLUMNS
  const hotA = hotBytes(ROWS, step, inIntegers), hotB = hotBytes(COLUMNS, step, inIntegers), coldA = coldBytes(ROWS, step, inIntegers), coldB = coldBytes(COLUMNS, step, inIntegers)
  const a_cold = a_packed + <usize>(panelsA * steps) * hotA, b_cold = b_packed + <usize>(panelsB * steps) * hotB
  for (let item = begin; item < end; item++) {
    const panel0 = item / panelsB * TALL, column = item % panelsB
    const panels = min(TALL, panelsA - panel0), columns = min(COLUMNS, N - column * COLUMNS)
    for (let t = 0; t < panels; t++) {
      const row = (panel0 + t) * ROWS
      store<i32>(state(t), load_tile(tileAt(t), c ? c + (<usize>(row * N + column * COLUMNS) << 2) : 0, N, min(ROWS, M - row), columns), SPECIAL_TILE)
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
  // Sums stay below 2^(high + 7), results above 2^-149 or exact.
  if (load<i32>(at, SPECIAL_TILE) || high > 100 || low < -149) {
    store<i32>(at, plain(from, to, row, column, s), SPECIAL_TILE)
    return
  }
  const fa = pa + unitsAt(ROWS, step, inIntegers), fb = pb + unitsAt(COLUMNS, step, inIntegers)
  const ulp = pow2(-fractionBits), told = scratch + ANY_AT, masks = scratch + MASKS_AT
  let sums = scratch + SUMS_AT, lanes: u64 = 0
  const whole = inIntegers && load<i32>(infoA, PLANES_USED) + load<i32>(infoB, PLANES_USED) == 2
  if (whole) {
    sums = scratch + INTEGERS_AT
    dot_4x16(step >> 1, pa, pb, sums)
    finish<i32>(sums, fa, fb, from, to, told, ulp)
    if (some(told)) lanes = lanes_in_doubt<i32>(sums, fa, fb, from, masks, ulp)
  } else {
    if (inIntegers) plane_sums(pa, pb, coldA, coldB, load<i32>(infoA, PLANES_USED), load<i32>(infoB, PLANES_USED), sums)
    else dot_f64_4x16(step, pa, pb, sums)
    finish<f64>(sums, fa, fb, from, to, told, ulp)
    if (some(told)) lanes = lanes_in_doubt<f64>(sums, fa, fb, from, masks, ulp)
  }
  const most = f64x2.pmax(v128.load(scratch + MOST_AT), v128.load(scratch + MOST_AT, 16))
  const cut = max(log2(max(f64x2.extract_lane(most, 0), f64x2.extract_lane(most, 1))), high) - fractionBits
  const leastA = pa + leastAt(ROWS, step, inIntegers), leastB = pb + leastAt(COLUMNS, step, inIntegers)
  if (any_below(leastA, leastB, cut)) lanes |= lanes_below(leastA, leastB, coldA, coldB, cut)
  if (lanes) store<i32>(at, repair(lanes, from, to, sums, whole, fa, fb, coldA, coldB, low, row, column, s), SPECIAL_TILE)
}

// @ts-ignore: decorator
@inline
function some(told: usize): bool { return v128.any_true(v128.or(v128.load(told), v128.load(told, 16))) }

/** The sums of a tile from all planes of both operands. */
function plane_sums(pa: usize, pb: usize, coldA: usize, coldB: usize, planesA: i32, planesB: i32, sums: usize): void {
  const step = stepLength, integers = scratch + INTEGERS_AT, fa = pa + unitsAt(ROWS, step, true), fb = pb + unitsAt(COLUMNS, step, true), zero = i32x4.splat(0)
  for (let p = sums; p < sums + TILE; p += 16) v128.store(p, zero)
  for (let i = 0; i < planesA; i++) {
    for (let j = 0; j < planesB; j++) {
      dot_4x16(step >> 1, i ? coldA + planeAt(ROWS, step, i, true) : pa, j ? coldB + planeAt(COLUMNS, step, j, true) : pb, integers)
      add_scaled(integers, fa, fb, pow2(-PLANE_STEP * (i + j)), sums)
    }
  }
}
