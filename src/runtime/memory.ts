// One WebAssembly.Memory cut up by a bump allocator: first the modules' constants, then one scratch area per thread, then tensors.
// Nothing is freed one by one: a caller takes a mark and releases back to it (stack discipline), or plans lifetimes itself and reuses a pointer.
import { RunError, UsageError } from '../errors.ts'

/** Bytes each thread may use for packed panels and partial tiles. */
export const SCRATCH_BYTES = 8 << 20
/** First byte after the modules' static data (asconfig.json: memoryBase). */
const SCRATCH_BASE = 1 << 20
/** Bytes by which memory grows. */
export const PAGE = 65536
const MAX_PAGES = 65536

/** A dense row-major f32 array in core memory. `ptr` is a byte offset. */
export interface Tensor {
  readonly ptr: number
  readonly shape: readonly number[]
}

/** Number of elements of a shape. */
export const size = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1)

/** The memory of an executor. */
export class Arena {
  readonly memory: WebAssembly.Memory
  readonly threads: number
  #top: number

  /** Memory for `threads` threads, shared if asked. Throws RunError if the engine refuses the allocation, or shares no memory. */
  constructor(threads: number, shared: boolean) {
    if (!Number.isInteger(threads) || threads < 1) throw new UsageError(`threads must be a positive integer, got ${threads}`)
    this.threads = threads
    this.#top = SCRATCH_BASE + threads * SCRATCH_BYTES
    const initial = Math.ceil(this.#top / PAGE), mebibytes = initial * PAGE / 2 ** 20
    if (shared && typeof SharedArrayBuffer === 'undefined') {
      throw new RunError('threads need shared memory, and this engine has no SharedArrayBuffer: a page gets it with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp; elsewhere use one thread')
    }
    try {
      this.memory = new WebAssembly.Memory(shared ? { initial, maximum: MAX_PAGES, shared } : { initial })
    } catch (cause) {
      throw new RunError(`out of memory: ${threads} thread${threads > 1 ? 's need' : ' needs'} ${mebibytes} MiB of ${shared ? 'shared ' : ''}WebAssembly memory to start, and the engine does not give it (4096 MiB at most)${threads > 1 ? ': use fewer threads' : ''}`, { cause })
    }
  }

  /** Scratch area of thread `t`. */
  scratch(t: number): number { return SCRATCH_BASE + t * SCRATCH_BYTES }

  /** Bytes in use, constants and scratch included. */
  get used(): number { return this.#top }

  /** Reserve `bytes`, 64-byte aligned, contents undefined. Throws RunError, naming the amount, when the engine has no more. */
  allocBytes(bytes: number): number {
    const ptr = this.#top
    const top = ptr + Math.ceil(bytes / 64) * 64
    const have = this.memory.buffer.byteLength
    if (top > have) {
      try {
        if (top > MAX_PAGES * PAGE) throw new RangeError('beyond 4 GiB')
        this.memory.grow(Math.ceil((top - have) / PAGE))
      } catch (cause) {
        throw new RunError(`out of memory: at least ${(top / 2 ** 20).toFixed(0)} MiB of WebAssembly memory needed, ${(have / 2 ** 20).toFixed(0)} MiB had so far, and the engine gives no more (4096 MiB at most): use smaller tensors or a smaller model`, { cause })
      }
    }
    this.#top = top
    return ptr
  }

  /** Reserve an f32 tensor, contents undefined. Throws RunError when the engine has no more memory. */
  tensor(...shape: number[]): Tensor { return { ptr: this.allocBytes(size(shape) * 4), shape } }

  /** Reserve an f32 tensor and fill it with `values`, rounded to f32; one axis if no shape is given. Throws UsageError if shape and number disagree. */
  from(values: ArrayLike<number>, ...shape: number[]): Tensor {
    const t = this.tensor(...(shape.length ? shape : [values.length]))
    if (size(t.shape) !== values.length) throw new UsageError(`values holds ${values.length} numbers, shape [${t.shape}] needs ${size(t.shape)}`)
    this.f32(t).set(values)
    return t
  }

  /** A view of a tensor's values; stale after the next allocation that grows the memory, so use it at once. */
  f32(t: Tensor): Float32Array { return new Float32Array(this.memory.buffer, t.ptr, size(t.shape)) }
  /** The same as bits. */
  u32(t: Tensor): Uint32Array { return new Uint32Array(this.memory.buffer, t.ptr, size(t.shape)) }
  /** A view of bytes, such as codes; as short-lived. */
  u8(ptr: number, bytes: number): Uint8Array { return new Uint8Array(this.memory.buffer, ptr, bytes) }

  /** The present top, for release(). */
  mark(): number { return this.#top }
  /** Free all that was reserved since `mark`. */
  release(mark: number): void { this.#top = mark }
}
