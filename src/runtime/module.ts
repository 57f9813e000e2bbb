// The compiled core: four Wasm modules (strict or relaxed SIMD, private or shared memory) and what this engine can run.
// The bytes come through the internal import `#module`, which each runtime resolves to a form it accepts.
import { modules } from '#module'
import { RunError, UsageError } from '../errors.ts'
import type { CoreModules } from './instance.ts'
import { chooseTiles } from './tiles.ts'

const loaded = new Map<boolean, CoreModules>()

/** Looks at newly compiled modules before anyone runs them, and returns these or others in their place. */
export type Gate = (core: CoreModules, compileAgain: () => CoreModules) => CoreModules
let gate: Gate = core => core

/** Set the gate, before anything is compiled. Throws UsageError when it is too late. */
export function setGate(next: Gate): void {
  if (loaded.size) throw new UsageError('the core is compiled already: choose the mode of the engine before the first executor is opened')
  gate = next
}

/** Compile the core (once per process and variant). `shared`: for use by several threads. Throws RunError if the engine lacks SIMD or threads. */
export function loadModules(shared: boolean): CoreModules {
  let core = loaded.get(shared)
  if (!core) {
    core = gate(compile(shared, new Uint8Array()), () => compile(shared, again))
    loaded.set(shared, core)
  }
  return core
}

/** A custom section with an empty name: an engine that remembers modules by their bytes compiles these anew. */
const again = Uint8Array.of(0, 1, 0)

function compile(shared: boolean, suffix: Uint8Array): CoreModules {
  const [kernels, relaxed] = (['kernels', 'relaxed'] as const).map(name => {
    const { base64 } = modules[shared ? `${name}.shared` as const : name]
    const code = atob(base64)
    const bytes = new Uint8Array(code.length + suffix.length)
    for (let i = 0; i < code.length; i++) bytes[i] = code.charCodeAt(i)
    bytes.set(suffix, code.length)
    // Does this engine accept relaxed SIMD opcodes? Asked by validating our own module.
    return WebAssembly.validate(bytes) ? new WebAssembly.Module(bytes) : null
  })
  if (!kernels) throw new RunError(`this engine cannot run the core: it refuses WebAssembly SIMD${shared ? ' with shared memory' : ''}`)
  const core = { kernels, relaxed: relaxed ?? null, shared }
  return { ...core, tiles: chooseTiles(core), wide: null }
}

/** SHA-256 of each module's bytes, as built. */
export function moduleHashes(): Record<string, string> {
  return Object.fromEntries(Object.entries(modules).map(([name, { sha256 }]) => [name, sha256]))
}
