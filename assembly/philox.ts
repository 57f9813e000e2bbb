// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC11): a bijection of a 128-bit counter under a 64-bit key.
// One round: (c0, c1, c2, c3) -> (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)); the key grows by (W0, W1) between rounds.
// Here the key is the seed and the counter is (block index, stream, step low, step high): docs/architecture.md, "Random numbers".

const M0: u32 = 0xd2511f53
const M1: u32 = 0xcd9e8d57
/** Weyl constants: golden ratio and sqrt(3) - 1. */
const W0: u32 = 0x9e3779b9
const W1: u32 = 0xbb67ae85

/** Store the four u32 words of counter (c0, c1, c2, c3) under key (k0, k1) at `out`. */
export function philox(out: usize, c0: u32, c1: u32, c2: u32, c3: u32, k0: u32, k1: u32): void {
  for (let round = 0; round < 10; round++) {
    const p0 = <u64>M0 * c0, p1 = <u64>M1 * c2
    c0 = <u32>(p1 >> 32) ^ c1 ^ k0
    c1 = <u32>p1
    c2 = <u32>(p0 >> 32) ^ c3 ^ k1
    c3 = <u32>p0
    k0 += W0
    k1 += W1
  }
  store<u32>(out, c0)
  store<u32>(out, c1, 4)
  store<u32>(out, c2, 8)
  store<u32>(out, c3, 12)
}

/** As four calls of philox for c0 = index ... index + 3: 16 words, 64 bytes, in counter order. */
export function philox_x4(out: usize, index: u32, stream: u32, stepLow: u32, stepHigh: u32, k0: u32, k1: u32): void {
  const m0 = i32x4.splat(M0), m1 = i32x4.splat(M1), w0 = i32x4.splat(W0), w1 = i32x4.splat(W1)
  let c0 = i32x4.add(i32x4.splat(index), i32x4(0, 1, 2, 3))
  let c1 = i32x4.splat(stream), c2 = i32x4.splat(stepLow), c3 = i32x4.splat(stepHigh)
  let a = i32x4.splat(k0), b = i32x4.splat(k1)
  for (let round = 0; round < 10; round++) {
    const p0low = i64x2.extmul_low_i32x4_u(m0, c0), p0high = i64x2.extmul_high_i32x4_u(m0, c0)
    const p1low = i64x2.extmul_low_i32x4_u(m1, c2), p1high = i64x2.extmul_high_i32x4_u(m1, c2)
    c0 = v128.xor(v128.xor(v128.shuffle<i32>(p1low, p1high, 1, 3, 5, 7), c1), a)
    c1 = v128.shuffle<i32>(p1low, p1high, 0, 2, 4, 6)
    c2 = v128.xor(v128.xor(v128.shuffle<i32>(p0low, p0high, 1, 3, 5, 7), c3), b)
    c3 = v128.shuffle<i32>(p0low, p0high, 0, 2, 4, 6)
    a = i32x4.add(a, w0)
    b = i32x4.add(b, w1)
  }
  // Lanes are counters; transpose so that each counter's four words lie together.
  const low01 = v128.shuffle<i32>(c0, c1, 0, 4, 1, 5), low23 = v128.shuffle<i32>(c2, c3, 0, 4, 1, 5)
  const high01 = v128.shuffle<i32>(c0, c1, 2, 6, 3, 7), high23 = v128.shuffle<i32>(c2, c3, 2, 6, 3, 7)
  v128.store(out, v128.shuffle<i64>(low01, low23, 1, 3), 16)
  v128.store(out, v128.shuffle<i64>(low01, low23, 0, 2))
  v128.store(out, v128.shuffle<i64>(high01, high23, 1, 3), 48)
  v128.store(out, v128.shuffle<i64>(high01, high23, 0, 2), 32)
}

/** Raw words of a stream: dst[4i .. 4i + 3] = block i. `step` points at a u64 step counter. Items: blocks of 4 words. */
export function philox_words(dst: usize, seedLow: u32, seedHigh: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  const stepLow = load<u32>(step), stepHigh = load<u32>(step, 4)
  let i = begin
  for (; i + 4 <= end; i += 4) philox_x4(dst + (<usize>i << 4), i, stream, stepLow, stepHigh, seedLow, seedHigh)
  for (; i < end; i++) philox(dst + (<usize>i << 4), i, stream, stepLow, stepHigh, seedLow, seedHigh)
}
