// The package as others get it: packed, installed elsewhere, bundled for runtimes without a file system.
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { publint } from 'publint'
import { rolldown } from 'rolldown'
import { beforeAll, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The package bundled from one of its files, for a runtime with these export conditions. Bare and .wasm imports stay as they are. */
async function bundle(entry: string, conditionNames: string[]): Promise<{ code: string, imports: string[] }> {
  const build = await rolldown({ input: join(root, entry), platform: 'neutral', resolve: { conditionNames }, external: [/^node:/, /\.wasm(\?module)?$/], logLevel: 'silent' })
  const { output: [{ code, imports }] } = await build.generate({ minify: true })
  await build.close()
  return { code, imports }
}

describe('bundles', () => {
  it.each(['build/edge.js', 'dist/web.js', 'dist/training.js', 'dist/conformance.js', 'dist/runtime/web-worker.js'])('%s reaches nothing of node', async entry => {
    expect((await bundle(entry, ['import', 'default'])).imports).toEqual([])
  })

  it('the edge entry, kernels included, is small', async () => {
    const { code } = await bundle('build/edge.js', ['import', 'default'])
    const kilobytes = gzipSync(code, { level: 9 }).length / 1000
    console.log(`edge bundle: ${(code.length / 1000).toFixed(0)} kB, ${kilobytes.toFixed(0)} kB gzipped`)
    expect(kilobytes).toBeLessThanOrEqual(150)
  })

  it.each([['workerd', ''], ['edge-light', '?module']])('for %s imports the .wasm files', async (condition, query) => {
    const { code, imports } = await bundle('build/edge.js', [condition, 'import', 'default'])
    expect(imports.map(name => name.split('/').at(-1))).toEqual([`kernels.wasm${query}`, `relaxed.wasm${query}`])
    const files = ['kernels', 'relaxed'].map(name => readFileSync(join(root, `build/${name}.wasm`)))
    expect(gzipSync(Buffer.concat([Buffer.from(code), ...files]), { level: 9 }).length).toBeLessThanOrEqual(150_000)
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

  const run = (script: string) => execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: elsewhere, encoding: 'utf8' }).trim()

  it('is without fault to publint', async () => {
    expect((await publint({ pkgDir: join(elsewhere, 'node_modules/blockscale'), pack: false })).messages).toEqual([])
  })

  it('has these entries, and each opens', () => {
    const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, unknown> }
    expect(Object.keys(exports)).toEqual(['.', './edge', './web', './training', './conformance', './kernels.wasm', './relaxed.wasm', './package.json'])
    expect(run(`
      import { createRequire } from 'node:module'
      import { readFileSync } from 'node:fs'
      import { fileURLToPath } from 'node:url'
      for (const name of ['blockscale', 'blockscale/edge', 'blockscale/web', 'blockscale/training', 'blockscale/conformance']) console.log(name, typeof ((await import(name)).open ?? (await import(name)).parseConfig ?? (await import(name)).compare))
      for (const name of ['blockscale/kernels.wasm', 'blockscale/relaxed.wasm']) console.log(name, readFileSync(fileURLToPath(import.meta.resolve(name))).subarray(1, 4).toString())
      console.log(createRequire(import.meta.url)('blockscale/package.json').name)`).split('\n')).toEqual([
      'blockscale function', 'blockscale/edge function', 'blockscale/web function', 'blockscale/training function', 'blockscale/conformance function', 'blockscale/kernels.wasm asm', 'blockscale/relaxed.wasm asm', 'blockscale',
    ])
  })

  it.each([['bundler', 'esnext'], ['nodenext', 'nodenext']])('has types that TypeScript finds (moduleResolution %s), and that need no others', (resolution, module) => {
    writeFileSync(join(elsewhere, 'package.json'), '{ "type": "module" }')
    copyFileSync(join(root, 'test/package/consumer.ts'), join(elsewhere, 'consumer.ts'))
    const { status, stdout } = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2023,dom', '--module', module, '--moduleResolution', resolution, 'consumer.ts'], { cwd: elsewhere, encoding: 'utf8' })
    expect([status, stdout]).toEqual([0, ''])
  })

  it('has errors that are the same classes in every entry, and programs that any executor takes', () => {
    expect(run(`
      import * as index from 'blockscale'
      import * as edge from 'blockscale/edge'
      import { parseConfig, StudentTeacher } from 'blockscale/training'
      const caught = f => { try { f() } catch (error) { return error } }
      console.log([caught(() => parseConfig({ nothing: 1 })), caught(() => edge.blockQuantizer('ocp', 'none'))].map(e => e instanceof index.UsageError && e instanceof edge.UsageError).join())
      const hashes = []
      for (const executor of [await edge.open(), await index.open({ threads: 1 })]) {
        const task = new StudentTeacher(executor, parseConfig({ model: { depth: 1, width: 32 }, batch: 32, steps: 2, precision: 'e4m3/e4m3' }))
        task.build(0)
        for (let step = 0; step < 2; step++) { await task.prepare(step); await task.gradients(); await task.update() }
        hashes.push(await task.weightsHash())
      }
      console.log(hashes[0] === hashes[1])`)).toBe('true,true\ntrue')
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

  it('has the edge entry, which takes compiled modules, and refuses wrong ones and options that it cannot grant', () => {
    const wrong = (option: string, is: string, file: string) => expect.stringMatching(new RegExp(`^UsageError ${option}: is ${is}, must be ${file} \\w{12}: compile blockscale/${file} of this very version of the package$`))
    expect(run(`
      import { readFileSync } from 'node:fs'
      import { fileURLToPath } from 'node:url'
      import { open } from 'blockscale/edge'
      const bytes = name => readFileSync(fileURLToPath(import.meta.resolve('blockscale/kernels.wasm')).replace('kernels', name))
      const compile = name => new WebAssembly.Module(bytes(name))
      const module = compile('kernels'), empty = new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0))
      const old = bytes('kernels'); old[old.length - 1] ^= 1
      for (const options of [
        {}, { module }, { module: compile('kernels'), ...WebAssembly.validate(bytes('relaxed')) && { relaxed: compile('relaxed') } },
        { module: empty }, { module: 'x' }, { module: compile('kernels.shared') }, { module: new WebAssembly.Module(old) }, { module, relaxed: module }, { relaxed: module },
        { threads: 4 }, { threads: 'auto' }, { wide: true }, { files: '.' },
      ]) {
        try { console.log((await open(options)).threads) } catch (error) { console.log(error.name, error.message) }
      }`).split('\n')).toEqual([
      '1', '1', '1', wrong('module', 'another module', 'kernels.wasm'), expect.stringMatching(/^UsageError module: string, must be a WebAssembly.Module/), wrong('module', 'kernels.shared.wasm \\w{12}', 'kernels.wasm'),
      wrong('module', 'kernels.wasm \\w{11}.', 'kernels.wasm'), wrong('relaxed', 'kernels.wasm \\w{12}', 'relaxed.wasm'), 'UsageError relaxed: goes with module',
      expect.stringMatching(/^UsageError threads: 4; .* one: import blockscale /), expect.stringMatching(/^UsageError threads: auto; /),
      'UsageError wide: blockscale/edge has no such option, only module and relaxed', 'UsageError files: blockscale/edge has no such option, only module and relaxed',
    ])
  })

  it('has the command line', () => {
    const { bin } = JSON.parse(readFileSync(join(elsewhere, 'node_modules/blockscale/package.json'), 'utf8')) as { bin: Record<string, string> }
    expect(Object.keys(bin)).toEqual(['blockscale'])
    expect(readFileSync(join(elsewhere, 'node_modules/blockscale', bin.blockscale!), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
    expect(execFileSync(process.execPath, [join('node_modules/blockscale', bin.blockscale!), 'info'], { cwd: elsewhere, encoding: 'utf8' })).toMatch(/self-test +passed/)
  })
})
