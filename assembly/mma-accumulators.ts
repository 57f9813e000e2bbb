// Accumulators of the quick tensor-core kernels (mma-fp4.ts, mma-sums.ts): tiles of 4 rows by 16 columns of f64, each number an f32, and what both ask of them.
import { infBits, nanBits } from './mma-round'

/** Rows and columns of a tile: those of a panel of A and of B. */
export const ROWS: i32 = 4, COLUMNS: i32 = 16
/** Bytes of a tile. */
export const TILE: usize = 512

/** Tiles, one below the other, in one item of a product: 64 rows. */
export const TALL: i32 = 16
/** Steps done for one tile before the next: a panel of B of that length stays in the first-level cache. */
export const DEPTH: i32 = 8

/** Masks of an f64, two lanes each: its 24 leading bits, which is RZ to f32 of a number in that range; all but its sign; its exponent. */
export const LEADING = memory.data<i64>([-0x20000000, -0x20000000])
export const MAGNITUDE = memory.data<u64>([0x7fffffffffffffff, 0x7fffffffffffffff])
export const EXPONENT = memory.data<u64>([0x7ff0000000000000, 0x7ff0000000000000])

/** 2^n. */
// @ts-ignore: decorator
@inline
export function pow2(n: i32): f64 { return reinterpret<f64>(<u64>(n + 1023) << 52) }

/** An accumulator as bits, NaN as NVIDIA writes it. */
// @ts-ignore: decorator
@inline
export function to_bits(c: f64): u32 {
  const x = <f32>c
  return x == x ? reinterpret<u32>(x) : nanBits(false)
}

/** Of the bits of the largest magnitude: is it Inf or NaN? */
// @ts-ignore: decorator
@inline
export function beyond(magnitude: u32): bool { return magnitude >= infBits(false, false) }

/** A tile from rows of N words, of which `rows` by `columns` are inside the matrix; the other lanes are 0. c = 0: all are. Returns the bits of the largest magnitude. */
export function load_tile(to: usize, c: usize, N: i32, rows: i32, columns: i32): u32 {
  const zero = i32x4.splat(0)
  let most: u32 = 0
  for (let p = to; p < to + TILE; p += 16) v128.store(p, zero) // much quicker than memory.fill, which is a call
  if (!c) return 0
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < columns; j++) {
      const bits = load<u32>(c + (<usize>j << 2))
      most = max(most, bits & 0x7fffffff)
      store<f64>(to + (<usize>j << 3), <f64>reinterpret<f32>(bits))
    }
    c += <usize>N << 2
    to += 8 * COLUMNS
  }
  return most
}

/** The reverse. `special`: an Inf or NaN may be among them. */
export function store_tile(from: usize, d: usize, N: i32, rows: i32, columns: i32, special: bool): void {
  for (let r = 0; r < rows; r++) {
    if (columns == COLUMNS && !special) {
      for (let j: usize = 0; j < 16; j += 4) {
        const x = f32x4.demote_f64x2_zero(v128.load(from + (j << 3))), y = f32x4.demote_f64x2_zero(v128.load(from + (j << 3), 16))
        v128.store(d + (j << 2), v128.shuffle<i32>(x, y, 0, 1, 4, 5))
      }
    } else {
      for (let j = 0; j < columns; j++) store<u32>(d + (<usize>j << 2), to_bits(load<f64>(from + (<usize>j << 3))))
    }
    d += <usize>N << 2
    from += 8 * COLUMNS
  }
}
