// The compiled core: four Wasm modules (strict or relaxed SIMD, private or shared memory) and what this engine can run.
// The bytes come through the internal import `#module`, which each runtime resolves to a form it accepts.
import { modules } from '#module'
import { RunError } from '../errors.ts'
import type { CoreModules } from './instance.ts'

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
