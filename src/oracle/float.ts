// float32 words and exact exponents: the helpers that the oracles share. An f32 is carried as a JavaScript number, its word as a u32.
const f32 = new Float32Array(1), u32 = new Uint32Array(f32.buffer)

/** The word of an f32. NaN gives the canonical 0x7fc00000 or whatever the engine keeps: read words, not values, where a NaN's sign matters. */
export const wordOf = (x: number): number => { f32[0] = x; return u32[0]! }
/** The f32 of a word. */
export const valueOf = (word: number): number => { u32[0] = word; return f32[0]! }

/** floor(log2 |x|), exact, for finite x other than 0 of any magnitude an f32 can have. */
export function exponentOf(x: number): number {
  let word = wordOf(Math.abs(x))
  let scale = 0
  if (word < 0x00800000) { word = wordOf(Math.abs(x) * 2 ** 24); scale = 24 }
  return (word >>> 23) - 127 - scale
}

/**
 * floor of the float32 that torch's log2 returns for an f32 x > 0. It is E, one too high, for x just below 2^E when log2 x = E - r / ln 2 (r = 1 - x / 2^E)
 * rounds to E: when r / ln 2 is at most half the spacing of float32 below E. Agrees with torch 2.13 on the CPU for every positive float32.
 */
export function torchLog2(x: number): number {
  if (!Number.isFinite(x)) return x
  const below = exponentOf(x), E = below + 1
  if (E === 0 || x === 2 ** below) return below
  const spacing = E > 0 ? 2 ** (8 - Math.clz32(E - 1)) : 2 ** (8 - Math.clz32(-E))
  return 1 - x / 2 ** E <= Math.LN2 * spacing / 2 ? E : below
}
