// A program: a flat list of kernel calls over planned memory. Shapes do not change between steps, so a model is compiled to a program once and
// an executor walks it every step. A call covers `items` independent items (rows, blocks, panels...): the kernel computes [begin, end) of them, and
// any cut of the range gives the same bits, which is why the number of threads cannot show in a result. Reductions therefore write one partial per
// item and combine the partials in index order in a later call.
//
// Emission order is execution order, so lifetimes are known while emitting: temp() reserves a buffer, free() hands it to later calls.
//
// Between two calls all threads meet at a barrier, unless both run on the first thread alone (no more items than one grain) or the emitter declared,
// with nowait(), that none is needed.
import { size, type Arena, type Tensor } from './memory.ts'
import type { KernelArgs, KernelName } from './instance.ts'

/** One kernel call of a program. */
export interface Call {
  readonly kernel: KernelName
  /** Arguments before `begin, end`. */
  readonly args: readonly number[]
  readonly items: number
  /** A thread gets a multiple of this many items, and none at all if fewer remain: small calls stay on few threads. */
  readonly grain: number
  /** Where in the model the call belongs ("layers.0.fc1.forward"), for profiles and error messages. */
  readonly label: string
  /** No barrier is needed between the call before and this one. */
  readonly nowait: boolean
  /** Floating-point operations and bytes of memory traffic of the whole call, for profiles; 0 if not stated. */
  readonly flops: number
  readonly bytes: number
}

/** A list of kernel calls over planned memory, built once and run often: `new Program(executor.arena)`, emit operations into it, `executor.run(program)`. */
export class Program {
  readonly calls: Call[] = []
  readonly arena: Arena
  #label = ''
  /** Buffers handed back by free(), by size in bytes. */
  readonly #spare: { ptr: number, bytes: number }[] = []
  /** Inside nowait(): where its calls begin, and the buffers freed since. */
  #nowait: { first: number, freed: Tensor[] } | null = null

  constructor(arena: Arena) { this.arena = arena }

  /** A buffer for intermediate values, contents undefined; reuses a freed one that is large enough. */
  temp(...shape: number[]): Tensor {
    const bytes = Math.ceil(size(shape) * 4 / 64) * 64
    let best = -1
    this.#spare.forEach((s, i) => { if (s.bytes >= bytes && (best < 0 || s.bytes < this.#spare[best]!.bytes)) best = i })
    if (best < 0) return { ptr: this.arena.allocBytes(bytes), shape }
    const [{ ptr, bytes: have }] = this.#spare.splice(best, 1) as [{ ptr: number, bytes: number }]
    if (have > bytes) this.#spare.push({ ptr: ptr + bytes, bytes: have - bytes })
    return { ptr, shape }
  }

  /** The calls emitted so far are the last to use these buffers (each one from temp(), freed once). */
  free(...tensors: Tensor[]): void {
    if (this.#nowait) this.#nowait.freed.push(...tensors)
    else for (const t of tensors) this.#spare.push({ ptr: t.ptr, bytes: Math.ceil(size(t.shape) * 4 / 64) * 64 })
  }

  /** Append one kernel call. `grain`: smallest number of items worth a thread (default 1). `cost`: of the whole call, for profiles. Returns this. */
  emit<K extends KernelName>(kernel: K, args: KernelArgs<K>, items: number, grain = 1, cost: { flops?: number, bytes?: number } = {}): this {
    const nowait = this.#nowait !== null && this.calls.length > this.#nowait.first
    if (items > 0) this.calls.push({ kernel, args, items, grain, label: this.#label, nowait, flops: cost.flops ?? 0, bytes: cost.bytes ?? 0 })
    return this
  }

  /**
   * Put no barrier between the calls that `body` emits (OpenMP's word). The emitter promises that none is needed: memory that one of the calls writes is
   * touched by another one only if both have the same items and grain, and then item i touches only what item i wrote. Independent calls keep that
   * promise, and so does a chain over the rows of one matrix. Buffers freed inside are reused only after it. Nested uses are part of the outermost.
   */
  nowait(body: () => void): this {
    if (this.#nowait) { body(); return this }
    const { freed } = this.#nowait = { first: this.calls.length, freed: [] as Tensor[] }
    try { body() } finally { this.#nowait = null }
    this.free(...freed)
    return this
  }

  /** Label the calls that `body` emits; labels nest with dots. */
  scope(label: string, body: () => void): this {
    const outer = this.#label
    this.#label = outer ? `${outer}.${label}` : label
    body()
    this.#label = outer
    return this
  }
}

/** The items of `call` that thread `t` of `threads` computes: whole grains, in order, as even as that allows; the first threads get what is over. */
export function share(call: { items: number, grain: number }, t: number, threads: number): [begin: number, end: number] {
  const grains = Math.ceil(call.items / call.grain)
  const cut = (i: number) => Math.min((Math.floor(grains / threads) * i + Math.min(i, grains % threads)) * call.grain, call.items)
  return [cut(t), cut(t + 1)]
}
