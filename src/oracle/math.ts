// Elementary functions in float32, step for step as assembly/math.ts computes them: one fround per operation, in the same order, so the bits are equal.
import { valueOf, wordOf } from './float.ts'

const { fround: f } = Math
/** Horner's rule in float32: c[0] + c[1] x + c[2] x^2 + ... */
function horner(x: number, c: readonly number[]): number {
  let y = f(c.at(-1)!)
  for (let i = c.length - 2; i >= 0; i--) y = f(f(y * x) + f(c[i]!))
  return y
}

const LOG2_E = f(Math.LOG2E)
/** 1.5 * 2^23: adding it to a number rounds that number to an integer. */
const SHIFT = 12582912
/** ln 2 = LN2_HIGH + LN2_LOW; the high part has 15 bits, so its products with an exponent are exact. */
const LN2_HIGH = 0.693145751953125, LN2_LOW = f(1.428606765330187e-6)
/** exp r = 1 + r + r^2 q(r) for |r| <= ln 2 / 2. */
const EXP = [0.5, 0.1666666567325592, 0.041666463017463684, 0.008333570323884487, 0.001393508748151362, 0.00019740320567507297]
const expTail = (r: number) => f(f(r * r) * horner(r, EXP))

/** x 2^n in two rounded steps. */
function timesPower(x: number, n: number): number {
  const half = Math.floor(n / 2)
  return f(f(x * 2 ** half) * 2 ** (n - half))
}

/** exp x. */
export function exp(x: number): number {
  if (Number.isNaN(x)) return x
  const clamped = Math.max(Math.min(x, 89), -104)
  const n = f(f(f(clamped * LOG2_E) + SHIFT) - SHIFT)
  const high = f(clamped - f(n * LN2_HIGH)), low = f(n * LN2_LOW)
  const r = f(high - low), lost = f(f(high - r) - low)
  const sum = f(1 + r)
  return timesPower(f(sum + f(f(r - f(sum - 1)) + f(expTail(r) + lost))), n)
}

/** log(1 + x) = x - x^2/2 + x^3 p(x) for 1 + x in [sqrt 1/2, sqrt 2). */
const LOG = [
  0.3333331346511841, -0.25000008940696716, 0.2000207155942917, -0.16667990386486053, 0.14220362901687622, -0.12406208366155624, 0.1188347116112709, -0.11670182645320892,
  0.06749539077281952,
]
const SQRT_HALF = 0x3f3504f3

/** Natural logarithm. */
export function log(x: number): number {
  if (x === 0) return -Infinity
  if (!(x > 0) || x === Infinity) return x > 0 ? x : NaN
  const subnormal = x < 2 ** -126
  const word = wordOf(subnormal ? x * 2 ** 23 : x), exponent = word - SQRT_HALF >> 23
  const a = valueOf(word - (exponent << 23)) - 1, e = subnormal ? exponent - 23 : exponent
  const square = f(a * a)
  const small = f(f(f(f(square * a) * horner(a, LOG)) - f(square * 0.5)) + f(e * LN2_LOW))
  return f(f(e * LN2_HIGH) + f(a + small))
}

/** tanh x = x + x^3 p(x^2) for |x| < 0.625. */
const TANH = [-0.3333328068256378, 0.1333141028881073, -0.05373726785182953, 0.02063172310590744, -0.005697345826774836]

/** Hyperbolic tangent. */
export function tanh(x: number): number {
  if (Number.isNaN(x)) return x
  const a = Math.min(Math.abs(x), 9.5)
  const square = f(a * a)
  const y = a < 0.625 ? f(a + f(f(a * square) * horner(square, TANH))) : f(1 - f(2 / f(exp(f(a + a)) + 1)))
  return x < 0 || Object.is(x, -0) ? -y : y
}

/** 2^x for |x| <= 1/2. */
const EXP2 = [1, 0.6931471824645996, 0.24022647738456726, 0.05550359562039375, 0.00961849931627512, 0.0013390969252213836, 0.0001532926398795098]
/** Phi(-t) = exp(-t^2/2) P(t) / Q(t). */
const PHI_P = [0.5, 0.34044352173805237, 0.10732216387987137, 0.014198051765561104]
const PHI_Q = [1, 1.4787691831588745, 0.8945607542991638, 0.26860469579696655, 0.03560192883014679]

/** min(|x|, 13). */
export const tailArgument = (x: number): number => Number.isNaN(x) ? x : Math.min(Math.abs(x), 13)

/** exp(-t^2/2) = 2^n 2^x for 0 <= t < 13; 0 from there on. */
export function bell(t: number): number {
  const exponent = f(f(t * t) * f(-Math.LOG2E / 2))
  const n = f(f(exponent + SHIFT) - SHIFT)
  return t >= 13 ? 0 : f(horner(f(exponent - n), EXP2) * 2 ** n)
}

/** Phi(-t), the normal distribution function, 0 <= t <= 13. */
export const tail = (t: number): number => f(f(bell(t) * horner(t, PHI_P)) / horner(t, PHI_Q))
/** Normal density at t. */
export const density = (t: number): number => f(bell(t) * f(0.3989422804014327))

/** 2^x. */
export function exp2(x: number): number {
  if (Number.isNaN(x)) return x
  const clamped = Math.max(Math.min(x, 129), -152)
  const n = f(f(clamped + SHIFT) - SHIFT)
  return timesPower(horner(f(clamped - n), EXP2), n)
}
