// Inputs that break quantizers: words near powers of two, ties and their neighbours at every scale, subnormals, huge values, Inf and NaN, among ordinary ones.

/** A small fast generator (mulberry32), so that a failing case can be named by its seed. */
export function generator(seed: number): () => number {
  return () => {
    seed = seed + 0x6d2b79f5 | 0
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed)
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t
    return (t ^ t >>> 14) >>> 0
  }
}

export const kinds = ['normal', 'wide', 'ties', 'near powers', 'bits', 'subnormal', 'zeros', 'bf16', 'huge', 'special', 'tiny'] as const
export type Kind = typeof kinds[number]

/** n float32 words of a kind. */
export function hardWords(n: number, kind: Kind, random: () => number): Uint32Array {
  const unit = () => random() / 2 ** 32
  const f32 = new Float32Array(n), u32 = new Uint32Array(f32.buffer)
  const center = random() % 160 - 80
  for (let i = 0; i < n; i++) {
    const sign = random() & 0x80000000
    switch (kind) {
      case 'normal': f32[i] = (unit() + unit() + unit() - 1.5) * 2 ** center; break
      case 'wide': f32[i] = (unit() - 0.5) * 2 ** (random() % 60 - 30); break
      case 'ties': { // few significant bits, sometimes one ulp off
        const bits = 1 + random() % 12
        f32[i] = (1 + random() % 2 ** bits) * 2 ** (center - random() % 20)
        u32[i]! += [-1, 0, 0, 0, 1][random() % 5]!
        u32[i]! |= sign
        break
      }
      case 'near powers': u32[i] = ((center + 127 - random() % 16) << 23) - random() % 60 + random() % 8 | sign; break
      case 'bits': u32[i] = random(); break
      case 'subnormal': u32[i] = random() >>> 9 + random() % 23 | sign; break
      case 'zeros': u32[i] = random() % 8 ? sign : random(); break
      case 'bf16': f32[i] = (unit() - 0.5) * 2 ** center; u32[i]! &= 0xffff0000; break
      case 'huge': u32[i] = 0x7f7fffff - random() % 0x1800000 >>> (random() % 4 ? 0 : 1) | sign; break
      case 'special': u32[i] = [random(), 0x7f800000, 0x7fc00000 + random() % 9, 0x7f800001, 0x7f7fffd3 + random() % 3, 1, 0x007fffff - random() % 30, 0][random() % 8]! | sign; break
      case 'tiny': u32[i] = 0x00800000 + (random() % 0x14000000) | sign; break
    }
  }
  return u32
}

/** Where two tensors differ in bits (any NaN equals any NaN), or null. */
export function difference(got: Float32Array, want: Float32Array, input?: Float32Array): string | null {
  const hex = (x: Float32Array, i: number) => new Uint32Array(x.buffer, x.byteOffset)[i]!.toString(16).padStart(8, '0')
  if (got.length !== want.length) return `${got.length} values instead of ${want.length}`
  const g = new Uint32Array(got.buffer, got.byteOffset, got.length), w = new Uint32Array(want.buffer, want.byteOffset, want.length)
  for (let i = 0; i < w.length; i++) {
    if (g[i] !== w[i] && !(Number.isNaN(got[i]) && Number.isNaN(want[i]))) return `[${i}]: got ${hex(got, i)}, want ${hex(want, i)}${input ? `, from ${hex(input, i)}` : ''}`
  }
  return null
}
