// Largest magnitudes, as words: down columns and of blocks on end. Down columns every lane is a column and no maximum crosses lanes; rows pass four at a time, so
// that a column's maximum is read and written once for four elements. (An engine makes one operation of 256 bits of two whose results are stored side by side:
// hence eight columns at a time, and words kept in memory between loops.)
import { WIDEST } from './quantize-lanes'
import { is_element } from './quantize-modes'
import { magnitude_mask } from './quantize-vector'
import { amax_without_nan, mode } from './quantizer'

/** maxima[c] = max(maxima[c], |x|) over four rows of `bytes` (a multiple of 32) bytes. */
function four_rows(maxima: usize, p0: usize, rowBytes: usize, bytes: usize): void {
  const magnitude = magnitude_mask(), p1 = p0 + rowBytes, p2 = p1 + rowBytes, p3 = p2 + rowBytes
  for (let c: usize = 0; c < bytes; c += 32) {
    const q0 = p0 + c, q1 = p1 + c, q2 = p2 + c, q3 = p3 + c, m = maxima + c
    const a = i32x4.max_s(i32x4.max_s(v128.and(v128.load(q0), magnitude), v128.and(v128.load(q1), magnitude)), i32x4.max_s(v128.and(v128.load(q2), magnitude), v128.and(v128.load(q3), magnitude)))
    const b = i32x4.max_s(i32x4.max_s(v128.and(v128.load(q0, 16), magnitude), v128.and(v128.load(q1, 16), magnitude)), i32x4.max_s(v128.and(v128.load(q2, 16), magnitude), v128.and(v128.load(q3, 16), magnitude)))
    const m0 = i32x4.max_s(v128.load(m), a), m1 = i32x4.max_s(v128.load(m, 16), b)
    v128.store(m, m1, 16)
    v128.store(m, m0)
  }
}

/** The same of one row. */
function one_row(maxima: usize, from: usize, bytes: usize): void {
  const magnitude = magnitude_mask()
  for (let c: usize = 0; c < bytes; c += 32) {
    const m0 = i32x4.max_s(v128.load(maxima + c), v128.and(v128.load(from + c), magnitude)), m1 = i32x4.max_s(v128.load(maxima + c, 16), v128.and(v128.load(from + c, 16), magnitude))
    v128.store(maxima + c, m1, 16)
    v128.store(maxima + c, m0)
  }
}

/** Take NaNs out of the maxima where elements stand alone (is_element). True if there were any. */
function without_nan(maxima: usize, from: usize, n: i32, rowBytes: usize, w: i32): bool {
  let any = false
  for (let c: usize = 0, all = <usize>w << 2; c < all; c += 4) if (load<i32>(maxima + c) > 0x7f800000) {
    store<i32>(maxima + c, amax_without_nan(from + c, n, rowBytes))
    any = true
  }
  return any
}

/**
 * maxima[c] = largest magnitude, as a word, of n rows in column c. True if the columns hold NaNs that do not count (is_element). `inOrder`: read one row after the
 * other, the faster way where they come from memory.
 */
export function column_maxima(maxima: usize, from: usize, n: i32, rowBytes: usize, w: i32, inOrder: bool = false): bool {
  const wide = <usize>(w & ~7) << 2
  memory.fill(maxima, 0, wide)
  let r = 0
  if (wide > 0) {
    if (!inOrder) for (; r + 4 <= n; r += 4) four_rows(maxima, from + <usize>r * rowBytes, rowBytes, wide)
    for (; r < n; r++) one_row(maxima, from + <usize>r * rowBytes, wide)
  }
  for (let c = wide, all = <usize>w << 2; c < all; c += 4) {
    let m = 0
    for (let p = from + c, stop = p + <usize>n * rowBytes; p < stop; p += rowBytes) m = max(m, load<i32>(p) & 0x7fffffff)
    store<i32>(maxima + c, m)
  }
  return is_element(mode) && without_nan(maxima, from, n, rowBytes, w)
}

/** Of each of n blocks of 32 on end: the maxima of the elements whose places agree modulo 8. */
function eighths_of_32(to: usize, from: usize, n: i32): void {
  const magnitude = magnitude_mask()
  for (const stop = to + (<usize>n << 5); to < stop; to += 32, from += 128) {
    const a = i32x4.max_s(i32x4.max_s(v128.and(v128.load(from), magnitude), v128.and(v128.load(from, 32), magnitude)), i32x4.max_s(v128.and(v128.load(from, 64), magnitude), v128.and(v128.load(from, 96), magnitude)))
    const b = i32x4.max_s(i32x4.max_s(v128.and(v128.load(from, 16), magnitude), v128.and(v128.load(from, 48), magnitude)), i32x4.max_s(v128.and(v128.load(from, 80), magnitude), v128.and(v128.load(from, 112), magnitude)))
    v128.store(to, b, 16)
    v128.store(to, a)
  }
}

/** The same of blocks of `size` elements, a multiple of 16. */
function eighths_of(to: usize, from: usize, n: i32, size: i32): void {
  const magnitude = magnitude_mask()
  for (const stop = to + (<usize>n << 5); to < stop; to += 32) {
    let a = i32x4.splat(0), b = a
    for (const last = from + (<usize>size << 2); from < last; from += 64) {
      a = i32x4.max_s(a, i32x4.max_s(v128.and(v128.load(from), magnitude), v128.and(v128.load(from, 32), magnitude)))
      b = i32x4.max_s(b, i32x4.max_s(v128.and(v128.load(from, 16), magnitude), v128.and(v128.load(from, 48), magnitude)))
    }
    v128.store(to, b, 16)
    v128.store(to, a)
  }
}

/** maxima[i] = largest of the eight words 8 i and on, four at a time. */
function largest_of_eight(maxima: usize, eighths: usize, n: i32): void {
  for (const stop = maxima + (<usize>n << 2); maxima < stop; maxima += 16, eighths += 128) {
    const a = i32x4.max_s(v128.load(eighths), v128.load(eighths, 16)), b = i32x4.max_s(v128.load(eighths, 32), v128.load(eighths, 48))
    const c = i32x4.max_s(v128.load(eighths, 64), v128.load(eighths, 80)), d = i32x4.max_s(v128.load(eighths, 96), v128.load(eighths, 112))
    const ab = i32x4.max_s(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7)), cd = i32x4.max_s(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7))
    v128.store(maxima, i32x4.max_s(v128.shuffle<i32>(ab, cd, 0, 1, 4, 5), v128.shuffle<i32>(ab, cd, 2, 3, 6, 7)))
  }
}

/**
 * maxima[i] = largest magnitude of block i of n on end, of `size` elements each, a multiple of 16; n <= 256. NaN is larger than Inf. Up to 3 more words are written,
 * and 32 n bytes after WIDEST words.
 */
export function block_maxima(maxima: usize, from: usize, n: i32, size: i32): void {
  const eighths = maxima + (<usize>WIDEST << 2)
  if (size == 32) eighths_of_32(eighths, from, n)
  else eighths_of(eighths, from, n, size)
  largest_of_eight(maxima, eighths, n)
}
