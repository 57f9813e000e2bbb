// Which register tile of the GEMM is fastest here? It depends on the engine's code generator (how many sums it can keep in registers, whether it runs
// two 128-bit operations as one of 256), which no feature test reveals, so each tile is timed for a moment. The choice never shows in a result.

/** Index of the register tile of the strict module and of the relaxed one. */
export interface Tiles {
  readonly strict: number
  readonly fused: number
}

/** The part of a module's exports that this file uses. */
export interface TileExports {
  gemm_tile_shape(index: number): number
  gemm_tile_time(index: number, kc: number, repeats: number): void
}

/** Rows and columns of tile `index`, such as `4x16`; null beyond the last. */
export function tileName(module: TileExports, index: number): string | null {
  const shape = module.gemm_tile_shape(index)
  return shape ? `${shape >> 8}x${shape & 255}` : null
}

const KC = 128
/** Flop of one sample: 20 us of optimized code. */
const SAMPLE = 1e6
/** Rounds before a tile's rate is expected to jump, and rounds after the last jump. */
const BEFORE = 9, AFTER = 8
/** Stop when no rate has improved for so long, and in any case after so long. */
const QUIET_MS = 6, LIMIT_MS = 25

/**
 * Index of the fastest tile of `module`, an instance with a scratch area; 0 (right for any engine) where there is no usable clock. Tiles are timed in
 * turn. Engines start with quick code and replace it after some use, so rounds go on until every tile's rate has jumped: 5 to 10 ms.
 */
export function fastestTile(module: TileExports): number {
  const tiles: { flop: number, rates: number[], best: number, jumped: boolean }[] = []
  for (let i = 0, shape; (shape = module.gemm_tile_shape(i)); i++) tiles.push({ flop: 2 * (shape >> 8) * (shape & 255) * KC, rates: [], best: 0, jumped: false })
  const start = performance.now()
  let now = start, improved = start
  for (let after = 0; after < AFTER && now - improved < QUIET_MS && now - start < LIMIT_MS;) {
    for (const tile of tiles) {
      const repeats = Math.ceil(SAMPLE / tile.flop)
      const begin = performance.now()
      module.gemm_tile_time(tiles.indexOf(tile), KC, repeats)
      now = performance.now()
      if (now <= begin) return 0
      const rate = tile.flop * repeats / (now - begin)
      if (rate > 1.05 * tile.best) improved = now
      tile.best = Math.max(tile.best, rate)
      if (tile.rates.push(rate) > BEFORE) tile.jumped ||= rate > 1.4 * median(tile.rates.slice(0, BEFORE))
    }
    if (tiles.every(t => t.jumped)) after++
  }
  return tiles.reduce((best, tile, index) => tile.best > 1.02 * tiles[best]!.best ? index : best, 0)
}

const median = (values: number[]) => values.sort((x, y) => x - y)[values.length >> 1]!
