// Random fills from Philox4x32-10: elements 16 g ... 16 g + 15 are made from the 16 words of counters (4 g ... 4 g + 3, stream, step), so any group can be
// made alone.
import { at, loadPart, storePart } from './lanes'
import { log } from './math'
import { philox_x4 } from './philox'
import { scratch } from './scratch'

// @ts-ignore: decorator
@inline
function words(group: i32, stream: u32, step: usize, seedLow: u32, seedHigh: u32): void {
  philox_x4(scratch, <u32>group << 2, stream, load<u32>(step), load<u32>(step, 4), seedLow, seedHigh)
}

/** Upper 24 bits of each word, as f32 in [0, 2^24). */
// @ts-ignore: decorator
@inline
function upper(word: v128): v128 { return f32x4.convert_i32x4_u(i32x4.shr_u(word, 8)) }

const C = memory.data<f32>([
  5.9604644775390625e-8, // 0: 2^-24
  1, // 1
  -2, // 2
  2.384185791015625e-7, // 3: 2^-22, quarter turns
  1.5707963267948966, // 4: pi / 2
  // 5..8: sine and cosine on [-pi/4, pi/4], Taylor coefficients -1/3!, 1/5!, -1/7!, 1/9!
  -0.16666666666666666,
  0.008333333333333333,
  -0.0001984126984126984,
  0.0000027557319223985893,
  // 9..12: -1/2!, 1/4!, -1/6!, 1/8!
  -0.5,
  0.041666666666666664,
  -0.001388888888888889,
  0.0000248015873015873,
])

/** Box and Muller: from four words each, r cos(2 pi u2) at `p` and r sin(2 pi u2) at `p + 32`, r = sqrt(-2 log u1), u1 in (0, 1], u2 in [0, 1). */
// @ts-ignore: decorator
@inline
function normals(p: usize, std: v128, mean: v128): void {
  const u1 = f32x4.mul(f32x4.add(upper(v128.load(p)), at(C, 1)), at(C, 0))
  const r = f32x4.mul(f32x4.sqrt(f32x4.mul(at(C, 2), log(u1))), std)
  // The angle in quarter turns is exact, and so is its distance f from the nearest whole one.
  const quarters = f32x4.mul(upper(v128.load(p, 32)), at(C, 3)), nearest = f32x4.nearest(quarters)
  const k = i32x4.trunc_sat_f32x4_s(nearest), t = f32x4.mul(f32x4.sub(quarters, nearest), at(C, 4)), z = f32x4.mul(t, t)
  let s = f32x4.add(f32x4.mul(at(C, 8), z), at(C, 7))
  s = f32x4.add(f32x4.mul(s, z), at(C, 6))
  s = f32x4.add(f32x4.mul(s, z), at(C, 5))
  s = f32x4.add(t, f32x4.mul(f32x4.mul(t, z), s))
  let c = f32x4.add(f32x4.mul(at(C, 12), z), at(C, 11))
  c = f32x4.add(f32x4.mul(c, z), at(C, 10))
  c = f32x4.add(f32x4.mul(c, z), at(C, 9))
  c = f32x4.add(at(C, 1), f32x4.mul(z, c))
  const odd = i32x4.shr_s(i32x4.shl(k, 31), 31)
  const sine = v128.xor(v128.bitselect(c, s, odd), i32x4.shl(i32x4.shr_u(k, 1), 31))
  const cosine = v128.xor(v128.bitselect(s, c, odd), i32x4.shl(i32x4.shr_u(i32x4.add(k, i32x4.splat(1)), 1), 31))
  v128.store(p, f32x4.add(f32x4.mul(r, cosine), mean))
  v128.store(p, f32x4.add(f32x4.mul(r, sine), mean), 32)
}

// @ts-ignore: decorator
@inline
function copyOut(to: usize, from: usize, n: i32): void {
  for (let i = 0; i < 16; i += 4) {
    const o = <usize>i << 2
    if (n - i >= 4) v128.store(to + o, v128.load(from + o))
    else if (n > i) storePart(to + o, loadPart(from + o, n - i), n - i)
  }
}

/** dst [n] = uniform in [0, 1). `step` points to a u64. Items: groups of 16 elements. */
export function philox_uniform_f32(dst: usize, n: i32, seedLow: u32, seedHigh: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  for (let group = begin; group < end; group++) {
    words(group, stream, step, seedLow, seedHigh)
    for (let i: usize = 0; i < 64; i += 16) v128.store(scratch + i, f32x4.mul(upper(v128.load(scratch + i)), at(C, 0)))
    copyOut(dst + (<usize>group << 6), scratch, n - (group << 4))
  }
}

/** dst [n] = normal with standard deviation `std` and mean `mean`, by Box and Muller's method: words i and i + 8 of a group give two normals. Items: groups of 16 elements. */
export function philox_normal_f32(dst: usize, n: i32, std: f32, mean: f32, seedLow: u32, seedHigh: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  const s = f32x4.splat(std), m = f32x4.splat(mean)
  for (let group = begin; group < end; group++) {
    words(group, stream, step, seedLow, seedHigh)
    normals(scratch, s, m)
    normals(scratch + 16, s, m)
    copyOut(dst + (<usize>group << 6), scratch, n - (group << 4))
  }
}
