// The package as others get it: packed, installed elsewhere, bundled for runtimes without a file system.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { publint } from 'publint'
import { rolldown } from 'rolldown'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The package bundled from one of its entries, for a runtime with these export conditions. Bare and .wasm imports stay as they are. */
async function bundle(entry: string, conditionNames: string[]): Promise<{ code: string, imports: string[] }> {
  const build = await rolldown({ input: join(root, 'dist', entry), platform: 'neutral', resolve: { conditionNames }, external: [/^node:/, /\.wasm(\?module)?$/], logLevel: 'silent' })
  const { output: [{ code, imports }] } = await build.generate({ minify: true })
  await build.close()
  return { code, imports }
}

describe('bundles', () => {
  it.each(['edge.js', 'web.js', 'training.js', 'runtime/web-worker.js'])('%s reaches nothing of node', async entry => {
    expect((await bundle(entry, ['import', 'default'])).imports).toEqual([])
  })

  it('the edge entry, kernels included, is small', async () => {
    const { code } = await bundle('edge.js', ['import', 'default'])
    const kilobytes = gzipSync(code, { level: 9 }).length / 1000
    console.log(`edge bundle: ${(code.length / 1000).toFixed(0)} kB, ${kilobytes.toFixed(0)} kB gzipped`)
    expect(kilobytes).toBeLessThanOrEqual(150)
  })

  it.each([['workerd', ''], ['edge-light', '?module']])('for %s imports the .wasm files', async (condition, query) => {
    const { code, imports } = await bundle('edge.js', [condition, 'import', 'default'])
    expect(imports.map(name => name.split('/').at(-1))).toEqual([`kernels.wasm${query}`, `relaxed.wasm${query}`])
    expect(code.length).toBeLessThan(150_000)
  })
})

describe('the packed package', () => {
  const elsewhere = mkdtempSync(join(tmpdir(), 'blockscale-'))
  beforeAll(() => {
    execFileSync('npm', ['pack', '--silent', '--pack-destination', elsewhere], { cwd: root })
    const modules = join(elsewhere, 'node_modules')
    mkdirSync(join(modules, 'blockscale'), { recursive: true })
    execFileSync('tar', ['xf', execFileSync('ls', [elsewhere], { encoding: 'utf8' }).match(/\S+\.tgz/)![0], '--strip-components=1', '-C', 'node_modules/blockscale'], { cwd: elsewhere })
    const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: Record<string, string> }
    for (const name of Object.keys(dependencies)) {
      mkdirSync(join(modules, name, '..'), { recursive: true })
      symlinkSync(join(root, 'node_modules', name), join(modules, name))
    }
  })
  afterAll(() => rmSync(elsewhere, { recursive: true }))

  const run = (script: string) => execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: elsewhere, encoding: 'utf8' }).trim()

  it('is without fault to publint', async () => {
    expect((await publint({ pkgDir: join(elsewhere, 'node_modules/blockscale'), pack: false })).messages).toEqual([])
  })

  it('computes, on one thread and on several', () => {
    expect(run(`
      import { open, Program, fakeQuantize, blockQuantizer } from 'blockscale'
      for (const threads of [1, 2]) {
        const executor = await open({ threads })
        const x = executor.arena.from([1.1, -300, 0.3, 500], 1, 4)
        await executor.run(quantize(executor, x))
        console.log(executor.arena.f32(x).join())
        await executor.close()
      }
      function quantize({ arena }, x) {
        const p = new Program(arena)
        fakeQuantize(p, x, x, 1, blockQuantizer('ocp', 'e4m3'))
        return p
      }`)).toBe('1.125,-288,0.3125,448\n1.125,-288,0.3125,448')
  })

  it('has the edge entry, which takes a compiled module and refuses a wrong one', () => {
    expect(run(`
      import { readFileSync } from 'node:fs'
      import { fileURLToPath } from 'node:url'
      import { open } from 'blockscale/edge'
      const compile = name => new WebAssembly.Module(readFileSync(fileURLToPath(import.meta.resolve(name))))
      const empty = new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0))
      for (const options of [{}, { module: compile('blockscale/kernels.wasm') }, { module: empty }, { module: 'x' }, { threads: 4 }, { wide: true }]) {
        try { console.log((await open(options)).threads) } catch (error) { console.log(error.name, error.message) }
      }`).split('\n')).toEqual(['1', '1', expect.stringMatching(/^UsageError module: not the core/), expect.stringMatching(/^UsageError module: /), expect.stringMatching(/^UsageError threads: 4; .*one/), expect.stringMatching(/^UsageError wide: /)])
  })

  it('has the command line', () => {
    expect(execFileSync(process.execPath, ['node_modules/blockscale/dist/cli/main.js', 'info'], { cwd: elsewhere, encoding: 'utf8' })).toMatch(/self-test +passed/)
  })
})
