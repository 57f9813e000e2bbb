// What runs the kernels here, in words: for `blockscale info`, and stored with every run and benchmark. None of it can change a result.
import { hashes } from '../../build/hashes.js'
import type { CoreModules } from './instance.ts'
import { loadModules } from './module.ts'
import { tileName } from './tiles.ts'

/** What runs the kernels. */
export interface EngineInfo {
  /** The JavaScript runtime and its version, such as `node 26.10.0`. */
  readonly runtime: string
  /** Version of V8, where that is the engine and says so. */
  readonly v8: string | null
  /** Bits of a vector operation as it runs: 256 if the 256-bit mode is on and made the 16-column register tile the fastest, else 128. */
  readonly simd: 128 | 256
  /** Relaxed SIMD: fused multiply-adds where products are exact. */
  readonly relaxed: boolean
  /** Register tiles of the GEMM, rows x columns; `fused` is null without relaxed SIMD. */
  readonly tiles: { readonly strict: string, readonly fused: string | null }
  /** The 256-bit mode: `on: ...` or `off: ...` with the reason; null if not asked for. */
  readonly wide: string | null
  /** SHA-256 of the strict and the relaxed module, as built. */
  readonly modules: Readonly<Record<string, string>>
}

/** Describe the engine as it runs `core` (compiled if it was not). */
export function describeEngine(core: CoreModules = loadModules()): EngineInfo {
  const strict = tileName(core.kernels, core.tiles?.strict ?? 0, core.shared)
  const { process } = globalThis as { process?: { versions?: Record<string, string | undefined>, release?: { name?: string } } }
  const { Bun, Deno } = globalThis as { Bun?: { version: string }, Deno?: { version: { deno: string } } }
  const runtime = Bun ? `bun ${Bun.version}` : Deno ? `deno ${Deno.version.deno}` : process?.versions?.node ? `node ${process.versions.node}`
    : typeof navigator === 'object' ? navigator.userAgent : 'unknown'
  return {
    runtime,
    v8: Bun ? null : process?.versions?.v8 ?? null,
    simd: core.wide?.startsWith('on: 256-bit') && strict.endsWith('x16') ? 256 : 128,
    relaxed: core.relaxed !== null,
    tiles: { strict, fused: core.relaxed ? tileName(core.relaxed, core.tiles?.fused ?? 0, core.shared) : null },
    wide: core.wide,
    modules: Object.fromEntries(['kernels', 'relaxed'].map(name => [name, hashes[core.shared ? `${name}.shared` : name]!])),
  }
}
