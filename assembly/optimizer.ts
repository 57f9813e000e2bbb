// Optimizer updates with torch's order of operations (torch.optim, single-tensor path, f32), elementwise over a flat parameter vector.
// What changes from step to step is read from `step`, four f32 that src/ops/optimizer.ts computes:
//   [0] lr / (1 - beta1^t) for Adam, lr for SGD   [1] sqrt(1 - beta2^t)   [2] 1 - lr * decay, or 1   [3] gradient scale (clipping), or 1
//   Adam   g = [3] grad (+ decay p);  m += (1 - beta1) (g - m);  v = beta2 v + ((1 - beta2) g) g;  p = [2] p;  p += (-[0] m) / (sqrt v / [1] + eps)
//   SGD    g = [3] grad (+ decay p);  b = momentum b + g;  p += -[0] b
import { loadPart, loadSome, storePart, storeSome } from './lanes'

// @ts-ignore: decorator
@inline
function scaled(grad: v128, p: v128, scale: v128, decay: v128): v128 { return f32x4.add(f32x4.mul(grad, scale), f32x4.mul(p, decay)) }

// @ts-ignore: decorator
@inline
function adamFirst(m: v128, g: v128, weight: v128): v128 { return f32x4.add(m, f32x4.mul(weight, f32x4.sub(g, m))) }

// @ts-ignore: decorator
@inline
function adamSecond(v: v128, g: v128, beta2: v128, weight: v128): v128 { return f32x4.add(f32x4.mul(v, beta2), f32x4.mul(f32x4.mul(weight, g), g)) }

// @ts-ignore: decorator
@inline
function adamValue(p: v128, m: v128, v: v128, minusSize: v128, root: v128, shrink: v128, eps: v128): v128 {
  return f32x4.add(f32x4.mul(p, shrink), f32x4.div(f32x4.mul(minusSize, m), f32x4.add(f32x4.div(f32x4.sqrt(v), root), eps)))
}

/** The elements [begin, end), a multiple of 8: pairs of vectors stored together, which an engine may make one of 256 bits, in a function that stores nothing else. */
function adamEights(p: usize, g: usize, m: usize, v: usize, step: usize, weight1: f32, beta2: f32, weight2: f32, eps: f32, decay: f32, begin: i32, end: i32): void {
  const minusSize = f32x4.splat(-load<f32>(step)), root = v128.load32_splat(step, 4), shrink = v128.load32_splat(step, 8), scale = v128.load32_splat(step, 12)
  const w1 = f32x4.splat(weight1), b2 = f32x4.splat(beta2), w2 = f32x4.splat(weight2), e = f32x4.splat(eps), l2 = f32x4.splat(decay)
  for (let o = <usize>begin << 2, stop = <usize>end << 2; o < stop; o += 32) {
    const value = v128.load(p + o), value1 = v128.load(p + o, 16), gradient = scaled(v128.load(g + o), value, scale, l2), gradient1 = scaled(v128.load(g + o, 16), value1, scale, l2)
    const first = adamFirst(v128.load(m + o), gradient, w1), first1 = adamFirst(v128.load(m + o, 16), gradient1, w1)
    const second = adamSecond(v128.load(v + o), gradient, b2, w2), second1 = adamSecond(v128.load(v + o, 16), gradient1, b2, w2)
    const next = adamValue(value, first, second, minusSize, root, shrink, e), next1 = adamValue(value1, first1, second1, minusSize, root, shrink, e)
    v128.store(m + o, first1, 16)
    v128.store(m + o, first)
    v128.store(v + o, second1, 16)
    v128.store(v + o, second)
    v128.store(p + o, next1, 16)
    v128.store(p + o, next)
  }
}

/**
 * One Adam step on p [n] with gradient g and moments m, v. `weight1` = 1 - beta1 and `weight2` = 1 - beta2, each rounded from double. `decay` is the
 * coupled (L2) weight decay, 0 for AdamW, whose decay comes through step[2]. Items: elements.
 */
export function adam_f32(p: usize, g: usize, m: usize, v: usize, step: usize, weight1: f32, beta2: f32, weight2: f32, eps: f32, decay: f32, begin: i32, end: i32): void {
  const minusSize = f32x4.splat(-load<f32>(step)), root = v128.load32_splat(step, 4), shrink = v128.load32_splat(step, 8), scale = v128.load32_splat(step, 12)
  const w1 = f32x4.splat(weight1), b2 = f32x4.splat(beta2), w2 = f32x4.splat(weight2), e = f32x4.splat(eps), l2 = f32x4.splat(decay)
  let i = begin + (end - begin & -8)
  adamEights(p, g, m, v, step, weight1, beta2, weight2, eps, decay, begin, i)
  for (; i < end; i += 4) {
    const o = <usize>i << 2, rest = end - i
    const value = loadSome(p + o, rest), gradient = scaled(loadSome(g + o, rest), value, scale, l2)
    const first = adamFirst(loadSome(m + o, rest), gradient, w1), second = adamSecond(loadSome(v + o, rest), gradient, b2, w2)
    storeSome(m + o, first, rest)
    storeSome(v + o, second, rest)
    storeSome(p + o, adamValue(value, first, second, minusSize, root, shrink, e), rest)
  }
}

/** One SGD step on p [n] with gradient g and momentum buffer b (zeros at first). Items: elements. */
export function sgd_f32(p: usize, g: usize, b: usize, step: usize, momentum: f32, decay: f32, begin: i32, end: i32): void {
  const minusRate = f32x4.splat(-load<f32>(step)), scale = v128.load32_splat(step, 12)
  const mu = f32x4.splat(momentum), l2 = f32x4.splat(decay)
  let i = begin
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2
    const value = v128.load(p + o)
    const buffer = f32x4.add(f32x4.mul(v128.load(b + o), mu), scaled(v128.load(g + o), value, scale, l2))
    v128.store(b + o, buffer)
    v128.store(p + o, f32x4.add(value, f32x4.mul(minusRate, buffer)))
  }
  const rest = end - i, o = <usize>i << 2
  if (rest > 0) {
    const value = loadPart(p + o, rest)
    const buffer = f32x4.add(f32x4.mul(loadPart(b + o, rest), mu), scaled(loadPart(g + o, rest), value, scale, l2))
    storePart(b + o, buffer, rest)
    storePart(p + o, f32x4.add(value, f32x4.mul(minusRate, buffer)), rest)
  }
}

/** f32 at `out` = min(1, maxNorm / (sqrt(f64 at `squares`) + 1e-6)): torch's clip_grad_norm_ factor. One item. */
export function clip_scale(squares: usize, maxNorm: f32, out: usize, begin: i32, end: i32): void {
  if (begin >= end) return
  store<f32>(out, min<f32>(1, maxNorm / (<f32>sqrt(load<f64>(squares)) + <f32>1e-6)))
}
