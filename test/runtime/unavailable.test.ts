// Engines that lack something, each in a process of its own: an error says what is missing and what to do, and nothing falls back to one thread in silence.
// V8's own flags take away SIMD instructions and memory; what has no flag is deleted before the package is imported.
import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'

/** What `script` prints: for each promise-returning function of `cases`, how it ends. */
function outcomes(flags: string[], before: string, ...cases: string[]): string[] {
  const script = `${before}
    const [index, edge, web] = await Promise.all(['./dist/index.js', './build/edge.js', './dist/web.js'].map(file => import(new URL(file, 'file://${process.cwd()}/'))))
    for (const attempt of [${cases.map(c => `async () => ${c}`).join(', ')}]) {
      try { const executor = await attempt(); console.log('opened', executor.threads); await executor.close() } catch (error) { console.log(error.name + ': ' + error.message) }
    }`
  const { status, stdout, stderr } = spawnSync(process.execPath, [...flags, '--input-type=module', '-e', script], { encoding: 'utf8' })
  expect(status, stderr).toBe(0)
  return stdout.trim().split('\n')
}

const ALL = ['edge.open()', 'index.open({ threads: 1 })', 'index.open({ threads: 2 })']

describe('an engine', () => {
  const x64 = process.arch === 'x64'
  it.runIf(x64)(`without SIMD${x64 ? '' : ' (skipped: the flags that turn it off are those of x64)'}`, () => {
    const said = outcomes(['--no-enable-sse3', '--no-enable-ssse3', '--no-enable-sse4-1', '--no-enable-sse4-2', '--no-enable-avx', '--no-enable-avx2'], '', ...ALL)
    for (const [i, line] of said.entries()) expect(line).toMatch(new RegExp(`^RunError: this engine cannot run the core: it refuses WebAssembly SIMD${i === 2 ? ' with shared memory' : ''} \\(Node 16.4, .* and later have it, `))
    expect(said.length).toBe(3)
  })

  it('without shared memory runs one thread when asked for one, and refuses more', () => {
    const refused = expect.stringMatching(/^RunError: threads need shared memory, and this engine has no SharedArrayBuffer: .*; elsewhere use one thread$/)
    expect(outcomes([], 'delete globalThis.SharedArrayBuffer', ...ALL)).toEqual(['opened 1', 'opened 1', refused])
  })

  it('without web workers refuses the entry for pages', () => {
    expect(outcomes([], 'delete globalThis.Worker', 'web.open({ threads: 2 })', 'web.open()')).toEqual(Array(2).fill('RunError: threads need web workers, and this runtime has none: use blockscale in Node, blockscale/edge (one thread) elsewhere'))
  })

  it('in a page that is not isolated refuses threads', () => {
    const page = 'globalThis.Worker = class {}; globalThis.crossOriginIsolated = false'
    expect(outcomes([], page, 'web.open({ threads: 2 })', 'web.open({ threads: 0 })')).toEqual([
      expect.stringMatching(/^RunError: threads need shared memory, and this page is not cross-origin isolated: serve it with the headers Cross-Origin-Opener-Policy: same-origin and /), 'UsageError: threads: 0, must be a positive integer',
    ])
  })

  it('that compiles nothing from bytes says how to bring the modules', () => {
    const forbid = 'WebAssembly.Module = class { constructor() { throw new WebAssembly.CompileError("code generation disallowed by embedder") } }'
    expect(outcomes([], forbid, 'edge.open()')).toEqual([expect.stringMatching(/^RunError: this runtime does not compile WebAssembly from bytes: bundle with the condition "workerd" or "edge-light", or compile kernels.wasm its way and pass it as `module`$/)])
  })

  it('that gives no memory to start with, and one that gives no more', () => {
    expect(outcomes(['--wasm-max-mem-pages=100'], '', ...ALL.slice(0, 2))).toEqual(Array(2).fill('RunError: out of memory: 1 thread needs 9 MiB of WebAssembly memory to start, and the engine does not give it (4096 MiB at most)'))
    expect(outcomes(['--wasm-max-mem-pages=400'], '', 'edge.open().then(ex => { ex.arena.tensor(1000, 1000); ex.arena.tensor(10_000, 1000) })', 'edge.open()')).toEqual([
      'RunError: out of memory: at least 51 MiB of WebAssembly memory needed, 13 MiB had so far, and the engine gives no more (4096 MiB at most): use smaller tensors or a smaller model', 'opened 1',
    ])
  })

  it('that is asked for more threads than memory can hold', () => {
    expect(outcomes([], '', 'index.open({ threads: 1000 })')).toEqual([expect.stringMatching(/^RunError: out of memory: 1000 threads need 8001 MiB of shared WebAssembly memory to start, .*: use fewer threads$/)])
  })
})
