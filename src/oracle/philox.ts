// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), the counter-based generator behind all random numbers:
// ten rounds that multiply two counter words by constants and mix the halves, the key growing by the Weyl constants after each round.

const M0 = 0xD2511F53, M1 = 0xCD9E8D57
const W0 = 0x9E3779B9, W1 = 0xBB67AE85

/** High 32 bits of the 64-bit product of two unsigned words. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xFFFF, aHigh = a >>> 16, bLow = b & 0xFFFF, bHigh = b >>> 16
  const mid = aHigh * bLow + (aLow * bLow >>> 16)
  const mid2 = aLow * bHigh + mid % 0x10000
  return aHigh * bHigh + Math.floor(mid / 0x10000) + Math.floor(mid2 / 0x10000)
}

/** The four random words of a counter (four words) under a key (two words). */
export function philox4x32(counter: readonly number[], key: readonly [number, number]): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter as [number, number, number, number]
  let [k0, k1] = key
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(M0, c0), low0 = Math.imul(M0, c0) >>> 0
    const high1 = mulHigh(M1, c2), low1 = Math.imul(M1, c2) >>> 0
    c0 = (high1 ^ c1 ^ k0) >>> 0
    c1 = low1
    c2 = (high0 ^ c3 ^ k1) >>> 0
    c3 = low0
    k0 = k0 + W0 >>> 0
    k1 = k1 + W1 >>> 0
  }
  return [c0, c1, c2, c3]
}
