// L-BFGS for small smooth problems (a scaling law has five unknowns): two-loop recursion with a line search for the strong Wolfe conditions.
// Nocedal & Wright, Numerical Optimization, 2nd ed.: algorithm 7.4 (direction), 3.5 and 3.6 (line search), equation 3.59 (cubic step).
// Used for analysis only: nothing here reaches a training result.

/** Value of the objective at `x`; writes the gradient there into `gradient`. A value that is not finite marks `x` as out of bounds. */
export type Objective = (x: Float64Array, gradient: Float64Array) => number

export interface MinimizeOptions {
  /** Correction pairs kept. */
  memory?: number
  maxIterations?: number
  /** Stop when no component of the gradient exceeds this. */
  gradientTolerance?: number
  /** Stop when ten iterations together lowered the value by less than this, relative to the value. */
  valueTolerance?: number
}

export interface Minimum {
  x: Float64Array
  value: number
  iterations: number
  /** False when maxIterations ended the search. */
  converged: boolean
}

/** Sufficient decrease and curvature constants of the Wolfe conditions (Nocedal & Wright, p. 62: the usual pair for quasi-Newton directions). */
const C1 = 1e-4, C2 = 0.9
const LINE_SEARCH_STEPS = 40

const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, v, i) => sum + v * b[i]!, 0)

/** Minimize `objective` from `start`. Deterministic. */
export function lbfgs(objective: Objective, start: ArrayLike<number>, options: MinimizeOptions = {}): Minimum {
  const { memory = 10, maxIterations = 2000, gradientTolerance = 1e-9, valueTolerance = 1e-13 } = options
  const pairs: { s: Float64Array, y: Float64Array, rho: number }[] = []
  let here = evaluate(objective, Float64Array.from(start))
  const values = [here.value]
  for (let iterations = 0; ; iterations++) {
    const old = values.at(-11)
    const flat = here.gradient.every(g => Math.abs(g) <= gradientTolerance)
    if (!Number.isFinite(here.value) || flat || (old !== undefined && old - here.value <= valueTolerance * Math.abs(here.value))) {
      return { x: here.x, value: here.value, iterations, converged: Number.isFinite(here.value) }
    }
    if (iterations === maxIterations) return { x: here.x, value: here.value, iterations, converged: false }
    let direction = quasiNewtonDirection(here.gradient, pairs)
    if (dot(direction, here.gradient) >= 0) {
      pairs.length = 0
      direction = here.gradient.map(g => -g)
    }
    const firstStep = pairs.length ? 1 : 1 / Math.max(1, Math.sqrt(dot(here.gradient, here.gradient)))
    const next = lineSearch(objective, here, direction, firstStep)
    if (!next) {
      if (!pairs.length) return { x: here.x, value: here.value, iterations, converged: true }
      pairs.length = 0
      continue
    }
    const s = next.x.map((v, i) => v - here.x[i]!)
    const y = next.gradient.map((g, i) => g - here.gradient[i]!)
    const sy = dot(s, y)
    if (sy > 0) pairs.push({ s, y, rho: 1 / sy })
    if (pairs.length > memory) pairs.shift()
    here = next
    values.push(here.value)
  }
}

interface Point { x: Float64Array, value: number, gradient: Float64Array }

function evaluate(objective: Objective, x: Float64Array): Point {
  const gradient = new Float64Array(x.length)
  return { x, value: objective(x, gradient), gradient }
}

/** -H * gradient, H the inverse Hessian that the pairs describe. */
function quasiNewtonDirection(gradient: Float64Array, pairs: readonly { s: Float64Array, y: Float64Array, rho: number }[]): Float64Array {
  const q = gradient.map(g => -g)
  const alphas: number[] = []
  for (let k = pairs.length - 1; k >= 0; k--) {
    const { s, y, rho } = pairs[k]!
    const alpha = alphas[k] = rho * dot(s, q)
    for (let i = 0; i < q.length; i++) q[i]! -= alpha * y[i]!
  }
  const last = pairs.at(-1)
  if (last) {
    const scale = 1 / (last.rho * dot(last.y, last.y))
    for (let i = 0; i < q.length; i++) q[i]! *= scale
  }
  pairs.forEach(({ s, y, rho }, k) => {
    const beta = rho * dot(y, q)
    for (let i = 0; i < q.length; i++) q[i]! += (alphas[k]! - beta) * s[i]!
  })
  return q
}

/** A point along `direction` that meets the strong Wolfe conditions, or the best decrease found; null when rounding leaves none. */
function lineSearch(objective: Objective, from: Point, direction: Float64Array, firstStep: number): Point | null {
  const slope0 = dot(from.gradient, direction)
  interface Trial { step: number, point: Point, slope: number }
  const at = (step: number): Trial => {
    const point = evaluate(objective, from.x.map((v, i) => v + step * direction[i]!))
    return { step, point, slope: dot(point.gradient, direction) }
  }
  const tooHigh = (t: Trial) => !(t.point.value <= from.value + C1 * t.step * slope0)
  const flatEnough = (t: Trial) => Math.abs(t.slope) <= -C2 * slope0
  const origin: Trial = { step: 0, point: from, slope: slope0 }

  let low = origin, high: Trial | null = null
  let trial = at(firstStep)
  for (let k = 0; k < LINE_SEARCH_STEPS; k++) {
    if (tooHigh(trial) || (low !== origin && trial.point.value >= low.point.value)) high = trial
    else if (flatEnough(trial)) return trial.point
    else {
      // The interval [low, high] keeps the lower end a valid decrease and the slope at it pointing inwards.
      if (high ? trial.slope * (high.step - low.step) >= 0 : trial.slope >= 0) high = low
      low = trial
    }
    const step: number = high ? cubicStep(low, high) : 2 * trial.step
    if (high && Math.abs(high.step - low.step) <= 1e-16 * Math.max(Math.abs(high.step), Math.abs(low.step))) break
    trial = at(step)
  }
  return low !== origin && low.point.value < from.value ? low.point : null
}

/** Minimizer of the cubic through two trials, kept inside the middle 80 % of their interval; the midpoint when the cubic has none. */
function cubicStep(a: { step: number, point: Point, slope: number }, b: { step: number, point: Point, slope: number }): number {
  const width = b.step - a.step
  const d1 = a.slope + b.slope - 3 * (b.point.value - a.point.value) / width
  const d2 = Math.sign(width) * Math.sqrt(d1 * d1 - a.slope * b.slope)
  const step = b.step - width * (b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2)
  const inside = (step - a.step) / width
  return inside >= 0.1 && inside <= 0.9 ? step : a.step + width / 2
}
