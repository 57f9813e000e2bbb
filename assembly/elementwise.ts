// Sums, differences and products of tensors, element by element, in plain f32; with a row broadcast over all rows where the name says so.
// The output may be one of the inputs.
import { AWAY, EVEN, NONE, round } from './bf16'
import { loadPart, storePart } from './lanes'

const ADD: i32 = 0
const SUB: i32 = 1
const MUL: i32 = 2

// @ts-ignore: decorator
@inline
function combine(op: i32, a: v128, b: v128): v128 {
  if (op == ADD) return f32x4.add(a, b)
  if (op == SUB) return f32x4.sub(a, b)
  return f32x4.mul(a, b)
}

// @ts-ignore: decorator
@inline
function binary(op: i32, a: usize, b: usize, out: usize, begin: i32, end: i32): void {
  let i = begin
  for (; i + 8 <= end; i += 8) {
    const o = <usize>i << 2
    const low = combine(op, v128.load(a + o), v128.load(b + o)), high = combine(op, v128.load(a + o, 16), v128.load(b + o, 16))
    v128.store(out + o, high, 16)
    v128.store(out + o, low)
  }
  for (; i < end; i += 4) {
    const o = <usize>i << 2, rest = end - i
    if (rest >= 4) v128.store(out + o, combine(op, v128.load(a + o), v128.load(b + o)))
    else storePart(out + o, combine(op, loadPart(a + o, rest), loadPart(b + o, rest)), rest)
  }
}

/** out = a + b. Items: elements. */
export function add_f32(a: usize, b: usize, out: usize, begin: i32, end: i32): void { binary(ADD, a, b, out, begin, end) }
/** out = a - b. Items: elements. */
export function sub_f32(a: usize, b: usize, out: usize, begin: i32, end: i32): void { binary(SUB, a, b, out, begin, end) }
/** out = a * b. Items: elements. */
export function mul_f32(a: usize, b: usize, out: usize, begin: i32, end: i32): void { binary(MUL, a, b, out, begin, end) }

/** out = x * factor. Items: elements. */
export function scale_f32(x: usize, factor: f32, out: usize, begin: i32, end: i32): void {
  const s = f32x4.splat(factor)
  for (let i = begin; i < end; i += 4) {
    const o = <usize>i << 2, rest = end - i
    if (rest >= 4) v128.store(out + o, f32x4.mul(v128.load(x + o), s))
    else storePart(out + o, f32x4.mul(loadPart(x + o, rest), s), rest)
  }
}

/** y = y + alpha x; the product is rounded, then the sum. Items: elements. */
export function axpy_f32(alpha: f32, x: usize, y: usize, begin: i32, end: i32): void {
  const s = f32x4.splat(alpha)
  for (let i = begin; i < end; i += 4) {
    const o = <usize>i << 2, rest = end - i
    if (rest >= 4) v128.store(y + o, f32x4.add(v128.load(y + o), f32x4.mul(v128.load(x + o), s)))
    else storePart(y + o, f32x4.add(loadPart(y + o, rest), f32x4.mul(loadPart(x + o, rest), s)), rest)
  }
}

// @ts-ignore: decorator
@inline
function addRow(x: usize, row: usize, out: usize, C: i32, rounding: i32, begin: i32, end: i32): void {
  for (let r = begin; r < end; r++) {
    const from = x + (<usize>r * <usize>C << 2), to = out + (<usize>r * <usize>C << 2)
    let c = 0
    for (; c + 4 <= C; c += 4) {
      const o = <usize>c << 2
      v128.store(to + o, round(f32x4.add(v128.load(from + o), v128.load(row + o)), rounding))
    }
    const rest = C - c, o = <usize>c << 2
    if (rest > 0) storePart(to + o, round(f32x4.add(loadPart(from + o, rest), loadPart(row + o, rest)), rounding), rest)
  }
}

/** out [rows, C] = Q(x [rows, C] + row [C]), Q as in assembly/bf16.ts. Items: rows. */
export function add_row_f32(x: usize, row: usize, out: usize, C: i32, rounding: i32, begin: i32, end: i32): void {
  if (rounding == NONE) addRow(x, row, out, C, NONE, begin, end)
  else if (rounding == EVEN) addRow(x, row, out, C, EVEN, begin, end)
  else addRow(x, row, out, C, AWAY, begin, end)
}
