// The table of rotary position embedding: cos and sin of position * frequency, frequency = 1 / theta^(2 i / headDim), i < headDim / 2. As in OLMo's
// full-precision RoPE every step is f32: the power, its reciprocal, the angle, then cosine and sine. Each step is computed in f64 with +, -, *, / alone and
// then rounded, so that every engine gets the same bits.
import { UsageError } from '../errors.ts'

/** [context, 2, headDim / 2]: per position the cosines, then the sines. Throws UsageError for an odd headDim. */
export function ropeTable(context: number, headDim: number, theta = 10000): Float32Array {
  if (headDim % 2 !== 0) throw new UsageError(`head dimension must be even for rotary position embedding, got ${headDim}`)
  const half = headDim / 2, base = root(theta, half), table = new Float32Array(context * headDim)
  let power = 1
  for (let i = 0; i < half; i++, power *= base) {
    const frequency = Math.fround(1 / Math.fround(power))
    for (let t = 0; t < context; t++) {
      const { cos, sin } = circular(Math.fround(t * frequency))
      table[t * headDim + i] = cos
      table[t * headDim + half + i] = sin
    }
  }
  return table
}

/** The n-th root of x >= 1, by Newton's method from above. */
function root(x: number, n: number): number {
  for (let r = x; ;) {
    let power = 1
    for (let i = 1; i < n; i++) power *= r
    const next = r - (r * power - x) / (n * power)
    if (!(next < r)) return r
    r = next
  }
}

/** pi / 2 in two parts; the first has 33 significant bits, so its product with a quadrant number below 2^20 is exact (fdlibm, e_rem_pio2.c). */
const HALF_PI_HIGH = 1.57079632673412561417, HALF_PI_LOW = 6.07710050650619224932e-11

/** Cosine and sine of 0 <= x < 2^20, good to about 1e-15. */
function circular(x: number): { cos: number, sin: number } {
  const quadrant = Math.floor(x / (HALF_PI_HIGH + HALF_PI_LOW) + 0.5)
  const r = x - quadrant * HALF_PI_HIGH - quadrant * HALF_PI_LOW, square = r * r
  // Taylor series in Horner form: cos - 1 and sin / r - 1.
  let cos = 0, sin = 0
  for (let k = 18; k > 0; k -= 2) {
    cos = (1 + cos) * -square / (k * (k - 1))
    sin = (1 + sin) * -square / (k * (k + 1))
  }
  const c = 1 + cos, s = r + r * sin
  return [{ cos: c, sin: s }, { cos: -s, sin: c }, { cos: -c, sin: -s }, { cos: s, sin: -c }][quadrant % 4]!
}
