// Losses and gradients: the definition of assembly/loss.ts.
import { exp, log } from './math.ts'
import { chunkedSum } from './reduce.ts'

const { fround: f } = Math

/** Mean of (y - t)^2, differences in f32 and squares in double; gradient (2 / n) (y - t) in f32. */
export function mse(y: Float32Array, t: Float32Array): { loss: number, gradient: Float32Array } {
  const n = y.length, d = y.map((v, i) => v - t[i]!)
  return { loss: chunkedSum(n, i => d[i]! * d[i]!) / n, gradient: d.map(v => v * f(2 / n)) }
}

/** Cross entropy of softmax(x), x [rows, C], and zWeight logsumexp^2, means over the rows whose target is not `ignore`; gradient of their sum. */
export function crossEntropy(x: Float32Array, targets: Int32Array, ignore: number, zWeight: number): { loss: [number, number], gradient: Float32Array } {
  const rows = targets.length, C = x.length / rows, gradient = new Float32Array(x.length), z = f(zWeight)
  const count = targets.filter(t => t !== ignore).length, share = f(1 / count)
  let entropy = 0, penalty = 0
  targets.forEach((target, r) => {
    if (target === ignore) return
    const row = x.subarray(r * C, (r + 1) * C), largest = row.reduce((m, v) => Math.max(m, v), -Infinity)
    const p = new Float32Array(4), e = row.map(v => exp(f(v - largest)))
    e.forEach((v, c) => { p[c % 4]! += v })
    const sum = f(f(p[0]! + p[2]!) + f(p[1]! + p[3]!)), logSum = f(largest + log(sum))
    entropy += f(logSum - row[target]!)
    penalty += f(f(z * logSum) * logSum)
    const factor = f(f(f(1 + f(f(2 * z) * logSum)) / sum) * share)
    gradient.set(e.map(v => v * factor), r * C)
    gradient[r * C + target] = gradient[r * C + target]! - share
  })
  return { loss: [entropy / count, penalty / count], gradient }
}
