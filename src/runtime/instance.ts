// One thread's instance of the core. Apart from module.ts, which carries the bytes, because a worker receives its modules compiled.
import type { instantiate as instantiateKernels } from '../../build/kernels.js'
import type { instantiate as instantiateRelaxed } from '../../build/relaxed.js'
import { RunError } from '../errors.ts'
import type { Tiles } from './tiles.ts'

type Strict = Awaited<ReturnType<typeof instantiateKernels>>
type Relaxed = Awaited<ReturnType<typeof instantiateRelaxed>>

/** The exports of assembly/index.ts and assembly/relaxed.ts, typed from the AssemblyScript sources by the build. */
export type Kernels = Omit<Strict & Omit<Relaxed, keyof Strict>, 'memory'>
export type KernelName = keyof Kernels & string

/** A kernel's own arguments: its parameters without the trailing `begin, end`. (`K extends K`: for each member of a union of names by itself.) */
export type KernelArgs<K extends KernelName> = K extends K ? Kernels[K] extends (...args: infer P) => unknown ? (P extends [...infer A extends number[], number, number] ? A : never) : never : never

export interface CoreModules {
  /** The strict kernels. */
  kernels: WebAssembly.Module
  /** The relaxed-SIMD kernels; null where the engine has no relaxed SIMD. */
  relaxed: WebAssembly.Module | null
  shared: boolean
  /** The GEMM's register tiles: they decide its speed, never its result. null: not chosen yet, the first ones serve. */
  tiles: Tiles | null
  /** What became of the 256-bit mode (src/runtime/wide.ts), in words; null if nobody asked for it. */
  wide: string | null
}

/** What both modules export for this file. */
interface ModuleExports {
  _start?(): void
  set_scratch(ptr: number): void
  set_gemm_tile(index: number): void
  gemm_tile_shape(index: number): number
}

/** One thread's instance of the core over `memory`, its scratch area at `scratchPtr`. A kernel of the relaxed module replaces the strict one of its name. */
export function instantiate(core: CoreModules, memory: WebAssembly.Memory, scratchPtr: number): Kernels {
  const imports = { env: { memory, abort: () => { throw new RunError('the core aborted') } } }
  const all: Record<string, unknown> = {}
  for (const [module, tile] of [[core.kernels, core.tiles?.strict], [core.relaxed, core.tiles?.fused]] as const) {
    if (!module) continue
    const { exports } = new WebAssembly.Instance(module, imports)
    const { _start, set_scratch, set_gemm_tile, gemm_tile_shape } = exports as unknown as ModuleExports
    _start?.()
    set_scratch(scratchPtr)
    set_gemm_tile(tile ?? 0)
    Object.assign(all, exports)
    // Operands are packed for the tile of the gemm_packed_f32 that will read them: the last module's.
    const shape = gemm_tile_shape(tile ?? 0)
    ;(all as Kernels).set_pack_shape(shape >> 8, shape & 255)
  }
  return all as Kernels
}
