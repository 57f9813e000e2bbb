// Shared by the everyday and the slow suite: kernel and oracle on generated tiles, chains of one to three steps.
import { describe, expect, it } from 'vitest'
import { configurationsOf, mmaTile } from '../src/conformance/mma-cases.ts'
import { runTile } from '../src/conformance/mma-core.ts'
import { mmaConfig, mmaModels } from '../src/numerics/mma.ts'
import { decodeRow, mmaRows } from '../src/oracle/mma.ts'
import { InlineExecutor } from '../src/runtime/executor.ts'

const ex = new InlineExecutor()

/** One name for each different arithmetic: some models differ only in the chip they belong to. */
export const distinctModels = [...new Map(Object.values(mmaModels).reverse().map(({ name, instruction, confidence, source, ...arithmetic }) => [JSON.stringify(arithmetic), name])).values()].reverse()

/**
 * `count` results of model `name`, spread over its formats and scales, in tiles of M x N. Fails on the first differing bit. Returns the share of results that are
 * finite and not zero.
 */
export function agree(name: string, count: number, seed: number, M = 12, N = 12, plain = false): number {
  const configs = configurationsOf(mmaModels[name]!).map(o => mmaConfig(name, o))
  const [sign, infinity] = mmaModels[name]!.accumulator === 'f16' ? [0x8000, 0x7c00] : [0x80000000, 0x7f800000]
  let ordinary = 0, done = 0
  for (let t = 0; done < count; t++) {
    const config = configs[t % configs.length]!
    const tile = mmaTile(config, seed, Math.floor(t / configs.length), M, N, 1 + t % 3)
    const got = runTile(ex, config, tile, plain)
    const a = tile.a.map((codes, i) => decodeRow(config, 'a', codes, tile.scaleA[i])), b = tile.b.map((codes, j) => decodeRow(config, 'b', codes, tile.scaleB[j]))
    for (let i = 0; i < M; i++) for (let j = 0; j < N; j++, done++) {
      const want = mmaRows(config, a[i]!, b[j]!, tile.c[i]![j]!)
      if (got[i * N + j] !== want) expect.fail(`${name} ${config.a} ${config.b} ${config.scale?.format} ${tile.category}, tile ${t} [${i}, ${j}]: oracle ${want.toString(16)}, kernel ${got[i * N + j]!.toString(16)}\n${JSON.stringify([tile.a[i], tile.b[j], tile.c[i]![j], tile.scaleA[i], tile.scaleB[j]])}`)
      if (want % sign > 0 && want % sign < infinity) ordinary++
    }
  }
  return ordinary / done
}

/** The slow suite's half `half`, 0 or 1: 10^7 results of every second model, in ten parts whose progress and rate are printed. */
export function tenMillion(half: number): void {
  describe('kernel and oracle agree on 10^7 provoking cases', () => {
    it.each(distinctModels.filter((_, i) => i % 2 === half))('%s', name => {
      const shares: number[] = [], start = performance.now()
      for (let part = 0; part < 10; part++) {
        shares.push(agree(name, 1e6, 7 + part))
        const seconds = (performance.now() - start) / 1e3
        console.log(`${name}: ${part + 1} 10^6 of 10^7 in ${seconds.toFixed(0)} s, ${(seconds / (part + 1) * (9 - part)).toFixed(0)} s to go`)
      }
      expect(Math.min(...shares)).toBeGreaterThan(0.4)
    })
  })
}
