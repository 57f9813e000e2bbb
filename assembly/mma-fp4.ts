// Blackwell's FP4 product (GST-FDPA, K = 64 a step) at the speed of a plain integer GEMM, with the bits of mma_gst_fdpa.
//
// A step loses bits only where c or a group is cut at 2^(E - F), F = 35, and by the final rounding toward zero. E is the largest of the groups' e_g, sums of two scale
// exponents, and the exponent of c. A group's term is a multiple of 2^(e_g - u): quarters, u = 2, and 3 fraction bits of either UE4M3 scale, u = 8. So nothing is cut
// as long as
//   e_g - u >= E - F for every group, and |c| >= 2^(E - F + 23) or c = 0.
// Then d = RZ(c + exact sum), and the sum is exact twice over: in integers, 64 products of the panels' small integers (mma-fp4-pack.ts) adding up in i32; and in f64,
// in which c + sum spans fewer than 53 bits. RZ to 24 bits is then a mask on the f64, as long as no subnormal or overflow is near. The conditions are checked for
// several steps of a tile at once, from the panels' largest and smallest scale exponents and a bound on |c|, and that on c lane by lane. A step of a tile that fails
// them is cut (mma-fp4-cut.ts); steps with NaN or Inf, and lanes that the cut leaves undecided, go through the plain kernel (gst_step). Where a panel is grouped, the
// four sums of 16 are kept and scaled one by one.
import { COLUMNS, DEPTH, LEADING, MAGNITUDE, ROWS, TALL, TILE, beyond, load_tile, pow2, store_tile, to_bits } from './mma-accumulators'
import { gst_step } from './mma-fdpa'
import { FRACTION, finish_cut } from './mma-fp4-cut'
import { GROUPED, HIGH, LOW, NONE, SPECIAL, factorsAt, infoAt, panelBytes } from './mma-fp4-pack'
import { decode_group_step } from './mma-operand'
import { isSpecial, nanBits } from './mma-round'
import { dot_4x16 } from './mma-tiles'
import { scratch } from './scratch'

/** Bytes of A's panels that stay in the second-level cache while B's pass. */
const CACHE: i32 = 1 << 19

/** Scratch: integer sums; rows decoded for the plain kernel; for each tile of an item two sets of accumulators (f64) and its state. */
const SUMS_AT: usize = 0
const BELOW_AT: usize = 1536
const ROW_A_AT: usize = 1024, ROW_B_AT: usize = 2048, ROW: usize = 128
const TILES_AT: usize = 4096, STATE_AT: usize = TILES_AT + 2 * TILE * <usize>TALL
/** A state: bound on |c| (f64), then whether a NaN or Inf is among the accumulators, and which of the two sets is current (its offset). */
const SPECIAL_TILE: usize = 8, CURRENT: usize = 12

/** Where the operands came from, for the plain kernel. */
let codesA: usize = 0, nibblesA: i32 = 0, scalesA: usize = 0, codesB: usize = 0, nibblesB: i32 = 0, scalesB: usize = 0
let rowsA: i32 = 0, rowsB: i32 = 0, length: i32 = 0, blockSize: i32 = 0, kindOfScale: i32 = 0, floorExp: i32 = 0

/**
 * GST-FDPA over the panels of mma_pack_fp4, with the bits of mma_gst_fdpa. d[M, N] = chain of the steps first..last from c[M, N] (0: from +0), bits of f32. The
 * operands' codes and scales are as mma_pack_fp4 took them; F = 35. Items: blocks of 64 rows by 16 columns; as many row blocks as CACHE holds pass all columns together.
 */
export function mma_gst_fast(d: usize, c: usize, a_packed: usize, b_packed: usize, a: usize, a_nibbles: i32, a_scales: usize, b: usize, b_nibbles: i32, b_scales: usize,
  M: i32, N: i32, K: i32, block: i32, kind: i32, first: i32, last: i32, floor: i32, begin: i32, end: i32): void {
  codesA = a; nibblesA = a_nibbles; scalesA = a_scales; codesB = b; nibblesB = b_nibbles; scalesB = b_scales
  rowsA = M; rowsB = N; length = K; blockSize = block; kindOfScale = kind; floorExp = floor
  const steps = (K + 63) >> 6
  const blocks = (M + ROWS * TALL - 1) / (ROWS * TALL)
  const columns = (N + COLUMNS - 1) / COLUMNS, together = max(1, CACHE / (TALL * max(1, steps) * <i32>panelBytes(ROWS)))
  for (let item = begin; item < end; item++) {
    const block0 = item / (together * columns) * together, side = min(together, blocks - block0), within = item - block0 * columns
    const column = within / side
    const panel0 = (block0 + within - column * side) * TALL
    const panels = min(TALL, (M + ROWS - 1) / ROWS - panel0), width = min(COLUMNS, N - column * COLUMNS)
    for (let t = 0; t < panels; t++) {
      const row = (panel0 + t) * ROWS, at = state(t)
      const most = load_tile(tileAt(t), c ? c + (<usize>(row * N + column * COLUMNS) << 2) : 0, N, min(ROWS, M - row), width)
      store<f64>(at, <f64>reinterpret<f32>(most))
      store<i32>(at, beyond(most), SPECIAL_TILE)
      store<i32>(at, 0, CURRENT)
    }
    for (let s = first; s < last; s += DEPTH) {
      const count = min(DEPTH, last - s)
      const pb = b_packed + <usize>(column * steps + s) * panelBytes(COLUMNS)
      gather(pb, COLUMNS, count)
      const special = gatheredSpecial, low = gatheredLow, high = gatheredHigh
      for (let t = 0; t < panels; t++) {
        const pa = a_packed + <usize>((panel0 + t) * steps + s) * panelBytes(ROWS), row = (panel0 + t) * ROWS
        gather(pa, ROWS, count)
        if (fast(t, special | gatheredSpecial, low, gatheredLow, high, gatheredHigh, count)) {
          run(t, pa, pb, count, row, column * COLUMNS, s)
          continue
        }
        for (let i = 0; i < count; i++) { // one step at a time: most pass on their own
          const xa = pa + <usize>i * panelBytes(ROWS), xb = pb + <usize>i * panelBytes(COLUMNS)
          gather(xb, COLUMNS, 1)
          const special = gatheredSpecial, low = gatheredLow, high = gatheredHigh
          gather(xa, ROWS, 1)
          if (fast(t, special | gatheredSpecial, low, gatheredLow, high, gatheredHigh, 1)) run(t, xa, xb, 1, row, column * COLUMNS, s + i)
          else slow(t, special | gatheredSpecial, xa, xb, row, column * COLUMNS, s + i)
        }
      }
    }
    for (let t = 0; t < panels; t++) {
      const row = (panel0 + t) * ROWS
      store_tile(tileAt(t) + <usize>load<i32>(state(t), CURRENT), d + (<usize>(row * N + column * COLUMNS) << 2), N, min(ROWS, M - row), width, load<i32>(state(t), SPECIAL_TILE) != 0)
    }
  }
}

// ---- What is asked before computing ----

let gatheredSpecial: i32 = 0, gatheredLow: i32 = 0, gatheredHigh: i32 = 0

/** Whether a panel has a NaN scale in `count` steps, and its least and largest scale exponents there. */
function gather(panel: usize, width: i32, count: i32): void {
  let special = 0, low = NONE, high = -NONE
  for (let info = panel + infoAt(width), i = 0; i < count; i++, info += panelBytes(width)) {
    special |= load<i32>(info, SPECIAL)
    low = min(low, load<i32>(info, LOW))
    high = max(high, load<i32>(info, HIGH))
  }
  gatheredSpecial = special
  gatheredLow = low
  gatheredHigh = high
}

// @ts-ignore: decorator
@inline
function state(t: i32): usize { return scratch + STATE_AT + (<usize>t << 4) }
// @ts-ignore: decorator
@inline
function tileAt(t: i32): usize { return scratch + TILES_AT + <usize>t * (2 * TILE) }

/** |c| below which c may be cut before it is added. */
let threshold: f64 = 0

/** May the next `count` steps of tile t be computed exactly? Sets the threshold for c and advances the bound on |c|. */
function fast(t: i32, special: i32, lowA: i32, lowB: i32, highA: i32, highB: i32, count: i32): bool {
  const at = state(t)
  if (special | load<i32>(at, SPECIAL_TILE)) return false
  threshold = 0
  if (lowA == NONE || lowB == NONE) return true // products of zeros
  const low = lowA + lowB, high = highA + highB
  const last = low - (kindOfScale ? 8 : 2) // every term is a multiple of 2^last
  if (high - last > FRACTION || last < -149) return false
  // A step adds four groups of |p| <= 576 times the significands of two scales, 15/8 at most: less than 2^13. Before the last step E <= last + F, after it no overflow.
  const growth = pow2(high + 13), limit = min(pow2(last + FRACTION + 1) - <f64>(count - 1) * growth, pow2(128) - <f64>count * growth)
  let bound = load<f64>(at)
  if (bound >= limit) {
    bound = largest(tileAt(t) + <usize>load<i32>(at, CURRENT))
    if (bound >= limit) return false
  }
  threshold = pow2(high - FRACTION + 23)
  store<f64>(at, bound + <f64>count * growth)
  return true
}

/** Largest |c| of a tile; NaN if there is one. */
function largest(from: usize): f64 {
  let m = f64x2.splat(0), n = m
  for (const end = from + TILE; from != end; from += 32) {
    m = f64x2.max(m, f64x2.abs(v128.load(from)))
    n = f64x2.max(n, f64x2.abs(v128.load(from, 16)))
  }
  m = f64x2.max(m, n)
  return max(f64x2.extract_lane(m, 0), f64x2.extract_lane(m, 1))
}

// ---- Computing ----

/** A step of tile t of which `fast` is not true. `special`: its operands have a NaN. */
function slow(t: i32, special: i32, pa: usize, pb: usize, row: i32, column: i32, s: i32): void {
  const at = state(t), old = <usize>load<i32>(at, CURRENT), from = tileAt(t) + old, to = tileAt(t) + TILE - old
  if (special | load<i32>(at, SPECIAL_TILE)) {
    plain(t, false, from, to, row, column, s)
    store<f64>(at, largest(to))
  } else store<f64>(at, cut(t, pa, pb, from, to, row, column, s))
  store<i32>(at, <i32>(TILE - old), CURRENT)
}

/** A step of tile t in which something may be cut; no NaN or Inf among its operands. Returns the largest |d|. */
function cut(t: i32, pa: usize, pb: usize, from: usize, to: usize, row: i32, column: i32, s: i32): f64 {
  group_sums(pa, pb, scratch + SUMS_AT)
  finish_cut(scratch + SUMS_AT, pa, pb, from, to)
  const bound = largest(to)
  if (!isNaN(bound)) return bound
  plain(t, true, from, to, row, column, s)
  return largest(to)
}

/** Sums of the four groups of 16, [4][4][16]. */
function group_sums(pa: usize, pb: usize, sums: usize): void {
  for (let g: usize = 0; g < 4; g++) dot_4x16(8, pa + g * (32 * ROWS), pb + g * (32 * COLUMNS), sums + (g << 8))
}

/** `count` steps of tile t, of which `fast` is true. */
function run(t: i32, pa: usize, pb: usize, count: i32, row: i32, column: i32, s: i32): void {
  const at = state(t), tile = tileAt(t), sums = scratch + SUMS_AT
  let old = <usize>load<i32>(at, CURRENT)
  for (let i = 0; i < count; i++) {
    let below: bool
    const fa = pa + factorsAt(ROWS), fb = pb + factorsAt(COLUMNS), from = tile + old, to = tile + TILE - old
    if (load<i32>(pa + infoAt(ROWS), GROUPED) | load<i32>(pb + infoAt(COLUMNS), GROUPED)) {
      group_sums(pa, pb, sums)
      finish(sums + 256, fa + 8 * ROWS, fb + 8 * COLUMNS, from, to, ALL)
      below = any_below()
      finish(sums + 512, fa + 16 * ROWS, fb + 16 * COLUMNS, to, to, ALL)
      finish(sums + 768, fa + 24 * ROWS, fb + 24 * COLUMNS, to, to, ALL)
      finish(sums, fa, fb, to, to, LEADING)
    } else {
      dot_4x16(32, pa, pb, sums)
      finish(sums, fa, fb, from, to, LEADING)
      below = any_below()
    }
    if (below) cut(t, pa, pb, from, to, row, column, s + i)
    old = TILE - old
    pa += panelBytes(ROWS)
    pb += panelBytes(COLUMNS)
  }
  store<i32>(at, <i32>old, CURRENT)
}

// @ts-ignore: decorator
@inline
function any_below(): bool { return v128.any_true(v128.or(v128.load(scratch + BELOW_AT), v128.load(scratch + BELOW_AT, 16))) }

/** Two lanes each: a mask that keeps all of an f64; its last bit. */
const ALL = memory.data<i64>([-1, -1]), ONE = memory.data<i64>([1, 1])

/** (c + sums * factors) & keep; f: factors of the columns as `finish` takes them, x: of the row. */
// @ts-ignore: decorator
@inline
function total(c: v128, sums: v128, f: v128, x: v128, keep: v128): v128 { return v128.and(f64x2.add(c, f64x2.mul(f64x2.sub(i64x2.add(f, sums), f), x)), keep) }

/** The bits of |c| less one, to be compared with the threshold's less one: a zero becomes a NaN, which pmin passes by. */
// @ts-ignore: decorator
@inline
function magnitude_less_one(c: v128, magnitude: v128, one: v128): v128 { return i64x2.sub(v128.and(c, magnitude), one) }

/**
 * to = (from + sums * factor of the row * factor of the column) & mask. A factor of B is held times 1.5 2^52: an integer added to its bits moves it by that many of
 * its last places. Lanes at BELOW_AT: some 0 < |c| was below the threshold.
 */
function finish(sums: usize, fa: usize, fb: usize, from: usize, to: usize, mask: usize): void {
  const keep = v128.load(mask), magnitude = v128.load(MAGNITUDE), one = v128.load(ONE), limit = f64x2.splat(reinterpret<f64>(reinterpret<i64>(threshold) - 1))
  const x0 = f64x2.splat(load<f64>(fa)), x1 = f64x2.splat(load<f64>(fa, 8)), x2 = f64x2.splat(load<f64>(fa, 16)), x3 = f64x2.splat(load<f64>(fa, 24))
  let below0 = f64x2.splat(Infinity), below1 = below0
  const end = to + 128
  do {
    const f0 = v128.load(fb), f1 = v128.load(fb, 16)
    const c00 = v128.load(from, 0), c01 = v128.load(from, 16)
    const d00 = total(c00, v128.load_ext<i32>(sums, 0), f0, x0, keep)
    const d01 = total(c01, v128.load_ext<i32>(sums, 8), f1, x0, keep)
    below0 = f64x2.pmin(below0, magnitude_less_one(c00, magnitude, one))
    below1 = f64x2.pmin(below1, magnitude_less_one(c01, magnitude, one))
    v128.store(to, d01, 16)
    v128.store(to, d00, 0)
    const c10 = v128.load(from, 128), c11 = v128.load(from, 144)
    const d10 = total(c10, v128.load_ext<i32>(sums, 64), f0, x1, keep)
    const d11 = total(c11, v128.load_ext<i32>(sums, 72), f1, x1, keep)
    below0 = f64x2.pmin(below0, magnitude_less_one(c10, magnitude, one))
    below1 = f64x2.pmin(below1, magnitude_less_one(c11, magnitude, one))
    v128.store(to, d11, 144)
    v128.store(to, d10, 128)
    const c20 = v128.load(from, 256), c21 = v128.load(from, 272)
    const d20 = total(c20, v128.load_ext<i32>(sums, 128), f0, x2, keep)
    const d21 = total(c21, v128.load_ext<i32>(sums, 136), f1, x2, keep)
    below0 = f64x2.pmin(below0, magnitude_less_one(c20, magnitude, one))
    below1 = f64x2.pmin(below1, magnitude_less_one(c21, magnitude, one))
    v128.store(to, d21, 272)
    v128.store(to, d20, 256)
    const c30 = v128.load(from, 384), c31 = v128.load(from, 400)
    const d30 = total(c30, v128.load_ext<i32>(sums, 192), f0, x3, keep)
    const d31 = total(c31, v128.load_ext<i32>(sums, 200), f1, x3, keep)
    below0 = f64x2.pmin(below0, magnitude_less_one(c30, magnitude, one))
    below1 = f64x2.pmin(below1, magnitude_less_one(c31, magnitude, one))
    v128.store(to, d31, 400)
    v128.store(to, d30, 384)
    sums += 16
    fb += 32
    from += 32
    to += 32
  } while (to != end)
  v128.store(scratch + BELOW_AT, f64x2.lt(below1, limit), 16)
  v128.store(scratch + BELOW_AT, f64x2.lt(below0, limit))
}

/** One step of tile t by the plain kernel: every lane, or (`undecided`) those whose result is NaN so far. Lanes outside the matrix stay zero. */
function plain(t: i32, undecided: bool, from: usize, to: usize, row: i32, column: i32, s: i32): void {
  if (!undecided) for (let p: usize = 0; p < TILE; p += 16) v128.store(to + p, v128.load(from + p))
  let decodedA = -1, decodedB = 0 // which row, and which columns (a bit each), are decoded in scratch
  let specialA = 0, specialB = 0
  for (let r = 0; r < min(ROWS, rowsA - row); r++) {
    for (let j = 0; j < min(COLUMNS, rowsB - column); j++) {
      const lane = <usize>(r * COLUMNS + j) << 3
      if (undecided && !isNaN(load<f64>(to + lane))) continue
      const x = scratch + ROW_A_AT, y = scratch + ROW_B_AT + <usize>j * ROW
      if (decodedA != r) {
        specialA = decode(x, codesA, nibblesA, scalesA, row + r, s)
        decodedA = r
      }
      if (!(decodedB >> j & 1)) {
        specialB |= decode(y, codesB, nibblesB, scalesB, column + j, s) << j
        decodedB |= 1 << j
      }
      const bits = specialA || (specialB >> j & 1) ? nanBits(false) : gst_step(x, y, x + 64, y + 64, to_bits(load<f64>(from + lane)), FRACTION, floorExp)
      if (isSpecial(bits, false)) store<i32>(state(t), 1, SPECIAL_TILE)
      store<f64>(to + lane, <f64>reinterpret<f32>(bits))
    }
  }
}

/** One step of a row for the plain kernel: 64 doubled values and four scale words. */
function decode(to: usize, codes: usize, nibbles: i32, scales: usize, row: i32, s: i32): i32 {
  return decode_group_step(to, to + 64, codes + <usize>row * <usize>(nibbles ? length >> 1 : length), nibbles,
    scales + <usize>row * <usize>((length + blockSize - 1) / blockSize), length, s, blockSize, kindOfScale)
}
