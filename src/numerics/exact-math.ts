// A few functions in double from exactly specified operations alone, so that every engine agrees. They serve the handful of scalar draws of torch's
// generator, where an error far below half a float32 ulp is enough; kernels have their own (assembly/math.ts).

/** a * b + c of float32 numbers, rounded once to float32: the sum in double is rounded to odd before the last rounding. */
export function fma32(a: number, b: number, c: number): number {
  const p = a * b, s = p + c, t = s - p
  const error = (p - (s - t)) + (c - t)
  if (error === 0 || !Number.isFinite(s)) return Math.fround(s)
  const word = new BigInt64Array(Float64Array.of(s).buffer)
  if ((word[0]! & 1n) === 0n) word[0]! += (error > 0) === (s > 0) ? 1n : -1n
  return Math.fround(new Float64Array(word.buffer)[0]!)
}

/** log(1 + x) for x > -1, to about 1e-16 relative: 2 atanh(x / (2 + x)) near zero; elsewhere 1 + x is first scaled by powers of two. */
export function log1p(x: number): number {
  if (x > -0.3 && x < 0.42) return atanhSeries(x / (2 + x))
  let m = 1 + x, e = 0
  while (m < Math.SQRT1_2) { m *= 2; e-- }
  while (m > Math.SQRT2) { m /= 2; e++ }
  return e * Math.LN2 + atanhSeries((m - 1) / (m + 1))
}

/** 2 atanh(s) for |s| < 0.2. */
function atanhSeries(s: number): number {
  const z = s * s
  let sum = 0
  for (let k = 25; k >= 3; k -= 2) sum = (sum + 1 / k) * z
  return 2 * (s + s * sum)
}

/** sin and cos for |x| < 100, to about 1e-15: reduced by multiples of pi / 2 in two parts, then Taylor's series. */
export const sine = (x: number): number => quadrant(x, 0)
export const cosine = (x: number): number => quadrant(x, 1)

function quadrant(x: number, shift: number): number {
  const q = Math.round(x / (Math.PI / 2))
  // pi / 2 = HIGH + LOW, HIGH with 33 significant bits, so that q HIGH is exact.
  const HIGH = 1.5707963267341256, LOW = 6.077100506506192e-11
  const t = (x - q * HIGH) - q * LOW, k = (((q + shift) % 4) + 4) % 4
  const odd = k % 2 === 1, z = t * t
  let sum = 0
  for (let i = odd ? 20 : 21; i >= 2; i -= 2) sum = (1 + sum) * -z / (i * (i - 1))
  const value = odd ? 1 + sum : t * (1 + sum)
  return k >= 2 ? -value : value
}
