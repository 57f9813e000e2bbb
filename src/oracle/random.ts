// Random fills, number by number: Philox uniforms and normals (assembly/random.ts), and MT19937 with torch's normals (assembly/mt19937.ts,
// assembly/box-muller.ts).
import { fma32 } from '../numerics/exact-math.ts'
import { log } from './math.ts'
import { philox4x32 } from './philox.ts'

const { fround: f } = Math

/** Where a Philox fill stands: 64-bit seed, stream, step. */
export interface PhiloxPlace { readonly seed: bigint, readonly stream: number, readonly step: bigint }

/** Word `index` of a fill: word index mod 4 of counter (index div 4, stream, step). */
function philoxWord({ seed, stream, step }: PhiloxPlace, index: number): number {
  const low = (x: bigint) => Number(x & 0xffffffffn), high = (x: bigint) => Number(x >> 32n)
  return philox4x32([index >>> 2, stream, low(step), high(step)], [low(seed), high(seed)])[index & 3]!
}

/** Element `index` of a uniform fill: the upper 24 bits of its word times 2^-24. */
export const philoxUniform = (place: PhiloxPlace, index: number): number => (philoxWord(place, index) >>> 8) * 2 ** -24

/** Taylor's polynomials of sin t / t and cos t in z = t^2, |t| <= pi / 4, in float32. */
const SINE = [1, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880].map(f), COSINE = [1, -1 / 2, 1 / 24, -1 / 720, 1 / 40320].map(f)
const above = (z: number, c: readonly number[]): number => f(f(f(f(f(f(c[4]! * z) + c[3]!) * z) + c[2]!) * z) + c[1]!)

/** Element `index` of a normal fill: words i and i + 8 of each group of 16 give r cos(2 pi u2) at i and r sin(2 pi u2) at i + 8, r = sqrt(-2 log u1). */
export function philoxNormal(place: PhiloxPlace, index: number, std = 1, mean = 0): number {
  const first = index & ~8, second = first | 8
  const u1 = f(((philoxWord(place, first) >>> 8) + 1) * 2 ** -24)
  const r = f(f(Math.sqrt(f(-2 * log(u1)))) * f(std))
  // In quarter turns; halves go to the even one.
  const quarters = (philoxWord(place, second) >>> 8) * 2 ** -22
  const below = Math.floor(quarters), part = quarters - below
  const k = part > 0.5 || (part === 0.5 && below % 2 === 1) ? below + 1 : below
  const t = f((quarters - k) * f(Math.PI / 2)), z = f(t * t)
  const sine = f(t + f(f(t * z) * above(z, SINE))), cosine = f(1 + f(z * above(z, COSINE)))
  const wanted = index === first ? [cosine, -sine, -cosine, sine] : [sine, cosine, -sine, -cosine]
  return f(f(r * wanted[k % 4]!) + f(mean))
}

/** The words of MT19937 after init_genrand(seed). */
export function* mt19937(seed: number): Generator<number, never> {
  const x = [seed >>> 0]
  for (let i = 1; i < 624; i++) x.push((Math.imul(1812433253, x[i - 1]! ^ x[i - 1]! >>> 30) + i) >>> 0)
  for (;;) {
    for (let i = 0; i < 624; i++) {
      const y = (x[i]! & 0x80000000) | (x[(i + 1) % 624]! & 0x7fffffff)
      x[i] = (x[(i + 397) % 624]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0)) >>> 0
    }
    for (let y of x) {
      y ^= y >>> 11
      y ^= y << 7 & 0x9d2c5680
      y ^= y << 15 & 0xefc60000
      yield (y ^ y >>> 18) >>> 0
    }
  }
}

const LOG = [
  7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
].map(f)

/** Natural logarithm on (0, 1] as torch's AVX2 code has it (Cephes, fused). */
function torchLog(x: number): number {
  let e = 0, m = x
  while (m < 0.5) { m *= 2; e-- }
  if (m >= 1) { m /= 2; e++ }
  const small = m < f(0.70710678), q = small ? f(f(m - 1) + m) : f(m - 1)
  if (small) e--
  const z = f(q * q)
  let y = LOG[0]!
  for (const c of LOG.slice(1)) y = fma32(y, q, c)
  y = fma32(f(y * q), z, f(e * f(-2.12194440e-4)))
  y = fma32(z, -0.5, y)
  return fma32(e, 0.693359375, f(q + y))
}

/** r cos t and r sin t of torch's Box-Muller step from uniforms v and u2 in [0, 1). */
function torchPair(v: number, u2: number, std: number): [number, number] {
  const r = f(Math.sqrt(f(-2 * torchLog(f(1 - v))))), t = f(f(2 * Math.PI) * u2)
  const j = (Math.trunc(f(t * f(1.27323954473516))) + 1) & ~1
  const w = fma32(j, f(-3.77489497744594108e-8), fma32(j, f(-2.4187564849853515625e-4), fma32(j, -0.78515625, t))), z = f(w * w)
  let c = fma32(f(2.443315711809948e-5), z, f(-1.388731625493765e-3))
  c = f(fma32(c, z, f(4.166664568298827e-2)) * z)
  c = f(fma32(c, z, -f(z * 0.5)) + 1)
  let s = fma32(f(-1.9515295891e-4), z, f(8.3321608736e-3))
  s = f(fma32(s, z, f(-1.6666654611e-1)) * z)
  s = fma32(s, w, w)
  const [sine, cosine] = j & 2 ? [c, s] : [s, c]
  return [fma32(f(r * ((j - 2) & 4 ? cosine : -cosine)), f(std), 0), fma32(f(r * (j & 4 ? -sine : sine)), f(std), 0)]
}

/** torch.randn(n) * std for n >= 16 from a stream of words: groups of 16 uniforms, the last 16 redrawn if n is not a multiple of 16. */
export function torchNormals(words: Iterator<number>, n: number, std = 1): Float32Array {
  const draw = () => (words.next().value & 0xffffff) * 2 ** -24
  const out = Float32Array.from({ length: n }, draw)
  const transform = (group: Float32Array) => { for (let i = 0; i < 8; i++) [group[i], group[i + 8]] = torchPair(group[i]!, group[i + 8]!, std) }
  for (let i = 0; i + 16 <= n; i += 16) transform(out.subarray(i, i + 16))
  if (n % 16) {
    const last = Float32Array.from({ length: 16 }, draw)
    transform(last)
    out.set(last, n - 16)
  }
  return out
}
