// The one place in TypeScript where a magnitude is rounded to an integer.
import type { Rounding } from '../numerics/quantizer.ts'

/**
 * t >= 0 to an integer. `u` in [0, 1): random bits over 2^bits, for stochastic rounding, which adds them and truncates (the carry rule of PTX cvt.rs).
 * Exact for every t that is a float32 divided by a power of two.
 */
export function roundMagnitude(t: number, rounding: Rounding, u = 0): number {
  const floor = Math.floor(t), rest = t - floor
  switch (rounding) {
    case 'toward-zero': return floor
    case 'nearest-away': return rest >= 0.5 ? floor + 1 : floor
    case 'nearest-zero': return rest > 0.5 ? floor + 1 : floor
    case 'nearest-even': return rest > 0.5 || rest === 0.5 && floor % 2 === 1 ? floor + 1 : floor
    case 'stochastic': return rest + u >= 1 ? floor + 1 : floor
  }
}

/** The same as float32 arithmetic does it: floor(fl(t + 0.5)), less one for an even rounding's downward tie. Differs at t = 0.5 - 2^-25, and at t >= 2^23. */
export function roundMagnitudeAddHalf(t: number, rounding: Rounding, u = 0): number {
  if (rounding !== 'nearest-away' && rounding !== 'nearest-even') return roundMagnitude(t, rounding, u)
  const up = Math.floor(Math.fround(t + 0.5))
  return rounding === 'nearest-even' && Math.fround(t - 0.5) % 2 === 0 ? up - 1 : up
}
