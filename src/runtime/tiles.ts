// Which register tile of the GEMM is fastest here? It depends on the engine's code generator (how many sums it can keep in registers, whether it runs
// two 128-bit operations as one of 256), which no feature test reveals, so each tile is timed for a moment. The choice never shows in a result.
import { Arena } from './memory.ts'

/** Index of the register tile of the strict module and of the relaxed one. */
export interface Tiles {
  readonly strict: number
  readonly fused: number
}

/** The exports of a module that this file uses. */
interface TileExports {
  _start?(): void
  set_scratch(ptr: number): void
  gemm_tile_shape(index: number): number
  gemm_tile_time(index: number, kc: number, repeats: number): void
}

const KC = 256
/** Flop of one sample: 20 us of optimized code. */
const SAMPLE = 1e6
/** Samples of a tile that tell the rate of first code, and rounds after the last tile has left it. */
const BEFORE = 9, AFTER = 8
const LIMIT_MS = 100
/** Where the first code was replaced before it could be timed, no tile leaves its first rate: then this long without a gain is the end. */
const STILL_MS = 10, GAIN = 1.3
/** A sample so many times slower than one before it was interrupted. */
const INTERRUPTED = 20

/** A bare instance for one module's tiles. */
function bare(module: WebAssembly.Module, arena: Arena): TileExports {
  const exports = new WebAssembly.Instance(module, { env: { memory: arena.memory, abort() {} } }).exports as unknown as TileExports
  exports._start?.()
  exports.set_scratch(arena.scratch(0))
  return exports
}

/** Time the tiles of both modules. `prompt`: the engine optimizes a function during its first call. */
export function chooseTiles(core: { kernels: WebAssembly.Module, relaxed: WebAssembly.Module | null, shared: boolean }, prompt = false): Tiles {
  const arena = new Arena(1, core.shared)
  return { strict: fastestTile(bare(core.kernels, arena), prompt), fused: core.relaxed ? fastestTile(bare(core.relaxed, arena), prompt) : 0 }
}

/** Rows and columns of tile `index` of a module, such as `4x16`. */
export function tileName(module: WebAssembly.Module, index: number, shared: boolean): string {
  const shape = bare(module, new Arena(1, shared)).gemm_tile_shape(index)
  return `${shape >> 8}x${shape & 255}`
}

/**
 * Index of the fastest tile; 0 (right for any engine) where there is no usable clock. Engines start with quick code, about equally slow for every tile, and
 * replace it after some use by better code, compiled aside. So tiles are timed in turn until all have left the first rate, or none gains any more: 5 to 15 ms on an
 * idle machine.
 * A prompt engine has better code from the second call on.
 */
function fastestTile(module: TileExports, prompt: boolean): number {
  const tiles: { flop: number, rates: number[], best: number }[] = []
  for (let i = 0, shape; (shape = module.gemm_tile_shape(i)); i++) tiles.push({ flop: 2 * (shape >> 8) * (shape & 255) * KC, rates: [], best: 0 })
  if (prompt) for (let i = 0; i < 2 * tiles.length; i++) module.gemm_tile_time(i % tiles.length, KC, 2)
  let start = performance.now(), now = start, gained = start
  for (let after = 0; after < AFTER && now - start < LIMIT_MS && now - gained < STILL_MS;) {
    for (const [index, tile] of tiles.entries()) {
      const repeats = Math.ceil(SAMPLE / tile.flop)
      const begin = performance.now()
      module.gemm_tile_time(index, KC, repeats)
      now = performance.now()
      if (now <= begin) return 0
      const rate = tile.flop * repeats / (now - begin)
      if (rate < tile.best / INTERRUPTED) {
        start += now - begin
        gained += now - begin
        continue
      }
      if (rate > GAIN * tile.best) gained = now
      tile.best = Math.max(tile.best, rate)
      if (tile.rates.length < BEFORE) tile.rates.push(rate)
    }
    const first = Math.min(...tiles.map(t => t.rates.length < BEFORE ? Infinity : median(t.rates)))
    if (prompt || tiles.every(t => t.best > 1.5 * first)) after++
  }
  return tiles.reduce((best, tile, index) => tile.best > 1.02 * tiles[best]!.best ? index : best, 0)
}

const median = (values: number[]) => values.toSorted((x, y) => x - y)[values.length >> 1]!
