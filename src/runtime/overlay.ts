// Programs that never run at the same time may keep their temporaries in the same memory. An overlay is a region above everything that lives on:
// each program built in it starts again at the region's first byte. What must outlive a program is reserved before the overlay is made.
import type { Arena } from './memory.ts'
import { Program } from './program.ts'

export class Overlay {
  readonly arena: Arena
  readonly #base: number
  #top: number

  constructor(arena: Arena) {
    this.arena = arena
    this.#base = this.#top = arena.mark()
  }

  /** Build a program whose temporaries lie in this region. */
  build(body: (p: Program) => void): Program {
    this.arena.release(this.#base)
    const p = new Program(this.arena)
    body(p)
    this.#top = Math.max(this.#top, this.arena.used)
    this.arena.release(this.#top)
    return p
  }

  /** Bytes of the region so far: what the largest program needs. */
  get bytes(): number { return this.#top - this.#base }
}
