// Random fills, one number at a time: Philox uniforms and normals (assembly/random.ts), MT19937 and torch's normals (assembly/mt19937.ts, box-muller.ts).
import { valueOf, wordOf } from './float.ts'
import { log } from './math.ts'
import { philox4x32 } from './philox.ts'

const { fround: f } = Math

/** A Philox stream at one step. */
export interface Stream { readonly seed: bigint, readonly stream: number, readonly step: bigint }

function philoxWords(n: number, { seed, stream, step }: Stream): number[] {
  const halves = (x: bigint): [number, number] => [Number(x & 0xffffffffn), Number(x >> 32n)]
  return Array.from({ length: Math.ceil(n / 4) }, (_, block) => philox4x32([block, stream, ...halves(step)], halves(seed))).flat()
}

/** Multiples of 2^-24 in [0, 1): the upper 24 bits of one word each. */
export const philoxUniform = (n: number, s: Stream): Float32Array => Float32Array.from({ length: n }, (_, i) => (philoxWords(n, s)[i]! >>> 8) * 2 ** -24)

/** sin and cos of t quarter turns about a whole number of them, |t| <= 1/2, by Taylor's series in radians. */
function sineCosine(quarters: number): [number, number] {
  const t = f(quarters * f(Math.PI / 2)), z = f(t * t)
  const series = (c: readonly number[]) => c.reduceRight((y, k) => f(f(y * z) + f(k)))
  return [f(t + f(f(t * z) * series([-1 / 6, 1 / 120, -1 / 5040, 1 / 362880]))), f(1 + f(z * series([-1 / 2, 1 / 24, -1 / 720, 1 / 40320])))]
}

/** Box and Muller on words i and i + 8 of each group of 16: r cos and r sin of the angle 2 pi u2, r = sqrt(-2 log u1). */
export function philoxNormal(n: number, s: Stream, std: number, mean: number): Float32Array {
  const groups = Math.ceil(n / 16), words = philoxWords(16 * groups, s), out = new Float32Array(16 * groups)
  for (let i = 0; i < 16 * groups; i++) {
    if (i % 16 >= 8) continue
    const u1 = f(((words[i]! >>> 8) + 1) * 2 ** -24), r = f(f(Math.sqrt(f(-2 * log(u1)))) * f(std))
    const quarters = (words[i + 8]! >>> 8) * 2 ** -22, below = Math.floor(quarters), rest = quarters - below
    const k = rest > 0.5 || rest === 0.5 && below % 2 === 1 ? below + 1 : below // halves to even
    const [sine, cosine] = sineCosine(quarters - k)
    const [S, C] = [[sine, cosine], [cosine, -sine], [-sine, -cosine], [-cosine, sine]][k % 4] as [number, number]
    out[i] = f(r * C) + f(mean)
    out[i + 8] = f(r * S) + f(mean)
  }
  return out.slice(0, n)
}

/** MT19937 (Matsumoto and Nishimura, 1998), seeded by init_genrand. */
export class Mt19937 {
  readonly #state = new Uint32Array(624)
  #index = 624

  constructor(seed: number) {
    this.#state[0] = seed
    for (let i = 1; i < 624; i++) {
      const x = this.#state[i - 1]!
      this.#state[i] = Math.imul(1812433253, x ^ x >>> 30) + i
    }
  }

  word(): number {
    const s = this.#state
    if (this.#index === 624) {
      for (let i = 0; i < 624; i++) {
        const y = s[i]! & 0x80000000 | s[(i + 1) % 624]! & 0x7fffffff
        s[i] = s[(i + 397) % 624]! ^ y >>> 1 ^ (y & 1 ? 0x9908b0df : 0)
      }
      this.#index = 0
    }
    let y = s[this.#index++]!
    y ^= y >>> 11
    y ^= y << 7 & 0x9d2c5680
    y ^= y << 15 & 0xefc60000
    return (y ^ y >>> 18) >>> 0
  }

  /** The low 24 bits of a word times 2^-24. */
  uniform(): number { return (this.word() & 0xffffff) * 2 ** -24 }
}

/** a * b + c rounded once to f32: the exact sum in double, or, if that is inexact, its odd neighbour, rounded to f32. */
export function fma(a: number, b: number, c: number): number {
  const p = a * b, s = p + c, d = s - p
  const error = (p - (s - d)) + (c - d)
  if (error === 0 || !Number.isFinite(s)) return f(s)
  const word = new BigUint64Array(Float64Array.of(s).buffer)
  if (word[0]! % 2n === 0n) word[0]! += error > 0 === s > 0 ? 1n : -1n
  return f(new Float64Array(word.buffer)[0]!)
}

const fmaHorner = (x: number, c: readonly number[]): number => c.slice(1).reduce((y, k) => fma(y, x, f(k)), f(c[0]!))

/** Cephes' logf with fused multiply-adds, x in (0, 1]. */
function torchLog(x: number): number {
  const word = wordOf(x)
  let e = (word >>> 23) - 126, m = valueOf(word & 0x7fffff | 0x3f000000)
  if (m < f(0.70710678)) e -= 1
  const q = m < f(0.70710678) ? f(f(m - 1) + m) : f(m - 1), z = f(q * q)
  let y = f(fmaHorner(q, [7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1]) * q)
  y = fma(z, -0.5, fma(y, z, f(e * f(-2.12194440e-4))))
  return fma(e, 0.693359375, f(q + y))
}

/** Cephes' sinf and cosf with fused multiply-adds, t in [0, 2 pi]. */
function torchSineCosine(t: number): [number, number] {
  const j = Math.trunc(f(t * f(1.27323954473516))) + 1 & ~1
  const w = fma(j, f(-3.77489497744594108e-8), fma(j, f(-2.4187564849853515625e-4), fma(j, -0.78515625, t))), z = f(w * w)
  const C = f(fma(f(fmaHorner(z, [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]) * z), z, -f(z * 0.5)) + 1)
  const S = fma(f(fmaHorner(z, [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]) * z), w, w)
  const [sine, cosine] = j & 2 ? [C, S] : [S, C]
  return [j & 4 ? -sine : sine, j - 2 & 4 ? cosine : -cosine]
}

/** Sixteen uniforms to normals, in place. */
function torchGroup(v: Float32Array, std: number, mean: number): void {
  for (let i = 0; i < 8; i++) {
    const r = f(Math.sqrt(f(-2 * torchLog(f(1 - v[i]!))))), [sine, cosine] = torchSineCosine(f(f(2 * Math.PI) * v[i + 8]!))
    v[i] = fma(f(r * cosine), f(std), f(mean))
    v[i + 8] = fma(f(r * sine), f(std), f(mean))
  }
}

/** torch.randn of n >= 16 contiguous float32 elements, times std plus mean. */
export function torchNormals(g: Mt19937, n: number, std: number, mean: number): Float32Array {
  const out = new Float32Array(n).map(() => g.uniform())
  for (let i = 0; i + 16 <= n; i += 16) torchGroup(out.subarray(i, i + 16), std, mean)
  if (n % 16) {
    const last = out.subarray(n - 16).fill(0).map(() => g.uniform())
    torchGroup(last, std, mean)
    out.set(last, n - 16)
  }
  return out
}
