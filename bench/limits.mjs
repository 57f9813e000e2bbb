// What this machine can do at most, measured in the same run as the figures: multiply-adds per second of one thread, and bytes per second of memory.copy.
import { compile, instantiate } from './wasm.mjs'

/** Short batches, many of them: on a busy machine some run undisturbed. */
const BATCH_MS = 0.3, BATCHES = 400

/** Best rate of `work(repeats)` in units per second, over many short batches once the engine has optimized it. */
function best(work, unitsPerRepeat) {
  let rate = 0
  for (let repeats = 1, batch = 0; batch < BATCHES;) {
    const start = performance.now()
    work(repeats)
    const ms = performance.now() - start
    if (ms < BATCH_MS) repeats *= 2
    else {
      rate = Math.max(rate, unitsPerRepeat * repeats / ms * 1000)
      batch++
    }
  }
  return rate
}

/**
 * Chains of multiply-adds in registers, without memory. Enough chains to hide an operation's latency and few enough to stay in registers: 12, or 20 with
 * pairs of operands adjacent in memory, where the engine turns pairs into 256-bit operations. `fused`: relaxed multiply-add, else a multiplication and an addition on different chains (which a
 * processor may have separate units for).
 */
function chains(name, count, fused) {
  const each = i => [...Array(count).keys()].map(i).join('\n'), of = i => count === 12 ? 0 : i % 2
  return `export function ${name}(repeats: i32, p: usize): void {
  const zero0 = v128.load(p), zero1 = v128.load(p, 16), one0 = v128.load(p, 32), one1 = v128.load(p, 48)
${each(i => `  let c${i} = v128.load(p, ${64 + 16 * i})`)}
  do {
${each(i => `    c${i} = ${fused ? `f32x4.relaxed_madd(one${of(i)}, zero${of(i)}, c${i})` : i % 4 < 2 ? `f32x4.add(c${i}, zero${of(i)})` : `f32x4.mul(c${i}, one${of(i)})`}`)}
  } while (--repeats)
${each(i => `  v128.store(p, c${i}, ${64 + 16 * i})`)}
}
`
}

/** Flop per second of one thread, the best this engine can do in its present mode: a multiplication or an addition of one f32 is one flop. */
export async function peakFlops() {
  let peak = 0
  for (const fused of [false, true]) {
    const module = await compile(chains('chains12', 12, fused) + chains('chains20', 20, fused))
    if (!module) continue
    const { chains12, chains20, memory } = instantiate(module)
    new Float32Array(memory.buffer, 32, 8).fill(1)
    new Float32Array(memory.buffer, 64, 96).fill(1.5)
    for (const [run, count] of [[chains12, 12], [chains20, 20]]) peak = Math.max(peak, best(repeats => run(repeats, 0), count * 4 * (fused ? 2 : 1)))
  }
  return peak
}

/** Bytes copied per second by memory.copy of arrays of `megabytes`: in the cache, or in memory if larger than it. */
export async function copyRate(megabytes) {
  const module = await compile('export function copy(repeats: i32, bytes: usize): void { do memory.copy(bytes, 0, bytes); while (--repeats) }')
  const { copy, memory } = instantiate(module, 2 * megabytes)
  new Uint8Array(memory.buffer).fill(1) // pages never written are all one page of zeros, which stays in the cache
  const bytes = megabytes * 2 ** 20
  return best(repeats => copy(repeats, bytes), bytes)
}
