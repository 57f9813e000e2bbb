// The tiles of mma-sums.ts, 4 rows by 16 columns of f64 accumulators: the loops over a whole tile that V8 widens to 256 bits, hence one to a function.
import { COLUMNS, EXPONENT, LEADING, MAGNITUDE, ROWS, TILE } from './mma-accumulators'
import { topsAfter } from './mma-sums-pack'

/** What the sums of a tile are in: integers, in the units of rows and columns; f64; or both, to be added. */
export class Integers {}
export class Floats {}
export class Both {}

/** Bytes of a tile of i32. */
export const INTEGER_TILE: usize = 256

/** Two lanes each: the sign of an f64; 1.5 2^52, which as an integer plus n is as an f64 1.5 2^52 + n. */
const SIGN = memory.data<u64>([0x8000000000000000, 0x8000000000000000])
const MAGIC = memory.data<f64>([6755399441055744, 6755399441055744])

/** c, if it is a multiple of what `magic` is 1.5 2^52 times (and |c| below 2^51 times that): else the nearest multiple. */
// @ts-ignore: decorator
@inline
function rounded(c: v128, magic: v128): v128 { return f64x2.sub(f64x2.add(c, magic), magic) }
/** The four sums at p in units of columns (at fb) and row. */
// @ts-ignore: decorator
@inline
function low_sums(n: v128, magic: v128, fb: usize, unit: v128): v128 { return f64x2.mul(f64x2.mul(f64x2.sub(i64x2.add(i64x2.extend_low_i32x4_s(n), magic), magic), v128.load(fb)), unit) }
// @ts-ignore: decorator
@inline
function high_sums(n: v128, magic: v128, fb: usize, unit: v128): v128 { return f64x2.mul(f64x2.mul(f64x2.sub(i64x2.add(i64x2.extend_high_i32x4_s(n), magic), magic), v128.load(fb, 16)), unit) }

/**
 * to = RZ(from + sums): i32 in the units of rows and columns (fa, fb), f64 that lie behind them, or both. At `told`: 32 bytes, not all 0 if
 * some of `from` is not a multiple of its 2^(H - F); 32 of the largest |from|. `cut`: 2^-F.
 */
export function finish<In>(integers: usize, fa: usize, fb: usize, from: usize, to: usize, told: usize, cut: f64): void {
  const keep = v128.load(LEADING), magic = v128.load(MAGIC), magnitude = v128.load(MAGNITUDE)
  let sums = integers + INTEGER_TILE
  let any0 = f64x2.splat(0), any1 = any0, most0 = any0, most1 = any0
  for (let r = 0; r < ROWS; r++) {
    const unit = f64x2.splat(load<f64>(fa)), top = f64x2.splat(load<f64>(fa + topsAfter(ROWS)) * (6755399441055744 * cut))
    const end = to + 128
    do {
      const c0 = v128.load(from), c1 = v128.load(from, 16)
      let x0 = c0, x1 = c1
      if (idof<In>() != idof<Integers>()) {
        x0 = f64x2.add(x0, v128.load(sums))
        x1 = f64x2.add(x1, v128.load(sums, 16))
        sums += 32
      }
      if (idof<In>() != idof<Floats>()) {
        const n = v128.load(integers)
        x0 = f64x2.add(x0, low_sums(n, magic, fb, unit))
        x1 = f64x2.add(x1, high_sums(n, magic, fb, unit))
        integers += 16
      }
      const d0 = v128.and(x0, keep), d1 = v128.and(x1, keep)
      const m0 = f64x2.mul(v128.load(fb + topsAfter(COLUMNS)), top), m1 = f64x2.mul(v128.load(fb + topsAfter(COLUMNS), 16), top)
      any0 = v128.or(any0, f64x2.ne(c0, rounded(c0, m0)))
      any1 = v128.or(any1, f64x2.ne(c1, rounded(c1, m1)))
      most0 = f64x2.pmax(most0, v128.and(c0, magnitude))
      most1 = f64x2.pmax(most1, v128.and(c1, magnitude))
      v128.store(to, d1, 16)
      v128.store(to, d0)
      from += 32
      fb += 32
      to += 32
    } while (to != end)
    fb -= 128
    fa += 8
  }
  v128.store(told, any1, 16)
  v128.store(told, any0)
  v128.store(told, most1, 48)
  v128.store(told, most0, 32)
}

/** The lanes, a bit each, of whose `from` finish tells, unless RZ(from + sums) is the same with 2^(H - F) less of it. `masks`: 512 bytes to work in. */
export function lanes_in_doubt<In>(integers: usize, fa: usize, fb: usize, from: usize, masks: usize, cut: f64): u64 {
  const keep = v128.load(LEADING), sign = v128.load(SIGN), magic = v128.load(MAGIC), ulp = f64x2.splat(cut), many = f64x2.splat(6755399441055744 * cut)
  let sums = integers + INTEGER_TILE
  for (let lane: usize = 0; lane < 64; lane += 4) {
    const ua = fa + (lane >> 1 & 24), ub = fb + ((lane & 15) << 3)
    const unit = f64x2.splat(load<f64>(ua)), top = f64x2.splat(load<f64>(ua + topsAfter(ROWS)))
    const c0 = v128.load(from), c1 = v128.load(from, 16)
    let x0 = c0, x1 = c1
    if (idof<In>() != idof<Integers>()) {
      x0 = f64x2.add(x0, v128.load(sums))
      x1 = f64x2.add(x1, v128.load(sums, 16))
      sums += 32
    }
    if (idof<In>() != idof<Floats>()) {
      const n = v128.load(integers)
      x0 = f64x2.add(x0, low_sums(n, magic, ub, unit))
      x1 = f64x2.add(x1, high_sums(n, magic, ub, unit))
      integers += 16
    }
    const t0 = f64x2.mul(v128.load(ub + topsAfter(COLUMNS)), top), t1 = f64x2.mul(v128.load(ub + topsAfter(COLUMNS), 16), top)
    const y0 = f64x2.sub(x0, v128.or(v128.and(c0, sign), f64x2.mul(t0, ulp))), y1 = f64x2.sub(x1, v128.or(v128.and(c1, sign), f64x2.mul(t1, ulp)))
    const f0 = v128.and(f64x2.ne(c0, rounded(c0, f64x2.mul(t0, many))), f64x2.ne(v128.and(x0, keep), v128.and(y0, keep)))
    const f1 = v128.and(f64x2.ne(c1, rounded(c1, f64x2.mul(t1, many))), f64x2.ne(v128.and(x1, keep), v128.and(y1, keep)))
    v128.store(masks, f1, 16)
    v128.store(masks, f0)
    masks += 32
    from += 32
  }
  return tile_bits(masks - TILE)
}

/**
 * For every lane a mask: is x[row] y[column] not a multiple of 2^(E - F), for E from |c| (at `from`) and H? fa, fb: units of the panels, then 2^H; cut: 2^-F.
 */
export function mark_cut(x: usize, y: usize, fa: usize, fb: usize, from: usize, masks: usize, cut: f64): void {
  const exponent = v128.load(EXPONENT), many = f64x2.splat(6755399441055744 * cut)
  for (let r = 0; r < ROWS; r++) {
    const factor = f64x2.splat(load<f64>(x)), top = f64x2.splat(load<f64>(fa + topsAfter(ROWS)))
    const end = masks + 128
    do {
      const h0 = f64x2.mul(v128.load(fb + topsAfter(COLUMNS)), top), h1 = f64x2.mul(v128.load(fb + topsAfter(COLUMNS), 16), top)
      const m0 = f64x2.mul(f64x2.pmax(v128.and(v128.load(from), exponent), h0), many), m1 = f64x2.mul(f64x2.pmax(v128.and(v128.load(from, 16), exponent), h1), many)
      const p0 = f64x2.mul(v128.load(y), factor), p1 = f64x2.mul(v128.load(y, 16), factor)
      const f0 = f64x2.ne(p0, rounded(p0, m0)), f1 = f64x2.ne(p1, rounded(p1, m1))
      v128.store(masks, f1, 16)
      v128.store(masks, f0)
      from += 32
      fb += 32
      y += 32
      masks += 32
    } while (masks != end)
    fb -= 128
    y -= 128
    fa += 8
    x += 8
  }
}

/** Sums in f64 += those in integers, in the units of rows and columns times `weight`. */
export function add_scaled(integers: usize, fa: usize, fb: usize, weight: f64): void {
  let sums = integers + INTEGER_TILE
  const magic = v128.load(MAGIC)
  for (let r = 0; r < ROWS; r++) {
    const unit = f64x2.splat(load<f64>(fa) * weight)
    const end = sums + 128
    do {
      const n = v128.load(integers)
      const s0 = f64x2.add(v128.load(sums), low_sums(n, magic, fb, unit)), s1 = f64x2.add(v128.load(sums, 16), high_sums(n, magic, fb, unit))
      v128.store(sums, s1, 16)
      v128.store(sums, s0)
      integers += 16
      fb += 32
      sums += 32
    } while (sums != end)
    fb -= 128
    fa += 8
  }
}

/** Sixteen lanes' masks as bits. */
// @ts-ignore: decorator
@inline
function maskBits(p: usize): u64 {
  const a = v128.shuffle<i32>(v128.load(p), v128.load(p, 16), 0, 2, 4, 6), b = v128.shuffle<i32>(v128.load(p, 32), v128.load(p, 48), 0, 2, 4, 6)
  const c = v128.shuffle<i32>(v128.load(p, 64), v128.load(p, 80), 0, 2, 4, 6), d = v128.shuffle<i32>(v128.load(p, 96), v128.load(p, 112), 0, 2, 4, 6)
  return <u64><u32>i8x16.bitmask(i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d)))
}

/** The masks of a tile's 64 lanes as bits. */
export function tile_bits(masks: usize): u64 {
  return maskBits(masks) | maskBits(masks + 128) << 16 | maskBits(masks + 256) << 32 | maskBits(masks + 384) << 48
}
