// Inputs for kernel tests, and how a kernel and its oracle are compared: bit by bit, every NaN the same.
import { expect } from 'vitest'
import type { Tensor } from '../../src/runtime/memory.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import type { KernelArgs, KernelName } from '../../src/runtime/instance.ts'
import { canonical, generator } from '../ops/gemm-data.ts'

/** Roughly normal values. */
export function gaussian(n: number, seed: number, scale = 1): Float32Array {
  const next = generator(seed)
  return Float32Array.from({ length: n }, () => scale * (Array.from({ length: 12 }, next).reduce((s, w) => s + w / 2 ** 32, 0) - 6))
}

/** Random words, gaussians of several sizes, values on and beside bf16 halves, and specials: zeros, subnormals, the top of the range, Inf, NaN. */
export function hard(n: number, seed: number): Float32Array {
  const next = generator(seed), small = gaussian(n, seed + 1)
  const specials = [0, 0x80000000, 1, 0x80000001, 0x7fff, 0x8000, 0x8001, 0x7fffff, 0x800000, 0x7f7f0000, 0x7f7f7fff, 0x7f7f8000, 0x7f7fffd3, 0x7f7fffd4, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345, 0x7fffffff]
  const out = new Float32Array(n), words = new Uint32Array(out.buffer)
  for (let i = 0; i < n; i++) {
    const kind = next() % 8
    if (kind === 0) words[i] = specials[next() % specials.length]!
    else if (kind === 1) words[i] = next()
    else {
      out[i] = small[i]! * 2 ** (kind === 2 ? next() % 40 - 20 : kind === 3 ? 3 : 0)
      if (kind > 5) words[i] = (words[i]! & 0xffff0000) + 0x7fff + next() % 3
    }
  }
  return out
}

/** Both as words, every NaN the same. The message names the first difference. */
export function expectSameBits(got: Float32Array, want: Float32Array, what = ''): void {
  const g = canonical(got), w = canonical(want)
  const i = w.findIndex((word, i) => word !== g[i])
  if (i >= 0 || g.length !== w.length) expect.fail(`${what} [${i}] of ${w.length}: got ${g[i]?.toString(16)} (${got[i]}), want ${w[i]?.toString(16)} (${want[i]})`)
}

/** One executor and its arena, for a test file. */
export class Bench {
  readonly ex = new InlineExecutor()

  tensor(values: Float32Array): Tensor { return this.ex.arena.from(values) }
  empty(n: number): Tensor {
    const t = this.ex.arena.tensor(n)
    this.ex.arena.f32(t).fill(12345)
    return t
  }

  read(t: Tensor): Float32Array { return this.ex.arena.f32(t).slice() }

  /** Run a kernel over [0, items) in three uneven pieces: any cut must give the same bits. */
  call<K extends KernelName>(kernel: K, args: KernelArgs<K>, items: number): void {
    const cuts = [0, Math.floor(items / 3), Math.floor(items / 3) + 1, items].map(c => Math.min(c, items))
    const run = this.ex.kernels[kernel] as (...args: number[]) => void
    for (let i = 0; i < 3; i++) run(...args, cuts[i]!, cuts[i + 1]!)
  }
}
