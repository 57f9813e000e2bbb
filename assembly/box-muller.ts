// Normal numbers from uniform ones, 16 at a time, as torch's CPU generator makes them where it has AVX2 (aten/src/ATen/native/cpu, Cephes polynomials
// with fused multiply-adds): the first eight uniforms v give u1 = 1 - v, the last eight u2; r = sqrt(-2 log u1), t = 2 pi u2; results r cos t and
// r sin t. The fused operations are emulated (fma.ts), so the bits are torch's on every engine. Emulation makes it slow (20 ns a number): for torch's numbers only.
import { fma } from './fma'
import { at } from './lanes'

const C = memory.data<f32>([
  0.70710678, // 0: sqrt(1/2)
  7.0376836292e-2, // 1..9: log, from the highest power
  -1.1514610310e-1,
  1.1676998740e-1,
  -1.2420140846e-1,
  1.4249322787e-1,
  -1.6668057665e-1,
  2.0000714765e-1,
  -2.4999993993e-1,
  3.3333331174e-1,
  -2.12194440e-4, // 10, 11: ln 2 in two parts
  0.693359375,
  -0.5, // 12
  1.27323954473516, // 13: 4 / pi
  -0.78515625, // 14..16: -pi / 4 in three parts
  -2.4187564849853515625e-4,
  -3.77489497744594108e-8,
  2.443315711809948e-5, // 17..19: cosine
  -1.388731625493765e-3,
  4.166664568298827e-2,
  -1.9515295891e-4, // 20..22: sine
  8.3321608736e-3,
  -1.6666654611e-1,
  6.283185307179586, // 23: 2 pi
  1, // 24
  -2, // 25
])

/** Natural logarithm of x in (0, 1]. */
// @ts-ignore: decorator
@inline
function log(x: v128): v128 {
  // x = m 2^e with m in [1/2, 1).
  let e = f32x4.convert_i32x4_s(i32x4.sub(i32x4.shr_u(x, 23), i32x4.splat(126)))
  const m = v128.or(v128.and(x, i32x4.splat(0x007fffff)), i32x4.splat(0x3f000000))
  const below = f32x4.lt(m, at(C, 0))
  e = f32x4.sub(e, v128.and(below, at(C, 24)))
  const q = f32x4.add(f32x4.sub(m, at(C, 24)), v128.and(below, m))
  const z = f32x4.mul(q, q)
  let y = at(C, 1)
  y = fma(y, q, at(C, 2))
  y = fma(y, q, at(C, 3))
  y = fma(y, q, at(C, 4))
  y = fma(y, q, at(C, 5))
  y = fma(y, q, at(C, 6))
  y = fma(y, q, at(C, 7))
  y = fma(y, q, at(C, 8))
  y = fma(y, q, at(C, 9))
  y = f32x4.mul(y, q)
  y = fma(y, z, f32x4.mul(e, at(C, 10)))
  y = fma(z, at(C, 12), y)
  return fma(e, at(C, 11), f32x4.add(q, y))
}

// @ts-ignore: decorator
@inline
function pair(u1: v128, u2: v128, cosines: usize, sines: usize, std: v128, mean: v128): void {
  const r = f32x4.sqrt(f32x4.mul(at(C, 25), log(f32x4.sub(at(C, 24), u1))))
  const t = f32x4.mul(at(C, 23), u2)
  const j = v128.and(i32x4.add(i32x4.trunc_sat_f32x4_s(f32x4.mul(t, at(C, 13))), i32x4.splat(1)), i32x4.splat(~1))
  const y = f32x4.convert_i32x4_s(j)
  const w = fma(y, at(C, 16), fma(y, at(C, 15), fma(y, at(C, 14), t)))
  const z = f32x4.mul(w, w)
  let c = fma(at(C, 17), z, at(C, 18))
  c = f32x4.mul(fma(c, z, at(C, 19)), z)
  c = f32x4.add(fma(c, z, f32x4.mul(z, at(C, 12))), at(C, 24))
  let s = fma(at(C, 20), z, at(C, 21))
  s = f32x4.mul(fma(s, z, at(C, 22)), z)
  s = fma(s, w, w)
  const swap = i32x4.ne(v128.and(j, i32x4.splat(2)), i32x4.splat(0))
  const sinSign = i32x4.shl(v128.and(j, i32x4.splat(4)), 29)
  const cosSign = i32x4.shl(v128.andnot(i32x4.splat(4), i32x4.sub(j, i32x4.splat(2))), 29)
  const sine = v128.xor(v128.bitselect(c, s, swap), sinSign), cosine = v128.xor(v128.bitselect(s, c, swap), cosSign)
  v128.store(cosines, fma(f32x4.mul(r, cosine), std, mean))
  v128.store(sines, fma(f32x4.mul(r, sine), std, mean))
}

/** Replace the 16 uniforms in [0, 1) at `p` by normals with the given standard deviation and mean. */
export function box_muller_16(p: usize, std: v128, mean: v128): void {
  pair(v128.load(p), v128.load(p, 32), p, p + 32, std, mean)
  pair(v128.load(p, 16), v128.load(p, 48), p + 16, p + 48, std, mean)
}
