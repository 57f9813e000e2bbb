// Blackwell's FP4 product (GST-FDPA, K = 64 a step) at the speed of a plain integer GEMM, with the bits of mma_gst_fdpa.
//
// A step loses bits only where c or a group is cut at 2^(E - 35), and by the final rounding toward zero. With e_g the sum of a group's two scale exponents, a
// group's term is a multiple of 2^(e_g - 8) (quarters, and 3 fraction bits of either UE4M3 scale), so nothing is cut as long as
//   e_g >= E - 27 for every group, and |c| >= 2^(E - 12) or c = 0.
// Then d = RZ(c + exact sum), and the sum is exact twice over: in integers, because an E2M1 element times its scale's significand, shifted by how far the scale lies
// above the smallest of its row's four, is a small integer (180 << 5 at most), so the 64 products of a step add up in i32; and in f64, in which c + sum spans
// fewer than 53 bits. RZ to 24 bits is then a mask on the f64, as long as no subnormal or overflow is near. The conditions are checked for several steps of a tile
// at once, from the panels' largest and smallest scale exponents and a bound on |c|; what fails them goes through the plain kernel (gst_step), by lane or by tile.
// Rows whose scales spread by more than RANGE binades keep four sums of 16 and scale them one by one.
import { decode_group_step, NAN_EXP, word, wordExp, wordSig, ZERO_EXP } from './mma-operand'
import { gst_step } from './mma-fdpa'
import { isSpecial, nanBits } from './mma-round'
import { dot_4x16 } from './mma-tiles'
import { scratch } from './scratch'

/** Rows of a panel of A, columns of a panel of B. */
const ROWS: i32 = 4, COLUMNS: i32 = 16
/** Panels of A in one item: 64 rows. */
const TALL: i32 = 16
/** Steps done for one tile before the next: a panel of B of that length stays in the first-level cache. */
const DEPTH: i32 = 8

/** A panel of `width` rows, one step: i16 pairs [32][width], f64 factors [4][width], then what is asked before computing: */
// @ts-ignore: decorator
@inline
function panelBytes(width: i32): usize { return <usize>(160 * width + 64) }
/** Byte offsets after the factors, i32 each: special (a NaN scale), grouped (the sums of 16 have different factors), least and largest scale exponent. */
const SPECIAL: usize = 0, GROUPED: usize = 4, LOW: usize = 8, HIGH: usize = 12
/** LOW of a panel of zeros. */
const NONE: i32 = 32767

/** Spread of a row's scales up to which 64 products fit i32: 64 * (180 << 5)^2 < 2^31 (UE4M3), 64 * (12 << 8)^2 < 2^31 (E8M0). */
const RANGE_UE4M3: i32 = 5, RANGE_E8M0: i32 = 8

/** 2^n. */
// @ts-ignore: decorator
@inline
function pow2(n: i32): f64 { return reinterpret<f64>(<u64>(n + 1023) << 52) }

/** Scratch: integer sums; rows decoded for the plain kernel; for each tile of an item two sets of accumulators (f64) and its state. */
const SUMS_AT: usize = 0
const BELOW_AT: usize = 1536
const ROW_A_AT: usize = 1024, ROW_B_AT: usize = 2048, ROW: usize = 128
const TILES_AT: usize = 4096, TILE: usize = 1024
const STATE_AT: usize = TILES_AT + <usize>TALL * TILE

/**
 * Panels of `width` rows (4 for A, 16 for B) of E2M1 codes with their scales: packed[panel][ceil(K / 64)]. Parameters as in decode_group_step; rows beyond `rows` are
 * zeros. Items: panels.
 */
export function mma_pack_fp4(packed: usize, codes: usize, nibbles: i32, scales: usize, rows: i32, K: i32, block: i32, kind: i32, width: i32, begin: i32, end: i32): void {
  const steps = (K + 63) >> 6, blocks = (K + block - 1) / block
  const range = kind ? RANGE_UE4M3 : RANGE_E8M0
  const halves = scratch + ROW_A_AT, words = scratch + ROW_A_AT + 64
  for (let panel = begin; panel < end; panel++) {
    for (let s = 0; s < steps; s++) {
      const to = packed + <usize>(panel * steps + s) * panelBytes(width)
      const factors = to + <usize>(128 * width), info = to + <usize>(160 * width)
      let special = 0, grouped = 0, low = NONE, high = -NONE
      for (let r = 0; r < width; r++) {
        const row = panel * width + r
        if (row < rows) {
          special |= decode_group_step(halves, words, codes + <usize>row * <usize>(nibbles ? K >> 1 : K), nibbles, scales + <usize>row * <usize>blocks, K, s, block, kind)
        } else {
          memory.fill(halves, 0, 80)
        }
        const w0 = counted(words, halves), w1 = counted(words + 4, halves + 16), w2 = counted(words + 8, halves + 32), w3 = counted(words + 12, halves + 48)
        const most = max(max(wordExp(w0), wordExp(w1)), max(wordExp(w2), wordExp(w3)))
        const least = min(min(leastExp(w0), leastExp(w1)), min(leastExp(w2), leastExp(w3)))
        low = min(low, least)
        high = max(high, most)
        const spread = least != NONE && most - least > range
        if (spread) grouped = 1
        let column = to + (<usize>r << 2), factor = factors + (<usize>r << 3)
        group(column, factor, halves, w0, spread, least, kind, width)
        group(column + <usize>(32 * width), factor + <usize>(8 * width), halves + 16, w1, spread, least, kind, width)
        group(column + <usize>(64 * width), factor + <usize>(16 * width), halves + 32, w2, spread, least, kind, width)
        group(column + <usize>(96 * width), factor + <usize>(24 * width), halves + 48, w3, spread, least, kind, width)
      }
      store<i32>(info, special, SPECIAL)
      store<i32>(info, grouped, GROUPED)
      store<i32>(info, low, LOW)
      store<i32>(info, high, HIGH)
    }
  }
}

/** Eight pairs of a row into its column of a panel. */
// @ts-ignore: decorator
@inline
function scatter(to: usize, stride: usize, x: v128, y: v128): void {
  v128.store_lane<i32>(to, x, 0)
  v128.store_lane<i32>(to + stride, x, 1)
  v128.store_lane<i32>(to + 2 * stride, x, 2)
  v128.store_lane<i32>(to + 3 * stride, x, 3)
  to += 4 * stride
  v128.store_lane<i32>(to, y, 0)
  v128.store_lane<i32>(to + stride, y, 1)
  v128.store_lane<i32>(to + 2 * stride, y, 2)
  v128.store_lane<i32>(to + 3 * stride, y, 3)
}

/** A group's scale, or zero if the group takes no part in the alignment: its scale is zero (or NaN: the step is special then) or all its elements are. */
// @ts-ignore: decorator
@inline
function counted(scale: usize, halves: usize): i32 {
  const w = load<i32>(scale)
  return v128.any_true(v128.load(halves)) && wordExp(w) < NAN_EXP ? w : word(ZERO_EXP, 0)
}
// @ts-ignore: decorator
@inline
function leastExp(w: i32): i32 { return wordSig(w) ? wordExp(w) : NONE }

/** Sixteen elements of a row, times their scale in units of 2^least (of the scale itself if the row is spread), into its column of a panel; their factor. */
// @ts-ignore: decorator
@inline
function group(to: usize, factor: usize, halves: usize, w: i32, spread: bool, least: i32, kind: i32, width: i32): void {
  const unit = spread ? wordExp(w) : least
  const scale = i16x8.splat(<i16>(wordSig(w) ? (kind ? wordSig(w) : 1) << (wordExp(w) - unit) : 0))
  const x = v128.load(halves)
  scatter(to, <usize>width << 2, i16x8.mul(i16x8.extend_low_i8x16_s(x), scale), i16x8.mul(i16x8.extend_high_i8x16_s(x), scale))
  store<f64>(factor, wordSig(w) || !spread && least != NONE ? pow2(unit - (kind ? 4 : 1)) : 0)
}

/** Where the operands came from, for the lanes that go through the plain kernel. */
let codesA: usize = 0, scalesA: usize = 0, codesB: usize = 0, scalesB: usize = 0
let rowsA: i32 = 0, rowsB: i32 = 0, length: i32 = 0, blockSize: i32 = 0, kindOfScale: i32 = 0, nibbled: i32 = 0, fractionBits: i32 = 0, floorExp: i32 = 0

/**
 * GST-FDPA over the panels of mma_pack_fp4, with the bits of mma_gst_fdpa. d[M, N] = chain of the steps first..last from c[M, N] (0: from +0), bits of f32. The
 * operands' codes and scales are as mma_pack_fp4 took them. Items: blocks of 64 rows by 16 columns, all row blocks of the first columns first.
 */
export function mma_gst_fast(d: usize, c: usize, a_packed: usize, b_packed: usize, a: usize, a_scales: usize, b: usize, b_scales: usize,
  M: i32, N: i32, K: i32, block: i32, kind: i32, nibbles: i32, first: i32, last: i32, fraction: i32, floor: i32, begin: i32, end: i32): void {
  codesA = a; scalesA = a_scales; codesB = b; scalesB = b_scales
  rowsA = M; rowsB = N; length = K; blockSize = block; kindOfScale = kind; nibbled = nibbles; fractionBits = fraction; floorExp = floor
  const steps = (K + 63) >> 6
  const blocks = (M + ROWS * TALL - 1) / (ROWS * TALL)
  for (let item = begin; item < end; item++) {
    const column = item / blocks
    const panel0 = (item - column * blocks) * TALL
    const panels = min(TALL, (M + ROWS - 1) / ROWS - panel0)
    for (let t = 0; t < panels; t++) load_tile(t, c, (panel0 + t) * ROWS, column * COLUMNS)
    for (let s = first; s < last; s += DEPTH) {
      const count = min(DEPTH, last - s)
      const pb = b_packed + <usize>(column * steps + s) * panelBytes(COLUMNS)
      gather(pb, COLUMNS, count)
      const special = gatheredSpecial, low = gatheredLow, high = gatheredHigh
      for (let t = 0; t < panels; t++) {
        const pa = a_packed + <usize>((panel0 + t) * steps + s) * panelBytes(ROWS)
        gather(pa, ROWS, count)
        if (fast(t, special | gatheredSpecial, low, gatheredLow, high, gatheredHigh, count)) {
          run(t, pa, pb, count, (panel0 + t) * ROWS, column * COLUMNS, s)
          continue
        }
        for (let i = 0; i < count; i++) { // one step at a time: most pass on their own
          const xa = pa + <usize>i * panelBytes(ROWS), xb = pb + <usize>i * panelBytes(COLUMNS)
          gather(xb, COLUMNS, 1)
          const special = gatheredSpecial, low = gatheredLow, high = gatheredHigh
          gather(xa, ROWS, 1)
          if (fast(t, special | gatheredSpecial, low, gatheredLow, high, gatheredHigh, 1)) run(t, xa, xb, 1, (panel0 + t) * ROWS, column * COLUMNS, s + i)
          else plain(t, 0, (panel0 + t) * ROWS, column * COLUMNS, s + i)
        }
      }
    }
    for (let t = 0; t < panels; t++) store_tile(t, d, (panel0 + t) * ROWS, column * COLUMNS)
  }
}

// ---- What is asked before computing ----

let gatheredSpecial: i32 = 0, gatheredLow: i32 = 0, gatheredHigh: i32 = 0

/** Whether a panel has a NaN scale in `count` steps, and its least and largest scale exponents there. */
function gather(panel: usize, width: i32, count: i32): void {
  let special = 0, low = NONE, high = -NONE
  for (let info = panel + <usize>(160 * width), i = 0; i < count; i++, info += panelBytes(width)) {
    special |= load<i32>(info, SPECIAL)
    low = min(low, load<i32>(info, LOW))
    high = max(high, load<i32>(info, HIGH))
  }
  gatheredSpecial = special
  gatheredLow = low
  gatheredHigh = high
}

/** A tile's state: bound on |c| (f64), whether a NaN or Inf is among its accumulators, which of the two sets is current (byte offset). */
// @ts-ignore: decorator
@inline
function state(t: i32): usize { return scratch + STATE_AT + (<usize>t << 4) }
// @ts-ignore: decorator
@inline
function tileAt(t: i32): usize { return scratch + TILES_AT + <usize>t * TILE }

/** |c| below which c may be cut before it is added. */
let threshold: f64 = 0

/** May the next `count` steps of tile t be computed exactly? Sets the threshold for c and advances the bound on |c|. */
function fast(t: i32, special: i32, lowA: i32, lowB: i32, highA: i32, highB: i32, count: i32): bool {
  const at = state(t)
  if (special | load<i32>(at, 8)) return false
  threshold = 0
  if (lowA == NONE || lowB == NONE) return true // products of zeros
  const low = lowA + lowB, high = highA + highB
  if (high - low > 27 || low - 8 < -149) return false
  // A step adds four groups of |p| <= 576, times less than 4 for the significands of the scales.
  const growth = <f64>count * pow2(high + 14)
  const limit = pow2(min(low + 28, 127))
  let bound = load<f64>(at)
  if (bound + growth >= limit) {
    bound = largest(tileAt(t) + <usize>load<i32>(at, 12))
    if (bound + growth >= limit) return false
  }
  threshold = pow2(high - 12)
  store<f64>(at, bound + growth)
  return true
}

/** Largest |c| of a tile. */
function largest(from: usize): f64 {
  let m = f64x2.splat(0)
  for (let p = from; p < from + 512; p += 16) m = f64x2.max(m, f64x2.abs(v128.load(p)))
  return max(f64x2.extract_lane(m, 0), f64x2.extract_lane(m, 1))
}

// ---- Computing ----

/** `count` steps of tile t, of which `fast` is true. */
function run(t: i32, pa: usize, pb: usize, count: i32, row: i32, column: i32, s: i32): void {
  const at = state(t), tile = tileAt(t), sums = scratch + SUMS_AT
  let old = <usize>load<i32>(at, 12)
  for (let i = 0; i < count; i++) {
    const infoA = pa + 160 * ROWS, infoB = pb + 160 * COLUMNS
    if (load<i32>(infoA, GROUPED) | load<i32>(infoB, GROUPED)) {
      for (let g: usize = 0; g < 4; g++) dot_4x16(8, pa + g * (32 * ROWS), pb + g * (32 * COLUMNS), sums + (g << 8))
      finish_grouped(sums, pa + 128 * ROWS, pb + 128 * COLUMNS, tile + old, tile + 512 - old)
    } else {
      dot_4x16(32, pa, pb, sums)
      finish(sums, pa + 128 * ROWS, pb + 128 * COLUMNS, tile + old, tile + 512 - old)
    }
    if (v128.any_true(v128.or(v128.load(scratch + BELOW_AT), v128.load(scratch + BELOW_AT, 16))) && below(tile + old)) {
      store<i32>(at, <i32>old, 12)
      plain(t, threshold, row, column, s + i)
    }
    old = 512 - old
    pa += panelBytes(ROWS)
    pb += panelBytes(COLUMNS)
  }
  store<i32>(at, <i32>old, 12)
}

/** Is there 0 < |c| < threshold? */
function below(from: usize): bool {
  const limit = f64x2.splat(threshold), zero = f64x2.splat(0)
  let any = zero
  for (let p = from; p < from + 512; p += 16) {
    const c = f64x2.abs(v128.load(p))
    any = v128.or(any, v128.and(f64x2.lt(c, limit), f64x2.gt(c, zero)))
  }
  return v128.any_true(any)
}

/** Masks: the 24 leading bits of an f64; all but its sign. */
const KEEP = memory.data<i64>([-0x20000000, -0x20000000, 0x7fffffffffffffff, 0x7fffffffffffffff])

/** to = RZ(from + sums * factor of the row * factor of the column). Lanes at BELOW_AT: some |c| was below the threshold (zeros among them). */
function finish(sums: usize, fa: usize, fb: usize, from: usize, to: usize): void {
  const keep = v128.load(KEEP), limit = f64x2.splat(threshold)
  let below = f64x2.splat(Infinity), below1 = below
  const magnitude = v128.load(KEEP, 16)
  for (let r = 0; r < ROWS; r++) {
    const x = v128.load64_splat(fa)
    const end = to + 128
    do {
      const s = v128.load(sums)
      const p0 = f64x2.mul(f64x2.mul(f64x2.convert_low_i32x4_s(s), v128.load(fb)), x)
      const p1 = f64x2.mul(f64x2.mul(f64x2.convert_low_i32x4_s(v128.shuffle<i32>(s, s, 2, 3, 0, 1)), v128.load(fb, 16)), x)
      const c0 = v128.load(from), c1 = v128.load(from, 16)
      below = f64x2.pmin(below, v128.and(c0, magnitude))
      below1 = f64x2.pmin(below1, v128.and(c1, magnitude))
      const d0 = v128.and(f64x2.add(c0, p0), keep)
      const d1 = v128.and(f64x2.add(c1, p1), keep)
      v128.store(to, d0)
      v128.store(to, d1, 16)
      sums += 16
      fb += 32
      from += 32
      to += 32
    } while (to != end)
    fb -= 128
    fa += 8
  }
  v128.store(scratch + BELOW_AT, f64x2.lt(below, limit))
  v128.store(scratch + BELOW_AT, f64x2.lt(below1, limit), 16)
}

/** The same for four sums, each with factors of its own. */
function finish_grouped(sums: usize, fa: usize, fb: usize, from: usize, to: usize): void {
  const keep = v128.load(KEEP), limit = f64x2.splat(threshold)
  let below = i64x2.splat(0)
  for (let r = 0; r < ROWS; r++) {
    for (let v = 0; v < COLUMNS; v += 4) {
      const c0 = v128.load(from), c1 = v128.load(from, 16)
      let d0 = c0, d1 = c1
      for (let g: usize = 0; g < 4; g++) {
        const s = v128.load(sums + (g << 8))
        const x = v128.load64_splat(fa + (g << 5))
        d0 = f64x2.add(d0, f64x2.mul(f64x2.mul(f64x2.convert_low_i32x4_s(s), v128.load(fb + (g << 7))), x))
        d1 = f64x2.add(d1, f64x2.mul(f64x2.mul(f64x2.convert_low_i32x4_s(v128.shuffle<i32>(s, s, 2, 3, 0, 1)), v128.load(fb + (g << 7), 16)), x))
      }
      below = v128.or(below, v128.or(f64x2.lt(f64x2.abs(c0), limit), f64x2.lt(f64x2.abs(c1), limit)))
      v128.store(to, v128.and(d0, keep))
      v128.store(to, v128.and(d1, keep), 16)
      sums += 16
      fb += 32
      from += 32
      to += 32
    }
    fb -= 128
    fa += 8
  }
  v128.store(scratch + BELOW_AT, below)
  v128.store(scratch + BELOW_AT, below, 16)
}

/**
 * One step of tile t by the plain kernel, from the current accumulators into the others: every lane, and then the others become the current ones (limit 0), or only
 * the lanes with 0 < |c| < limit. Lanes outside the matrix stay zero.
 */
function plain(t: i32, limit: f64, row: i32, column: i32, s: i32): void {
  const at = state(t)
  const old = <usize>load<i32>(at, 12)
  const from = tileAt(t) + old, to = tileAt(t) + 512 - old
  let bound: f64 = 0
  let decodedA = -1, decodedB = 0 // which row, and which columns (a bit each), are decoded in scratch
  let specialA = 0, specialB = 0
  for (let r = 0; r < min(ROWS, rowsA - row); r++) {
    for (let j = 0; j < min(COLUMNS, rowsB - column); j++) {
      const lane = <usize>(r * COLUMNS + j) << 3
      const c = load<f64>(from + lane)
      if (limit > 0 && !(abs(c) < limit && c != 0)) continue
      const x = scratch + ROW_A_AT, y = scratch + ROW_B_AT + <usize>j * ROW
      if (decodedA != r) {
        specialA = decode(x, codesA, scalesA, row + r, s)
        decodedA = r
      }
      if (!(decodedB >> j & 1)) {
        specialB |= decode(y, codesB, scalesB, column + j, s) << j
        decodedB |= 1 << j
      }
      const bits = specialA || (specialB >> j & 1) ? nanBits(false) : gst_step(x, y, x + 64, y + 64, to_bits(c), fractionBits, floorExp)
      if (isSpecial(bits, false)) store<i32>(at, 1, 8)
      const d = <f64>reinterpret<f32>(bits)
      store<f64>(to + lane, d)
      bound = max(bound, abs(d))
    }
  }
  if (limit > 0) return
  store<f64>(at, bound)
  store<i32>(at, 512 - <i32>old, 12)
}

/** One step of a row for the plain kernel: 64 doubled values and four scale words. */
function decode(to: usize, codes: usize, scales: usize, row: i32, s: i32): i32 {
  return decode_group_step(to, to + 64, codes + <usize>row * <usize>(nibbled ? length >> 1 : length), nibbled,
    scales + <usize>row * <usize>((length + blockSize - 1) / blockSize), length, s, blockSize, kindOfScale)
}

/** An accumulator as bits, NaN as NVIDIA writes it. */
// @ts-ignore: decorator
@inline
function to_bits(c: f64): u32 {
  const x = <f32>c
  return x == x ? reinterpret<u32>(x) : nanBits(false)
}

function load_tile(t: i32, c: usize, row: i32, column: i32): void {
  const at = state(t), to = tileAt(t)
  const zero = i32x4.splat(0)
  for (let p = to; p < to + TILE; p += 16) v128.store(p, zero) // much quicker than memory.fill, which is a call
  v128.store(at, zero)
  if (!c) return
  let bound: f64 = 0
  for (let r = 0; r < min(ROWS, rowsA - row); r++) {
    for (let j = 0; j < min(COLUMNS, rowsB - column); j++) {
      const bits = load<u32>(c + (<usize>((row + r) * rowsB + column + j) << 2))
      if (isSpecial(bits, false)) store<i32>(at, 1, 8)
      const x = <f64>reinterpret<f32>(bits)
      bound = max(bound, abs(x))
      store<f64>(to + (<usize>(r * COLUMNS + j) << 3), x)
    }
  }
  store<f64>(at, bound)
}

function store_tile(t: i32, d: usize, row: i32, column: i32): void {
  const from = tileAt(t) + <usize>load<i32>(state(t), 12)
  const rows = min(ROWS, rowsA - row), columns = min(COLUMNS, rowsB - column)
  for (let r = 0; r < rows; r++) {
    const to = d + (<usize>((row + r) * rowsB + column) << 2), line = from + (<usize>(r * COLUMNS) << 3)
    if (columns == COLUMNS && !load<i32>(state(t), 8)) {
      for (let j: usize = 0; j < 16; j += 4) {
        const x = f32x4.demote_f64x2_zero(v128.load(line + (j << 3))), y = f32x4.demote_f64x2_zero(v128.load(line + (j << 3), 16))
        v128.store(to + (j << 2), v128.shuffle<i32>(x, y, 0, 1, 4, 5))
      }
    } else {
      for (let j = 0; j < columns; j++) store<u32>(to + (<usize>j << 2), to_bits(load<f64>(line + (<usize>j << 3))))
    }
  }
}
