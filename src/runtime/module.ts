// The compiled core: four Wasm modules (strict or relaxed SIMD, private or shared memory) and what this engine can run.
// The bytes come through the internal import `#module`, which each runtime resolves to a form it accepts.
import { modules } from '#module'
import type { instantiate as instantiateKernels } from '../../build/kernels.js'
import type { instantiate as instantiateRelaxed } from '../../build/relaxed.js'
import { RunError } from '../errors.ts'

type Strict = Awaited<ReturnType<typeof instantiateKernels>>
type Relaxed = Awaited<ReturnType<typeof instantiateRelaxed>>

/** The exports of assembly/index.ts and assembly/relaxed.ts, typed from the AssemblyScript sources by the build. */
export type Kernels = Omit<Strict & Omit<Relaxed, keyof Strict>, 'memory'>
export type KernelName = keyof Kernels & string

/** A kernel's own arguments: its parameters without the trailing `begin, end`. */
export type KernelArgs<K extends KernelName> = Kernels[K] extends (...args: infer P) => unknown ? (P extends [...infer A extends number[], number, number] ? A : never) : never

export interface CoreModules {
  /** The strict kernels. */
  kernels: WebAssembly.Module
  /** The relaxed-SIMD kernels; null where the engine has no relaxed SIMD. */
  relaxed: WebAssembly.Module | null
  shared: boolean
}

/** Does this engine accept relaxed SIMD opcodes? Asked by validating our own module. */
const cache = new Map<string, WebAssembly.Module | null>()

function compile(name: keyof typeof modules): WebAssembly.Module | null {
  let module = cache.get(name)
  if (module === undefined) {
    const bytes = Uint8Array.from(atob(modules[name].base64), c => c.charCodeAt(0))
    module = WebAssembly.validate(bytes) ? new WebAssembly.Module(bytes) : null
    cache.set(name, module)
  }
  return module
}

/** Compile the core (once per process and variant). `shared`: for use by several threads. Throws RunError if the engine lacks SIMD or threads. */
export function loadModules(shared: boolean): CoreModules {
  const suffix = shared ? '.shared' as const : '' as const
  const kernels = compile(`kernels${suffix}`)
  if (!kernels) throw new RunError(`this engine cannot run the core: it refuses WebAssembly SIMD${shared ? ' with shared memory' : ''}`)
  return { kernels, relaxed: compile(`relaxed${suffix}`), shared }
}

/** SHA-256 of each module's bytes, as built. */
export function moduleHashes(): Record<string, string> {
  return Object.fromEntries(Object.entries(modules).map(([name, { sha256 }]) => [name, sha256]))
}

/** One thread's instance of the core over `memory`, its scratch area at `scratchPtr`. A kernel of the relaxed module replaces the strict one of its name. */
export function instantiate(core: CoreModules, memory: WebAssembly.Memory, scratchPtr: number): Kernels {
  const imports = { env: { memory, abort: () => { throw new RunError('the core aborted') } } }
  const all: Record<string, unknown> = {}
  for (const module of [core.kernels, core.relaxed]) {
    if (!module) continue
    const { exports } = new WebAssembly.Instance(module, imports)
    const { _start, set_scratch } = exports as { _start?: () => void, set_scratch: (ptr: number) => void }
    _start?.()
    set_scratch(scratchPtr)
    Object.assign(all, exports)
  }
  return all as Kernels
}
