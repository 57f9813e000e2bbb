// Elementary functions as kernels of their own, so that tests can measure them.
import { loadPart, storePart } from './lanes'
import { bell, exp, log, tail, tailArgument, tanh } from './math'

// @ts-ignore: decorator
@inline
function evaluate(kind: i32, x: v128): v128 {
  if (kind == 0) return exp(x)
  if (kind == 1) return log(x)
  if (kind == 2) return tanh(x)
  const t = tailArgument(x)
  return tail(t, bell(t))
}

// @ts-ignore: decorator
@inline
function loop(kind: i32, x: usize, y: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i += 4) {
    const o = <usize>i << 2
    if (end - i >= 4) v128.store(y + o, evaluate(kind, v128.load(x + o)))
    else storePart(y + o, evaluate(kind, loadPart(x + o, end - i)), end - i)
  }
}

/** y = f(x) with f = exp, log, tanh, Phi(-|x|) for kind = 0, 1, 2, 3. Items: elements. */
export function elementary_f32(kind: i32, x: usize, y: usize, begin: i32, end: i32): void {
  if (kind == 0) loop(0, x, y, begin, end)
  else if (kind == 1) loop(1, x, y, begin, end)
  else if (kind == 2) loop(2, x, y, begin, end)
  else loop(3, x, y, begin, end)
}
