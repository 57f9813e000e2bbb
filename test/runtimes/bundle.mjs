// Bundles for runtimes without a file system, and workerd, which runs one. Packages are looked for in test/runtimes/node_modules and the folder BLOCKSCALE_RUNTIMES.
import { copyFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const here = fileURLToPath(new URL('.', import.meta.url)), root = join(here, '../..')
export const folders = [here, process.env.BLOCKSCALE_RUNTIMES].filter(Boolean)

/** An installed package, or undefined. */
export async function load(name) {
  for (const folder of folders) {
    const require = createRequire(join(folder, 'x.js'))
    try { return require(name) } catch (error) { if (error.code !== 'MODULE_NOT_FOUND') throw error }
  }
}

/** Bundle `inputs` for a runtime with these export conditions into `dir`; .wasm files are left beside. */
export async function bundle(dir, inputs, conditionNames) {
  const wasm = {
    name: 'wasm',
    resolveId(id) {
      if (!id.endsWith('.wasm')) return
      copyFileSync(join(root, 'build', basename(id)), join(dir, basename(id)))
      return { id: `./${basename(id)}`, external: true }
    },
  }
  const build = await rolldown({ input: inputs, cwd: root, platform: 'neutral', resolve: { conditionNames }, plugins: [wasm], logLevel: 'silent' })
  await build.write({ dir, entryFileNames: '[name].js', chunkFileNames: '[name].js' })
  await build.close()
}

/** What `script`, a worker, answers to a request, as bytes, in an isolate of its own; undefined where miniflare is not installed. */
export async function inWorkerd(script, path, request = {}) {
  const miniflare = await load('miniflare')
  if (!miniflare) return
  const dir = mkdtempSync(join(tmpdir(), 'blockscale-'))
  try {
    await bundle(dir, { worker: script }, ['workerd', 'worker', 'import', 'default'])
    const modules = readdirSync(dir).sort((a, b) => (b === 'worker.js') - (a === 'worker.js')).map(f => ({ type: f.endsWith('.js') ? 'ESModule' : 'CompiledWasm', path: join(dir, f) }))
    const worker = new miniflare.Miniflare({ modules, modulesRoot: dir, compatibilityDate: '2025-01-01' })
    try { return Buffer.from(await (await worker.dispatchFetch(`http://localhost${path}`, request)).arrayBuffer()) } finally { await worker.dispose() }
  } finally { rmSync(dir, { recursive: true }) }
}

/** What edge-worker.mjs answers to `path`; undefined where miniflare is not installed. */
export async function edgeWorker(path) {
  const answer = (await inWorkerd(join(here, 'edge-worker.mjs'), path))?.toString()
  try { return answer && JSON.parse(answer) } catch { throw new Error(answer) }
}
