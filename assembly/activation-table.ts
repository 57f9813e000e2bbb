// Activations of the bf16 chain by table. The chain (activation.ts) first rounds x to bf16, so its value y and its derivative factor D, with
// dx = Q(D Q(dy)), are functions of 65,536 inputs: two tables, indexed by the upper half of the word, computed by the chain itself. Several times faster.
import { Away, EVEN, Even, NONE, None, rounded } from './bf16'
import { loadPart, storePart } from './lanes'

/** dst [65536] = every bf16 value, in the order of its bits. Items: elements. */
export function bf16_values_f32(dst: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) store<u32>(dst + (<usize>i << 2), <u32>i << 16)
}

/** Entries of the table at the four values of x, which are bf16. */
// @ts-ignore: decorator
@inline
function gather(table: usize, x: v128): v128 {
  const offsets = i32x4.shr_u(x, 14)
  let r = v128.load32_zero(table + <usize>i32x4.extract_lane(offsets, 0))
  r = v128.load_lane<u32>(table + <usize>i32x4.extract_lane(offsets, 1), r, 1)
  r = v128.load_lane<u32>(table + <usize>i32x4.extract_lane(offsets, 2), r, 2)
  return v128.load_lane<u32>(table + <usize>i32x4.extract_lane(offsets, 3), r, 3)
}

// @ts-ignore: decorator
@inline
function forward<R>(table: usize, x: usize, y: usize, begin: i32, end: i32): void {
  let i = begin
  for (; i + 4 <= end; i += 4) v128.store(y + (<usize>i << 2), gather(table, rounded<R>(v128.load(x + (<usize>i << 2)))))
  const rest = end - i, o = <usize>i << 2
  if (rest > 0) storePart(y + o, gather(table, rounded<R>(loadPart(x + o, rest))), rest)
}

/** y = table[Q x], table [65536] of values. Items: elements. */
export function activation_table_forward(table: usize, rounding: i32, x: usize, y: usize, begin: i32, end: i32): void {
  if (rounding == EVEN) forward<Even>(table, x, y, begin, end)
  else forward<Away>(table, x, y, begin, end)
}

// @ts-ignore: decorator
@inline
function derivative<R, B>(table: usize, x: v128, dy: v128): v128 { return rounded<B>(f32x4.mul(gather(table, rounded<R>(x)), rounded<B>(dy))) }

// @ts-ignore: decorator
@inline
function backward<R, B>(table: usize, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void {
  let i = begin
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2
    v128.store(dx + o, derivative<R, B>(table, v128.load(x + o), v128.load(dy + o)))
  }
  const rest = end - i, o = <usize>i << 2
  if (rest > 0) storePart(dx + o, derivative<R, B>(table, loadPart(x + o, rest), loadPart(dy + o, rest)), rest)
}

/** dx = Q(table[Q x] Q(dy)), table [65536] of derivative factors; the outer Q by `back`, NONE or `rounding`. Items: elements. */
export function activation_table_backward(table: usize, rounding: i32, back: i32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void {
  if (rounding == EVEN) {
    if (back == NONE) backward<Even, None>(table, x, dy, dx, begin, end)
    else backward<Even, Even>(table, x, dy, dx, begin, end)
  } else if (back == NONE) backward<Away, None>(table, x, dy, dx, begin, end)
  else backward<Away, Away>(table, x, dy, dx, begin, end)
}

// @ts-ignore: decorator
@inline
function gatedRow<R>(table: usize, x: usize, y: usize, width: i32): void {
  const b = x + (<usize>width << 2)
  let i = 0
  for (; i + 4 <= width; i += 4) {
    const o = <usize>i << 2
    v128.store(y + o, f32x4.mul(v128.load(x + o), gather(table, rounded<R>(v128.load(b + o)))))
  }
  const rest = width - i, o = <usize>i << 2
  if (rest > 0) storePart(y + o, f32x4.mul(loadPart(x + o, rest), gather(table, rounded<R>(loadPart(b + o, rest)))), rest)
}

/** As swiglu_forward, silu by table. Items: rows. */
export function swiglu_table_forward(table: usize, rounding: i32, x: usize, y: usize, width: i32, begin: i32, end: i32): void {
  for (let row = begin; row < end; row++) {
    const from = x + (<usize>row * <usize>width << 3), to = y + (<usize>row * <usize>width << 2)
    if (rounding == EVEN) gatedRow<Even>(table, from, to, width)
    else gatedRow<Away>(table, from, to, width)
  }
}

// @ts-ignore: decorator
@inline
function gatedRowBack<R, B>(values: usize, factors: usize, x: usize, dy: usize, dx: usize, width: i32): void {
  const half = <usize>width << 2
  let i = 0
  for (; i + 4 <= width; i += 4) {
    const o = <usize>i << 2
    const b = v128.load(x + half + o), g = v128.load(dy + o)
    const da = f32x4.mul(g, gather(values, rounded<R>(b))), db = derivative<R, B>(factors, b, f32x4.mul(g, v128.load(x + o)))
    v128.store(dx + o, da)
    v128.store(dx + half + o, db)
  }
  const rest = width - i, o = <usize>i << 2
  if (rest > 0) {
    const b = loadPart(x + half + o, rest), g = loadPart(dy + o, rest)
    const da = f32x4.mul(g, gather(values, rounded<R>(b))), db = derivative<R, B>(factors, b, f32x4.mul(g, loadPart(x + o, rest)))
    storePart(dx + o, da, rest)
    storePart(dx + half + o, db, rest)
  }
}

/** As swiglu_backward, silu and its derivative by table. Items: rows. */
export function swiglu_table_backward(values: usize, factors: usize, rounding: i32, back: i32, x: usize, dy: usize, dx: usize, width: i32, begin: i32, end: i32): void {
  for (let row = begin; row < end; row++) {
    const from = x + (<usize>row * <usize>width << 3), to = dx + (<usize>row * <usize>width << 3), g = dy + (<usize>row * <usize>width << 2)
    if (rounding == EVEN) {
      if (back == NONE) gatedRowBack<Even, None>(values, factors, from, g, to, width)
      else gatedRowBack<Even, Even>(values, factors, from, g, to, width)
    } else if (back == NONE) gatedRowBack<Away, None>(values, factors, from, g, to, width)
    else gatedRowBack<Away, Away>(values, factors, from, g, to, width)
  }
}
