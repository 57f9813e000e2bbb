// Does this engine compute the right bits? Fixed inputs through every kernel that an engine might compile wrongly, outputs reduced to one 32-bit hash a case,
// compared with the hash that test/runtime/selftest.test.ts pins. (The kernels themselves are compared with their oracles in test/.) Run before an
// experimental mode of the engine is trusted (wide.ts): cases repeat while the engine optimizes them, and every repetition must give the right hash.
import { InlineExecutor } from './executor.ts'
import type { CoreModules, KernelArgs } from './instance.ts'
import { cases, pins, type Call, type Case } from './selftest-cases.ts'

/** 32 random bits per call (Mulberry32). */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = state + 0x6d2b79f5 | 0
    let x = Math.imul(state ^ state >>> 15, state | 1)
    x ^= x + Math.imul(x ^ x >>> 7, x | 61)
    return (x ^ x >>> 14) >>> 0
  }
}

const SPECIALS = [0, 0x80000000, 1, 0x807fffff, 0x800000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000]

/** One case made ready to repeat. */
class Ready {
  readonly #ex: InlineExecutor
  readonly #calls: readonly Call[]
  readonly #results: { ptr: number, n: number, float: boolean }[] = []
  readonly #at: number
  readonly #first: Uint8Array

  constructor(ex: InlineExecutor, make: Case) {
    this.#ex = ex
    const { arena } = ex, next = generator(1)
    const fill = (n: number, word: (i: number) => number) => {
      const ptr = arena.allocBytes(4 * n)
      new Uint32Array(arena.memory.buffer, ptr, n).forEach((_, i, words) => { words[i] = word(i) })
      return ptr
    }
    const number = (low: number, high: number) => { const x = next(); return (x & 0x807fffff) + (127 + low + (x >>> 23) % (high - low + 1) << 23) }
    const result = (ptr: number, n: number, float = true) => { this.#results.push({ ptr, n, float }); return ptr }
    this.#at = arena.mark()
    this.#calls = make({
      numbers: (n, low = -3, high = 3) => fill(n, () => number(low, high)),
      specials: n => fill(n, i => i % 16 === 15 ? SPECIALS[next() % SPECIALS.length]! : number(-18, 18)),
      coarse: (n, low = -3, high = 3) => fill(n, () => number(low, high) & 0xffff0000),
      words: (n, limit) => fill(n, () => next() % limit),
      bytes: (n, limit) => fill(Math.ceil(n / 4), () => (next() % limit) | (next() % limit) << 8 | (next() % limit) << 16 | (next() % limit) << 24),
      constants: (...values) => { const ptr = arena.allocBytes(4 * values.length); new Float32Array(arena.memory.buffer, ptr, values.length).set(values); return ptr },
      room: n => arena.allocBytes(4 * n),
      out: n => result(fill(n, () => 0), n),
      outWords: n => result(fill(n, () => 0), n, false),
      result,
    })
    this.#first = arena.u8(this.#at, arena.mark() - this.#at).slice()
  }

  /** Run the calls on the first contents; FNV-1a over the words of the results. */
  run(): number {
    const { arena } = this.#ex
    arena.u8(this.#at, this.#first.length).set(this.#first)
    for (const [kernel, args, items] of this.#calls) this.#ex.call(kernel, args as KernelArgs<typeof kernel>, items)
    let hash = 0x811c9dc5
    for (const { ptr, n, float } of this.#results) {
      for (const x of new Uint32Array(arena.memory.buffer, ptr, n)) hash = Math.imul(hash ^ (float && (x & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : x), 0x01000193)
    }
    return hash >>> 0
  }
}

/** Each case's hash on this core, run once. For the test that pins the hashes. */
export function hashes(core: CoreModules): Record<string, number> {
  const ex = new InlineExecutor(core)
  return Object.fromEntries(Object.entries(cases).map(([name, make]) => [name, new Ready(ex, make).run()]))
}

/** Number of cases. */
export const count = Object.keys(cases).length

/** Names of the cases whose bits are wrong, each run once. */
export function failures(core: CoreModules): string[] {
  return Object.entries(hashes(core)).filter(([name, hash]) => hash !== pins[name]).map(([name]) => name)
}

/** Rounds over all cases: enough work for an engine to optimize what it runs, and to run what it has optimized. */
const ROUNDS = 8

/** Run the cases that `concerns` accepts, several times each; the name of the first whose bits are wrong, or null. */
export function selfTest(core: CoreModules, concerns: (name: string) => boolean = () => true, expected: Readonly<Record<string, number>> = pins): string | null {
  const ex = new InlineExecutor(core)
  const ready = Object.entries(cases).filter(([name]) => concerns(name)).map(([name, make]) => [name, new Ready(ex, make)] as const)
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, one] of ready) if (one.run() !== expected[name]) return name
  }
  return null
}
