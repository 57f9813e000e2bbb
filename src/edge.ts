// The entry for any JavaScript runtime: the same kernels and the same bits on the calling thread. Imports nothing from node:.
import { UsageError } from './errors.ts'
import { InlineExecutor } from './runtime/executor.ts'
import { loadModules, useModules } from './runtime/module.ts'

export * from './api.ts'

/** Options of `open` anywhere. There is no `threads`: this entry has one. */
export interface EdgeOptions {
  /** The package's kernels.wasm, compiled by the caller; default: the built-in one, in the form this runtime takes. */
  module?: WebAssembly.Module
  /** Its relaxed.wasm: more speed, the same bits. Only with `module`. */
  relaxed?: WebAssembly.Module
}

/** Open an executor. Throws UsageError for an option that this entry cannot grant or a wrong module, RunError if the engine cannot run the core. */
export async function open({ module, relaxed, ...others }: EdgeOptions = {}): Promise<InlineExecutor> {
  const { threads = 1 } = others as { threads?: unknown }
  if (threads !== 1) throw new UsageError(`threads: ${String(threads)}; blockscale/edge runs on one: import blockscale (Node, Deno, Bun) or blockscale/web (a cross-origin-isolated page)`)
  const unknown = Object.keys(others).find(key => key !== 'threads')
  if (unknown) throw new UsageError(`${unknown}: blockscale/edge has no such option, only module and relaxed`)
  if (relaxed && !module) throw new UsageError('relaxed: goes with module')
  return new InlineExecutor(module ? useModules(module, relaxed) : loadModules(false)) // a program with a matrix product chooses the tiles
}
