// One optimizer update per call, in place, in f32 with torch's order of operations: the definition of assembly/optimizer.ts.
// `step`: the four numbers that change from step to step, see src/ops/optimizer.ts.

const { fround: f } = Math

export interface AdamConstants { readonly beta1: number, readonly beta2: number, readonly eps: number, readonly decay: number }

/** Adam, with weight decay added to the gradient (`decay`) or taken from the parameter (step[2]): AdamW. */
export function adam(p: Float32Array, grad: Float32Array, m: Float32Array, v: Float32Array, step: Float32Array, { beta1, beta2, eps, decay }: AdamConstants): void {
  const [size, root, shrink, scale] = step as unknown as [number, number, number, number]
  const w1 = f(1 - beta1), b2 = f(beta2), w2 = f(1 - beta2)
  p.forEach((value, i) => {
    const g = f(f(grad[i]! * scale) + f(value * f(decay)))
    m[i] = m[i]! + f(w1 * f(g - m[i]!))
    v[i] = f(v[i]! * b2) + f(f(w2 * g) * g)
    p[i] = f(value * shrink) + f(f(-size * m[i]!) / f(f(f(Math.sqrt(v[i]!)) / root) + f(eps)))
  })
}

/** SGD with momentum; `buffer` is the momentum's, zero before the first step. */
export function sgd(p: Float32Array, grad: Float32Array, buffer: Float32Array, step: Float32Array, momentum: number, decay: number): void {
  const [rate, , , scale] = step as unknown as [number, number, number, number]
  p.forEach((value, i) => {
    const g = f(f(grad[i]! * scale) + f(value * f(decay)))
    buffer[i] = f(buffer[i]! * f(momentum)) + g
    p[i] = value + f(-rate * buffer[i]!)
  })
}

/** torch's clip_grad_norm_ factor. */
export const clipScale = (squares: number, maxNorm: number): number => Math.min(1, f(f(maxNorm) / f(f(Math.sqrt(squares)) + f(1e-6))))
