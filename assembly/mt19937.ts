// MT19937 (Matsumoto and Nishimura, 1998), the generator of torch's CPU tensors. State: 624 u32 words, then the index of the next word. A generator is
// one sequence, so these kernels have one item and advance the state: what a program draws depends on how often it ran (unlike Philox).
import { box_muller_16 } from './box-muller'
import { scratch } from './scratch'

const N: u32 = 624
const M: u32 = 397

// @ts-ignore: decorator
@inline
function twisted(upper: u32, lower: u32): u32 {
  const y = (upper & 0x80000000) | (lower & 0x7fffffff)
  return (y >> 1) ^ (-(y & 1) & 0x9908b0df)
}

const MASKS = memory.data<u32>([
  0x80000000, 0x80000000, 0x80000000, 0x80000000, 0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff, 1, 1, 1, 1, 0x9908b0df, 0x9908b0df, 0x9908b0df, 0x9908b0df,
])

/** Words p[0..3] of the next state, `far` holding the words M places on. */
// @ts-ignore: decorator
@inline
function refillFour(p: usize, far: usize): void {
  const y = v128.or(v128.and(v128.load(p), v128.load(MASKS)), v128.and(v128.load(p, 4), v128.load(MASKS, 16)))
  const odd = i32x4.neg(v128.and(y, v128.load(MASKS, 32)))
  v128.store(p, v128.xor(v128.load(far), v128.xor(i32x4.shr_u(y, 1), v128.and(odd, v128.load(MASKS, 48)))))
}

function refill(state: usize): void {
  const end = state + (<usize>N << 2), wrap = state + (<usize>(N - M) << 2)
  let p = state
  for (; p + 16 <= wrap; p += 16) refillFour(p, p + (<usize>M << 2))
  for (; p < wrap; p += 4) store<u32>(p, load<u32>(p, M << 2) ^ twisted(load<u32>(p), load<u32>(p, 4)))
  // From here on the words M places on are new ones. 396 = 4 * 99 words, then the last, whose neighbour is the first.
  for (; p + 4 < end; p += 16) refillFour(p, p - (<usize>(N - M) << 2))
  store<u32>(p, load<u32>(p - (<usize>(N - M) << 2)) ^ twisted(load<u32>(p), load<u32>(state)))
  store<u32>(end, 0)
}

// @ts-ignore: decorator
@inline
function word(state: usize): u32 {
  const at = state + (<usize>N << 2)
  if (load<u32>(at) >= N) refill(state)
  const i = load<u32>(at)
  store<u32>(at, i + 1)
  let y = load<u32>(state + (<usize>i << 2))
  y ^= y >> 11
  y ^= (y << 7) & 0x9d2c5680
  y ^= (y << 15) & 0xefc60000
  return y ^ (y >> 18)
}

/** Seed as init_genrand does. */
export function mt19937_seed(state: usize, seed: u32, begin: i32, end: i32): void {
  if (begin >= end) return
  let x = seed
  store<u32>(state, x)
  for (let i: u32 = 1; i < N; i++) {
    x = 1812433253 * (x ^ (x >> 30)) + i
    store<u32>(state + (<usize>i << 2), x)
  }
  store<u32>(state + (<usize>N << 2), N)
}

/** out [n] (u32) = the next words. */
export function mt19937_words(state: usize, out: usize, n: i32, begin: i32, end: i32): void {
  if (begin >= end) return
  for (let i = 0; i < n; i++) store<u32>(out + (<usize>i << 2), word(state))
}

/** Pass over the next `n` words. */
export function mt19937_skip(state: usize, n: u32, begin: i32, end: i32): void {
  if (begin >= end) return
  const at = state + (<usize>N << 2)
  let left = n
  while (left > 0) {
    if (load<u32>(at) >= N) refill(state)
    const step = min<u32>(N - load<u32>(at), left)
    store<u32>(at, load<u32>(at) + step)
    left -= step
  }
}

// @ts-ignore: decorator
@inline
function uniform(state: usize): f32 { return <f32>(word(state) & 0xffffff) * <f32>5.9604644775390625e-8 } // 2^-24

/**
 * dst [n], n >= 16: torch.randn of a contiguous float32 tensor. Every group of 16 is filled with uniforms and transformed; if n is not a multiple of 16,
 * the last 16 elements are then redrawn from 16 fresh uniforms.
 */
export function mt19937_normal_f32(state: usize, dst: usize, n: i32, std: f32, mean: f32, begin: i32, end: i32): void {
  if (begin >= end) return
  const s = f32x4.splat(std), m = f32x4.splat(mean)
  for (let i = 0; i < n; i++) store<f32>(dst + (<usize>i << 2), uniform(state))
  for (let i = 0; i + 16 <= n; i += 16) box_muller_16(dst + (<usize>i << 2), s, m)
  if (n & 15) {
    for (let i = 0; i < 16; i++) store<f32>(scratch + (<usize>i << 2), uniform(state))
    box_muller_16(scratch, s, m)
    memory.copy(dst + (<usize>(n - 16) << 2), scratch, 64)
  }
}
