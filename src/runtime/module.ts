// The compiled core: two Wasm modules (strict and relaxed SIMD), and what this engine can run. They come through the internal import `#module`, which
// each runtime resolves to a form it accepts (scripts/build.mjs). Their twins over shared memory are apart (shared-module.ts): without threads none is needed.
import { modules } from '#module'
import { signatures } from '../../build/hashes.js'
import { RunError, UsageError } from '../errors.ts'
import type { CoreModules } from './instance.ts'
import { chooseTiles } from './tiles.ts'

const loaded = new Map<boolean, CoreModules>()

/** What is done where the core is compiled: `compile` does it, `compileAgain` anew if its result will not do. `prompt`: see chooseTiles. */
export type Gate = (compile: () => CoreModules, compileAgain: () => CoreModules) => CoreModules
let gate: Gate = compile => compile(), prompt = false

/** Set the gate, before anything is compiled. Throws UsageError when it is too late. */
export function setGate(next: Gate, engineIsPrompt: boolean): void {
  if (loaded.size) throw new UsageError('the core is compiled already: choose the mode of the engine before the first executor is opened')
  gate = next
  prompt = engineIsPrompt
}

/** The strict and the relaxed module, in base64 or compiled. */
export type Sources = Readonly<Record<'kernels' | 'relaxed', string | WebAssembly.Module>>

/**
 * Compile the core for one thread (once per process). `tuned`: time the GEMM's tiles now, instead of when an executor first needs them. Throws RunError
 * if the engine lacks SIMD, or does not compile from bytes.
 */
export const loadModules = (tuned = true): CoreModules => loadFrom(modules, false, tuned)

/** Compile the core from `sources` (once per process and kind). `shared`: over memory that several threads share. */
export function loadFrom(sources: Sources, shared: boolean, tuned = true): CoreModules {
  const before = loaded.get(shared), ready = (core: CoreModules) => tuned ? tune(core) : core
  const core = before ? ready(before) : gate(() => ready(compile(sources, shared, new Uint8Array())), () => ready(compile(sources, shared, again)))
  loaded.set(shared, core)
  return core
}

/** The same core with the GEMM's tiles chosen. */
export const tune = (core: CoreModules): CoreModules => core.tiles ? core : { ...core, tiles: chooseTiles(core, prompt) }

/**
 * The core from modules that the caller has compiled: the package's kernels.wasm and relaxed.wasm. Without the relaxed one, the same bits at a lower speed.
 * Throws UsageError if they are others, or of another version of the package.
 */
export function useModules(kernels: WebAssembly.Module, relaxed: WebAssembly.Module | null = null): CoreModules {
  check('module', kernels, 'kernels.wasm')
  if (relaxed) check('relaxed', relaxed, 'relaxed.wasm')
  return { kernels, relaxed, shared: false, tiles: null, wide: null }
}

function check(option: string, module: WebAssembly.Module, file: string): void {
  if (!(module instanceof WebAssembly.Module)) throw new UsageError(`${option}: ${typeof module}, must be a WebAssembly.Module: what blockscale/${file} compiles to`)
  const [section] = WebAssembly.Module.customSections(module, 'blockscale'), got = section ? new TextDecoder().decode(section) : 'another module'
  if (got !== signatures[file]) throw new UsageError(`${option}: is ${got}, must be ${signatures[file]}: compile blockscale/${file} of this very version of the package`)
}

/** A custom section with an empty name: an engine that remembers modules by their bytes compiles these anew. */
const again = Uint8Array.of(0, 1, 0)

function compile(sources: Sources, shared: boolean, suffix: Uint8Array): CoreModules {
  const [kernels = null, relaxed = null] = (['kernels', 'relaxed'] as const).map(name => {
    const source = sources[name]
    if (typeof source !== 'string') return source
    const code = decode(source)
    const bytes = new Uint8Array(code.length + suffix.length)
    bytes.set(code)
    bytes.set(suffix, code.length)
    try {
      return new WebAssembly.Module(bytes)
    } catch (cause) {
      if (!WebAssembly.validate(bytes)) return null // opcodes that this engine does not know: SIMD, relaxed SIMD
      throw new RunError('this runtime does not compile WebAssembly from bytes: bundle with the condition "workerd" or "edge-light", or compile kernels.wasm its way and pass it as `module`', { cause })
    }
  })
  if (!kernels) throw new RunError(`this engine cannot run the core: it refuses WebAssembly SIMD${shared ? ' with shared memory' : ''} (Node 16.4, Chrome 91, Firefox 89, Safari 16.4 and later have it, on processors with SSE4.1 or NEON)`)
  return { kernels, relaxed, shared, tiles: null, wide: null }
}

/** Base64 to bytes, the quickest way there is: the last one takes some 10 ms. */
function decode(base64: string): Uint8Array {
  const { fromBase64 } = Uint8Array as { fromBase64?: (text: string) => Uint8Array }
  if (fromBase64) return fromBase64.call(Uint8Array, base64)
  if (globalThis.Buffer) return globalThis.Buffer.from(base64, 'base64')
  return Uint8Array.from(atob(base64), c => c.charCodeAt(0))
}
