// Lanes of vectors: constants in all of them, and ragged ends. At an end the last 1..3 elements of a range go through the same four-lane arithmetic as the rest,
// so that a tail has no formula of its own.

/** Word i of a table in all lanes: one operation, of 128 or 256 bits (a splat of a constant some engines build anew in every turn of a loop). */
// @ts-ignore: decorator
@inline
export function at(table: usize, i: usize): v128 { return v128.load32_splat(table + (i << 2)) }

/** The first `n` (1..3) f32 at `ptr` in lanes 0..n-1, zero above. Reads nothing beyond them. */
export function loadPart(ptr: usize, n: i32): v128 {
  if (n == 1) return v128.load32_zero(ptr)
  const two = v128.load64_zero(ptr)
  return n == 2 ? two : v128.load_lane<f32>(ptr, two, 2, 8)
}

/** Store lanes 0..n-1 (n = 1..3). Writes nothing beyond them. */
export function storePart(ptr: usize, x: v128, n: i32): void {
  if (n == 1) v128.store_lane<f32>(ptr, x, 0)
  else {
    v128.store_lane<u64>(ptr, x, 0)
    if (n == 3) v128.store_lane<f32>(ptr, x, 2, 8)
  }
}

/** The first n f32, of four at most. */
// @ts-ignore: decorator
@inline
export function loadSome(ptr: usize, n: i32): v128 { return n >= 4 ? v128.load(ptr) : loadPart(ptr, n) }

/** Store the first n lanes, four at most. */
// @ts-ignore: decorator
@inline
export function storeSome(ptr: usize, x: v128, n: i32): void {
  if (n >= 4) v128.store(ptr, x)
  else storePart(ptr, x, n)
}

/** Lane i is all ones where i < n, by n = 0..4. */
const FIRST = memory.data<u32>([
  0, 0, 0, 0, 0xffffffff, 0, 0, 0, 0xffffffff, 0xffffffff, 0, 0, 0xffffffff, 0xffffffff, 0xffffffff, 0, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
])

/** All ones in lanes 0 .. n - 1, n = 0 .. 4. */
// @ts-ignore: decorator
@inline
export function first(n: i32): v128 { return v128.load(FIRST + (<usize>n << 4)) }
