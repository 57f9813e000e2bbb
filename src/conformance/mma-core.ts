// Small matrix products on the compiled core, with inputs as plain arrays: what vector sets and tests compare with the oracle (src/oracle/mma.ts).
import { packNibbles } from '../io/layouts.ts'
import { codeBits, type MmaConfig } from '../numerics/mma.ts'
import type { mmaElement } from '../oracle/mma.ts'
import { decodeOperand, mma } from '../ops/mma.ts'
import { InlineExecutor } from '../runtime/executor.ts'
import { Program } from '../runtime/program.ts'
import type { MmaTile } from './mma-cases.ts'

/** Write rows of codes or bytes of `bits` each. Returns the byte offset. */
function write(ex: InlineExecutor, rows: readonly ArrayLike<number>[], bits: 8 | 16 | 32): number {
  const width = rows[0]!.length
  const ptr = ex.arena.allocBytes(rows.length * width * bits / 8)
  const View = bits === 8 ? Uint8Array : bits === 16 ? Uint16Array : Uint32Array
  const view = new View(ex.arena.memory.buffer, ptr, rows.length * width)
  rows.forEach((row, i) => view.set(row, i * width))
  return ptr
}

/** D of a tile as bits, [M * N]. `plain`: by the straightforward kernel, where there is a quicker one. `nibbles`: operands whose FP4 codes come two in a byte. */
export function runTile(ex: InlineExecutor, config: MmaConfig, tile: Omit<MmaTile, 'category'>, plain = false, nibbles: readonly ('a' | 'b')[] = []): Uint32Array {
  const mark = ex.arena.mark()
  const p = new Program(ex.arena)
  const operand = (side: 'a' | 'b', codes: number[][], scales: number[][]) => decodeOperand(p, config, side,
    { ptr: write(ex, nibbles.includes(side) ? codes.map(packNibbles) : codes, codeBits(config[side])), nibbles: nibbles.includes(side), rows: codes.length, K: codes[0]!.length, scales: config.scale ? write(ex, scales, 8) : undefined }, plain)
  const a = operand('a', tile.a, tile.scaleA), b = operand('b', tile.b, tile.scaleB)
  const d = ex.arena.tensor(tile.a.length, tile.b.length)
  ex.arena.u32(d).set(tile.c.flat())
  mma(p, config, a, b, d, { c: d })
  ex.runSync(p)
  const bits = ex.arena.u32(d).slice()
  ex.arena.release(mark)
  return bits
}

/** The oracle's element function on the core. */
export function coreElement(ex = new InlineExecutor()): typeof mmaElement {
  const list = (x: ArrayLike<number> = []) => [Array.from(x)]
  return (config, a, b, c, scaleA, scaleB) => runTile(ex, config, { a: list(a), b: list(b), c: [[c]], scaleA: list(scaleA), scaleB: list(scaleB) })[0]!
}
