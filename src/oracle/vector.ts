// Whole-array float32 arithmetic: how the oracles of the vector operations are written. Every primitive step of a formula is one call, and what it
// stores into a Float32Array is rounded once, so f32 semantics come for free: sums, differences, products, quotients and square roots of two f32
// values computed in double and then rounded are the correctly rounded f32 results.
export type Vector = Float32Array

/** Rounding applied to a result, the Q of the formulas; `keep` is none. */
export type Round = (x: Vector) => Vector
export const keep: Round = x => x

/** f of the elements of equally long vectors; a plain number is repeated. */
export function map<T extends (Vector | number)[]>(f: (...values: { [K in keyof T]: number }) => number, ...args: T): Vector {
  const length = args.find(a => typeof a !== 'number')!.length
  return Float32Array.from({ length }, (_, i) => f(...args.map(a => typeof a === 'number' ? a : a[i]!) as { [K in keyof T]: number }))
}

export const add = (a: Vector | number, b: Vector | number): Vector => map((x, y) => x + y, a, b)
export const sub = (a: Vector | number, b: Vector | number): Vector => map((x, y) => x - y, a, b)
export const mul = (a: Vector | number, b: Vector | number): Vector => map((x, y) => x * y, a, b)
export const div = (a: Vector | number, b: Vector | number): Vector => map((x, y) => x / y, a, b)
export const neg = (a: Vector): Vector => map(x => -x, a)
export const sqrt = (a: Vector): Vector => map(Math.sqrt, a)

/** Q as a function of one number. */
export const one = (q: Round, x: number): number => q(Float32Array.of(x))[0]!
