import { describe, expect, it } from 'vitest'
import { lbfgs } from '../../src/experiments/lbfgs.ts'

describe('lbfgs', () => {
  it('minimizes the Rosenbrock function from its classic start', () => {
    const { x, converged } = lbfgs(([a, b], g) => {
      g[0] = -400 * a! * (b! - a! * a!) - 2 * (1 - a!)
      g[1] = 200 * (b! - a! * a!)
      return 100 * (b! - a! * a!) ** 2 + (1 - a!) ** 2
    }, [-1.2, 1])
    expect(converged).toBe(true)
    expect(x[0]).toBeCloseTo(1, 6)
    expect(x[1]).toBeCloseTo(1, 6)
  })
  it('minimizes a quadratic of condition number 1e6', () => {
    const scales = [1, 1e2, 1e4, 1e6]
    const { x } = lbfgs((p, g) => p.reduce((sum, v, i) => {
      g[i] = scales[i]! * (v - i)
      return sum + scales[i]! * (v - i) ** 2 / 2
    }, 0), [9, 9, 9, 9])
    expect([...x].map(v => Math.round(v * 1e5) / 1e5)).toEqual([0, 1, 2, 3])
  })
  it('backs away from where the objective is not finite', () => {
    const { x } = lbfgs(([v], g) => {
      g[0] = 1 - 1 / v!
      return v! > 0 ? v! - Math.log(v!) : Infinity
    }, [20])
    expect(x[0]).toBeCloseTo(1, 6)
  })
  it('says when it ran out of iterations', () => {
    expect(lbfgs(([a, b], g) => {
      g[0] = 4 * a! ** 3
      g[1] = 4e4 * b! ** 3
      return a! ** 4 + 1e4 * b! ** 4
    }, [3, 2], { maxIterations: 3 })).toMatchObject({ converged: false, iterations: 3 })
  })
  it('stays put at a minimum', () => {
    expect(lbfgs(([v], g) => { g[0] = 2 * v!; return v! * v! }, [0])).toMatchObject({ value: 0, iterations: 0, converged: true })
  })
})
