// An arena that only counts: programs built over it tell how much memory they need without taking any. Values cannot be read or written.
import { Arena, size, type Tensor } from './memory.ts'

export class PlanningArena extends Arena {
  override readonly threads: number
  #top: number
  #peak: number

  constructor(threads: number) {
    super(1, false)
    this.threads = threads
    this.#top = this.#peak = this.scratch(threads)
  }

  /** Bytes that the real arena would hold at its fullest. */
  get peak(): number { return this.#peak }
  override get used(): number { return this.#top }
  override allocBytes(bytes: number): number {
    const ptr = this.#top
    this.#top += Math.ceil(bytes / 64) * 64
    this.#peak = Math.max(this.#peak, this.#top)
    return ptr
  }
  override mark(): number { return this.#top }
  override release(mark: number): void { this.#top = mark }
  /** Reserves; the values go nowhere. */
  override from(values: ArrayLike<number>, ...shape: number[]): Tensor {
    const dimensions = shape.length ? shape : [values.length]
    return { ptr: this.allocBytes(size(dimensions) * 4), shape: dimensions }
  }
  override f32(): Float32Array { return new Float32Array(0) }
  override u32(): Uint32Array { return new Uint32Array(0) }
}
