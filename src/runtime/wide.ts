// The 256-bit mode: V8 can fuse adjacent 128-bit SIMD operations into AVX ones of 256 bits (Node 22 and later; off by default, because V8 calls the pass
// experimental). It doubles the rate of the GEMM. Results must not change, so modules compiled under it are used only after a self-test of their bits;
// if that fails, the flag is taken back and the modules are compiled again. On Node 20 the same call turns on relaxed SIMD, which there is a flag too.
// A test passed is remembered in the user's cache folder for this machine, engine and core, so that it delays only the first start.
//
// The flags belong to the whole process, so a library must not set them unasked: open({ wide: true }) asks, the command line asks unless told not to.
import { setFlagsFromString } from 'node:v8'
import type { CoreModules } from './instance.ts'
import { setGate } from './module.ts'
import { selfTest } from './selftest.ts'
import { cacheFolder, testRecord } from './test-record.ts'

/** Does the environment allow the 256-bit mode? BLOCKSCALE_WIDE=0 forbids it. */
export const wideAllowed = (env: NodeJS.ProcessEnv = process.env): boolean => env.BLOCKSCALE_WIDE !== '0'

export interface WideOptions {
  /** The test that modules must pass, for the cases whose names `concerns` accepts: the name of what is wrong, or null. Default: selfTest. */
  test?: (core: CoreModules, concerns: (name: string) => boolean) => string | null
  /** The folder where a test passed is remembered; null: always test. Default: blockscale/ in the user's cache folder. */
  cache?: string | null
}

/**
 * Ask for the 256-bit mode, before the first executor is opened; asking again changes nothing. What came of it is in CoreModules.wide. Throws UsageError
 * when it is too late.
 */
export function enableWide({ test = selfTest, cache = cacheFolder() }: WideOptions = {}): void {
  if (asked) return
  const { on, off, prompt, what, concerns } = flags()
  const set = (list: string[]) => { for (const flag of list) setFlagsFromString(flag) }
  setGate((compile, compileAgain) => {
    if (!on.length) return { ...compile(), wide: `off: ${what}` }
    set(prompt.on)
    let core = compile(), outcome: string
    const record = cache === null ? null : testRecord('self-test', core, on, cache), start = performance.now()
    if (record?.passed) outcome = `on: ${what}, self-test passed at an earlier start`
    else {
      const wrong = test(core, concerns)
      if (wrong === null) {
        record?.note()
        outcome = `on: ${what}, self-test passed in ${(performance.now() - start).toFixed(0)} ms`
      } else {
        set(off)
        core = compileAgain()
        outcome = `off: ${what} failed the self-test at ${wrong}`
      }
    }
    set(prompt.off)
    return { ...core, wide: outcome }
  }, prompt.on.length > 0)
  set(on)
  asked = true
}

let asked = false

interface Flags {
  readonly on: string[]
  readonly off: string[]
  /** While the core is compiled, timed and tested, functions are optimized at once: what is tested is what will run. */
  readonly prompt: { readonly on: string[], readonly off: string[] }
  readonly what: string
  /** Which kernels are compiled otherwise than without the flags. */
  readonly concerns: (name: string) => boolean
}

/** V8 prints an error for a flag it does not know, so they go by its version. (In V8 12, Node 22, prompt optimization takes a minute.) */
function flags(): Flags {
  const version = Number.parseInt(process.versions.v8 ?? '0'), none = { on: [], off: [] }, all = () => true
  const wide = { on: ['--experimental-wasm-revectorize'], off: ['--no-experimental-wasm-revectorize'], what: '256-bit operations', concerns: all }
  if (version > 12) return { ...wide, prompt: { on: ['--wasm-sync-tier-up', '--wasm-tiering-budget=1000'], off: ['--no-wasm-sync-tier-up', '--wasm-tiering-budget=1800000'] } }
  if (version === 12) return { ...wide, on: [...wide.on, '--wasm-tiering-budget=20000'], prompt: none }
  const relaxed = { on: ['--experimental-wasm-relaxed-simd'], off: ['--no-experimental-wasm-relaxed-simd'], what: 'relaxed SIMD (no 256-bit operations here)' }
  if (version === 11) return { ...relaxed, prompt: none, concerns: name => name.startsWith('gemm_exact') }
  return { ...none, prompt: none, what: 'this engine has no such mode', concerns: all }
}
