// Tensors made and quantized by the core, for experiments on tensors: the same bits on every engine.
import type { BlockQuantizer } from '../numerics/quantizer.ts'
import { fakeQuantize } from '../ops/quantize.ts'
import { normal } from '../ops/random.ts'
import { InlineExecutor } from '../runtime/executor.ts'
import { Program } from '../runtime/program.ts'

/** `n` standard normals, f32, a function of (seed, stream, index). */
export function normalTensor(n: number, seed: number, stream = 0): Float32Array {
  const executor = new InlineExecutor(), { arena } = executor
  const stepPtr = arena.allocBytes(8)
  arena.u8(stepPtr, 8).fill(0)
  const tensor = arena.tensor(n)
  const program = new Program(arena)
  normal(program, tensor, { seed: BigInt(seed), stream, stepPtr })
  executor.runSync(program)
  return arena.f32(tensor).slice()
}

/** Quantizes vectors of one length in blocks of consecutive elements, again and again. Stochastic rounding draws anew each time. */
export class VectorQuantizer {
  readonly #executor = new InlineExecutor()
  readonly #program: Program
  readonly #x
  readonly #stepPtr: number
  #step = 0n

  constructor(length: number, q: BlockQuantizer, seed = 0) {
    const { arena } = this.#executor
    this.#x = arena.tensor(length)
    this.#stepPtr = arena.allocBytes(8)
    this.#program = new Program(arena)
    fakeQuantize(this.#program, this.#x, this.#x, 0, q, { seed: BigInt(seed), stream: 0, stepPtr: this.#stepPtr })
  }

  /** `x` quantized and dequantized, as a new array. */
  quantize(x: Float32Array): Float32Array {
    const { arena } = this.#executor
    new DataView(arena.memory.buffer).setBigUint64(this.#stepPtr, this.#step++, true)
    arena.f32(this.#x).set(x)
    this.#executor.runSync(this.#program)
    return arena.f32(this.#x).slice()
  }
}

/** `x` quantized once. */
export const quantizeTensor = (x: Float32Array, q: BlockQuantizer, seed?: number): Float32Array => new VectorQuantizer(x.length, q, seed).quantize(x)
