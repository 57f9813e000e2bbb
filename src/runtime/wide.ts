// The 256-bit mode: V8 can fuse adjacent 128-bit SIMD operations into AVX ones of 256 bits (Node 22 and later; off by default, because V8 calls the pass
// experimental). It doubles the rate of the GEMM. Results must not change, so modules compiled under it are used only after a self-test of their bits;
// if that fails, the flag is taken back and the modules are compiled again. On Node 20 the same call turns on relaxed SIMD, which there is a flag too.
// A test passed is remembered in the user's cache folder for this machine, engine and core, so that it delays only the first start.
//
// The flags belong to the whole process, so a library must not set them unasked: open({ wide: true }) asks, the command line asks unless told not to.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { cpus, homedir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { hashes } from '../../build/hashes.js'
import type { CoreModules } from './instance.ts'
import { setGate } from './module.ts'
import { selfTest } from './selftest.ts'

/** Does the environment allow the 256-bit mode? BLOCKSCALE_WIDE=0 forbids it. */
export const wideAllowed = (env: NodeJS.ProcessEnv = process.env): boolean => env.BLOCKSCALE_WIDE !== '0'

export interface WideOptions {
  /** The test that modules must pass: the name of what is wrong, or null. Default: selfTest. */
  test?: (core: CoreModules) => string | null
  /** The folder where a test passed is remembered; null: always test. Default: blockscale/ in the user's cache folder. */
  cache?: string | null
}

/**
 * Ask for the 256-bit mode, before the first executor is opened; asking again changes nothing. What came of it is in CoreModules.wide. Throws UsageError
 * when it is too late.
 */
export function enableWide({ test = selfTest, cache = cacheFolder() }: WideOptions = {}): void {
  if (asked) return
  const { on, off, what } = flags()
  setGate((core, compileAgain) => {
    if (!on.length) return { ...core, wide: `off: ${what}` }
    const passed = cache && join(cache, `self-test-${fingerprint(core, on)}`)
    if (passed && existsSync(passed)) return { ...core, wide: `on: ${what}, self-test passed at an earlier start` }
    const start = performance.now()
    const wrong = test(core)
    if (wrong === null) {
      if (passed) remember(cache, passed)
      return { ...core, wide: `on: ${what}, self-test passed in ${(performance.now() - start).toFixed(0)} ms` }
    }
    off.forEach(flag => setFlagsFromString(flag))
    return { ...compileAgain(), wide: `off: ${what} failed the self-test at ${wrong}` }
  })
  on.forEach(flag => setFlagsFromString(flag))
  asked = true
}

let asked = false

/** V8 prints an error for a flag it does not know, so they go by its version. A lower tiering budget has kernels optimized within the self-test. */
function flags(): { on: string[], off: string[], what: string } {
  const version = Number.parseInt(process.versions.v8 ?? '0')
  if (version >= 12) {
    return { on: ['--experimental-wasm-revectorize', '--wasm-tiering-budget=20000'], off: ['--no-experimental-wasm-revectorize'], what: '256-bit operations' }
  }
  if (version === 11) return { on: ['--experimental-wasm-relaxed-simd'], off: ['--no-experimental-wasm-relaxed-simd'], what: 'relaxed SIMD (no 256-bit operations here)' }
  return { on: [], off: [], what: 'this engine has no such mode' }
}

/** All that the outcome of the test depends on. */
function fingerprint({ shared, tiles }: CoreModules, on: string[]): string {
  const facts = [process.versions, process.arch, process.platform, cpus()[0]?.model, process.execArgv, on, hashes, shared, tiles]
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 32)
}

function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  const base = process.platform === 'win32' ? env.LOCALAPPDATA : process.platform === 'darwin' ? join(homedir(), 'Library', 'Caches') : env.XDG_CACHE_HOME
  return join(base ?? join(homedir(), '.cache'), 'blockscale')
}

/** Leave an empty file; without it the next start tests again, so failing to write is no error. */
function remember(folder: string, file: string): void {
  try {
    mkdirSync(folder, { recursive: true })
    writeFileSync(file, '')
  } catch { /* a read-only home */ }
}
