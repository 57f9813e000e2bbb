// A step of Blackwell's FP4 product in which something is cut, for tiles that `finish` of mma-fp4.ts cannot do, because scales are too far apart or c is too small:
//   d = RZ(cut(c) + sum over groups of cut(p_g)), cut: toward zero to a multiple of 2^(E - F), F = 35
// Lane by lane E is the largest of the exponents of c and of the groups with a nonzero product. In f64 this is exact: each term is below 2^(E + 14), so the sum has
// fewer than 53 bits in units of 2^(E - F). Left to the plain kernel are lanes that this cannot decide: a sum of zero in the group that would set E (its products
// may or may not all be zero), results near the subnormals of FP32, and those beyond its largest number.
import { COLUMNS, EXPONENT, LEADING, ROWS } from './mma-accumulators'
import { factorsAt, powersAt } from './mma-fp4-pack'

/** F, of which the constants below are made. */
export const FRACTION: i32 = 35

/** Constants, twice each: the bits of 2^F / E plus those of E; 2^-114 and 2^128; 2^-F. */
const INVERSE = memory.data<u64>([0x8210000000000000, 0x8210000000000000])
const SMALLEST = memory.data<u64>([0x38d0000000000000, 0x38d0000000000000])
const BEYOND = memory.data<u64>([0x47f0000000000000, 0x47f0000000000000])
const UNIT = memory.data<u64>([0x3dc0000000000000, 0x3dc0000000000000])

/** Sum of a group in two lanes. */
// @ts-ignore: decorator
@inline
function group(sums: usize, anchors: usize, factor: usize): v128 {
  const anchor = v128.load(anchors)
  return f64x2.mul(f64x2.sub(i64x2.add(anchor, v128.load_ext<i32>(sums)), anchor), v128.load64_splat(factor))
}

/** Power of a group in two lanes. */
// @ts-ignore: decorator
@inline
function power(columns: usize, row: usize): v128 { return f64x2.mul(v128.load(columns), v128.load64_splat(row)) }

/** e where p is not zero, else 0. */
// @ts-ignore: decorator
@inline
function where(e: v128, p: v128): v128 { return v128.and(e, f64x2.ne(p, f64x2.splat(0))) }

// @ts-ignore: decorator
@inline
function larger(a: v128, b: v128): v128 { return f64x2.pmax(a, b) }

/**
 * to = the step's results from the accumulators `from` and the sums of its four groups [4][4][16]; pa, pb: the step's panels. NaN: left to the plain kernel. Two lanes at a
 * time: V8 does not widen f64x2.trunc.
 */
export function finish_cut(sums: usize, pa: usize, pb: usize, from: usize, to: usize): void {
  let fa = pa + factorsAt(ROWS), ea = pa + powersAt(ROWS), fb = pb + factorsAt(COLUMNS), eb = pb + powersAt(COLUMNS)
  for (let r = 0; r < ROWS; r++) {
    const end = to + 8 * COLUMNS
    do {
      const p0 = group(sums, fb, fa), p1 = group(sums + 256, fb + 8 * COLUMNS, fa + 8 * ROWS), p2 = group(sums + 512, fb + 16 * COLUMNS, fa + 16 * ROWS), p3 = group(sums + 768, fb + 24 * COLUMNS, fa + 24 * ROWS)
      const e0 = power(eb, ea), e1 = power(eb + 8 * COLUMNS, ea + 8 * ROWS), e2 = power(eb + 16 * COLUMNS, ea + 16 * ROWS), e3 = power(eb + 24 * COLUMNS, ea + 24 * ROWS)
      const c = v128.load(from), smallest = v128.load(SMALLEST)
      const E = larger(larger(v128.and(c, v128.load(EXPONENT)), larger(where(e0, p0), where(e1, p1))), larger(where(e2, p2), where(e3, p3)))
      const possible = larger(larger(larger(e0, e1), larger(e2, e3)), smallest), known = larger(E, smallest)
      const inverse = i64x2.sub(v128.load(INVERSE), known)
      const t0 = f64x2.add(f64x2.trunc(f64x2.mul(p0, inverse)), f64x2.trunc(f64x2.mul(p1, inverse))), t1 = f64x2.add(f64x2.trunc(f64x2.mul(p2, inverse)), f64x2.trunc(f64x2.mul(p3, inverse)))
      const sum = f64x2.add(f64x2.trunc(f64x2.mul(c, inverse)), f64x2.add(t0, t1))
      const d = v128.and(f64x2.mul(sum, f64x2.mul(known, v128.load(UNIT))), v128.load(LEADING))
      const undecided = v128.and(f64x2.ne(E, f64x2.splat(0)), f64x2.lt(E, possible))
      v128.store(to, v128.or(d, v128.or(undecided, f64x2.ge(f64x2.abs(d), v128.load(BEYOND)))))
      sums += 8
      fb += 16
      eb += 16
      from += 16
      to += 16
    } while (to != end)
    fb -= 8 * COLUMNS
    eb -= 8 * COLUMNS
    fa += 8
    ea += 8
  }
}
