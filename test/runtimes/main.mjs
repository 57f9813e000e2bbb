// npm run test:runtimes [-- NAME] [--json FILE]: the same bits in every runtime that is installed. Prints a line for each executor of each runtime, and what was
// skipped and why, after the package as npm installs it; the last line counts runtimes, as does FILE ({ passed, failed, skipped }).
// Looks for runtimes in test/runtimes/node_modules (npm ci --prefix test/runtimes), in the folder BLOCKSCALE_RUNTIMES, on the PATH, and for further
// versions of Node in BLOCKSCALE_NODES (paths, separated as in PATH).
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { delimiter, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { bundle, edgeWorker, folders, inWorkerd, load } from './bundle.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const expected = JSON.parse(readFileSync(join(here, 'expected.json'), 'utf8'))
const root = join(here, '../..')
const run = promisify(execFile)

/** An installed command, or undefined. */
const command = (...names) => names.flatMap(name => [...folders.flatMap(f => [join(f, 'node_modules/.bin'), join(f, 'node_modules/@deno/linux-x64-glibc')]), ...process.env.PATH.split(delimiter)].map(dir => join(dir, name))).find(existsSync)

/** Executables of Node by version: this process's, then those of BLOCKSCALE_NODES and of the folders. */
async function nodes() {
  const paths = [
    process.execPath, ...(process.env.BLOCKSCALE_NODES ?? '').split(delimiter),
    ...folders.map(f => join(f, 'node_modules')).filter(existsSync).flatMap(f => readdirSync(f).filter(n => n.startsWith('node-')).map(n => join(f, n, 'bin/node'))),
  ].filter(existsSync)
  const versions = new Map()
  for (const path of paths) {
    const version = await run(path, ['--version']).then(({ stdout }) => stdout.trim(), error => `${path}: ${error.message}`)
    if (!versions.has(version)) versions.set(version, path)
  }
  return versions
}

/** Milliseconds after which a runtime has failed: it takes some 10 s. */
const PATIENCE = 300_000
const inProcess = async (executable, ...args) => JSON.parse((await run(executable, [...args, join(here, 'process.mjs')], { cwd: root, timeout: PATIENCE })).stdout)

const workerd = async () => await edgeWorker('/') ?? 'miniflare is not installed'

/** The example worker: answers a posted tensor with the bytes that it has for it in this process. */
async function exampleWorker() {
  const { formatSafetensors, raw } = await import('../../build/edge.js')
  const { default: worker } = await import('../../examples/edge-worker/worker.js')
  const path = '/?profile=torchao-rceil&format=e2m1', request = { method: 'POST', body: formatSafetensors([['w', raw(Float32Array.from({ length: 300 }, (_, i) => Math.fround(i ** 1.5 - 700)), [3, 100])]]) }
  const got = await inWorkerd(join(root, 'examples/edge-worker/worker.js'), path, request)
  if (!got) return 'miniflare is not installed'
  const want = Buffer.from(await (await worker.fetch(new Request(`http://localhost${path}`, request))).arrayBuffer())
  if (!got.equals(want) || want.length < 300) throw new Error(`answers ${got.subarray(0, 200)}, here ${want.subarray(0, 200)}`)
  return { runtime: 'example worker', hashes: { 'in workerd': { ...expected, shown: `${got.length} bytes, as in this process` } } }
}

/** Open `url` in Chromium and do `work` with the page; or why that cannot be. */
async function browse(work, start) {
  const playwright = await load('playwright-core'), executablePath = process.env.CHROMIUM ?? command('chromium-headless-shell', 'chromium', 'google-chrome')
  if (!playwright) return 'playwright-core is not installed'
  if (!executablePath) return 'no chromium on the PATH'
  const server = await start()
  const browser = await playwright.chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] })
  try {
    const page = await browser.newPage()
    page.on('pageerror', error => console.log(String(error)))
    await page.goto(`http://localhost:${server.address().port}/`)
    return await work(page)
  } finally {
    await browser.close()
    server.close()
  }
}

/** A page in Chromium, served with or without the headers that isolate it. */
async function chromium(isolated) {
  const dir = mkdtempSync(join(tmpdir(), 'blockscale-'))
  await bundle(dir, { page: join(here, 'page.mjs'), 'web-worker': join(root, 'dist/runtime/web-worker.js') }, ['browser', 'import', 'default'])
  const server = createServer(({ url }, response) => {
    if (isolated) response.setHeader('Cross-Origin-Opener-Policy', 'same-origin').setHeader('Cross-Origin-Embedder-Policy', 'require-corp')
    response.setHeader('Content-Type', extname(url) === '.js' ? 'text/javascript' : 'text/html')
    response.end(extname(url) === '.js' ? readFileSync(join(dir, url)) : '<!doctype html><script type="module" src="/page.js"></script>')
  })
  const listening = () => new Promise(resolve => server.listen(0, 'localhost', () => resolve(server)))
  try {
    return await browse(page => page.evaluate(async () => { while (!globalThis.outcome) await new Promise(resolve => setTimeout(resolve, 10)); return globalThis.outcome }), listening)
  } finally { rmSync(dir, { recursive: true }) }
}

/** The example page: trains, and ends with the hash that the same training has in this process. */
async function examplePage() {
  const { serve } = await import('../../examples/page/serve.mjs')
  const shown = await browse(async page => {
    const status = page.locator('#status', { hasText: /done|failed/ })
    await status.waitFor({ timeout: 120_000 })
    return { text: await status.textContent() }
  }, serve)
  if (typeof shown === 'string') return shown
  const { settings } = await import('../../examples/page/settings.js')
  const [{ open }, { StudentTeacher, parseConfig }] = await Promise.all([import('../../dist/edge.js'), import('../../dist/training.js')])
  const task = new StudentTeacher(await open(), parseConfig(settings))
  task.build(0)
  for (let step = 0; step < settings.steps; step++) {
    await task.prepare(step)
    await task.gradients()
    await task.update()
  }
  const want = `done; weights ${await task.weightsHash()}`
  return { runtime: 'example page', hashes: { 'in its web worker': shown.text === want ? { ...expected, shown: shown.text } : { error: `${shown.text}, here ${want}` } } }
}

/** The package as npm packs and installs it, in an empty folder: every entry imports, the command line runs. */
async function installed() {
  const dir = mkdtempSync(join(tmpdir(), 'blockscale-')), options = { cwd: dir, timeout: PATIENCE }
  try {
    const [{ filename }] = JSON.parse((await run('npm', ['pack', '--json', '--pack-destination', dir], { cwd: root })).stdout)
    try {
      await run('npm', ['install', '--no-audit', '--no-fund', join(dir, filename)], { cwd: dir, timeout: 200_000 })
    } catch ({ stderr, killed }) {
      if (killed) return 'npm install: not done within 200 s'
      if (/ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONN|EHOSTUNREACH|ENETUNREACH|ERR_SOCKET/.test(stderr)) return `npm install: no network (${stderr.match(/(?<=code )\S+/)})`
      throw new Error(stderr)
    }
    const imports = ['', '/edge', '/web', '/training'].map(entry => `await import('blockscale${entry}')`).join()
    const { stdout: entries } = await run(process.execPath, ['--input-type=module', '-e', `console.log([${imports}].map(e => typeof (e.open ?? e.parseConfig)).join())`], options)
    const { selfTest } = JSON.parse((await run(join(dir, 'node_modules/.bin/blockscale'), ['info', '--json'], options)).stdout)
    if (entries.trim() !== 'function,function,function,function' || !/^passed/.test(selfTest)) throw new Error(`entries: ${entries}; self-test: ${selfTest}`)
    return { runtime: filename, hashes: { installed: { ...expected, shown: 'every entry imports; self-test ' + selfTest } } }
  } finally { rmSync(dir, { recursive: true }) }
}

const { values: { json }, positionals: [only = ''] } = parseArgs({ allowPositionals: true, options: { json: { type: 'string' } } })
const deno = command('deno'), bun = command('bun')
const subjects = [
  ['packed package', installed],
  ...[...await nodes()].map(([version, path]) => [`node ${version}`, () => inProcess(path)]),
  ['deno', () => deno ? inProcess(deno, 'run', '-A') : 'not installed'],
  ['bun', () => bun ? inProcess(bun) : 'not installed'],
  ['workerd', workerd],
  ['workerd, example worker', exampleWorker],
  ['chromium', () => chromium(true)],
  ['chromium, page not isolated', () => chromium(false)],
  ['chromium, example page', examplePage],
]

/** What `subject` gives, or its error in the place of hashes. */
async function outcomeOf(name, subject) {
  let timer
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not done within ${PATIENCE / 1000} s`)), PATIENCE) })
  try { return await Promise.race([subject(), late]) } catch (error) { return { runtime: name, hashes: { '': { error: error.stderr || error.stack } } } } finally { clearTimeout(timer) }
}

const counts = { passed: 0, failed: 0, skipped: 0 }
for (const [name, subject] of subjects.filter(([name]) => name.includes(only))) {
  const outcome = await outcomeOf(name, subject)
  if (typeof outcome === 'string') { console.log(`skipped ${name}: ${outcome}`); counts.skipped++; continue }
  let right = true
  for (const [executor, hashes] of Object.entries(outcome.hashes)) {
    const refused = outcome.isolated === false && executor.startsWith('web')
    const same = refused ? /^RunError: threads need shared memory/.test(hashes.error) : hashes.all === expected.all
    right &&= same
    console.log(`${same ? 'ok     ' : 'WRONG  '} ${outcome.runtime}, ${executor}: ${hashes.error ?? hashes.shown ?? hashes.all}`)
    if (!same && !hashes.error) console.log(`        other bits in: ${Object.keys(expected).filter(part => hashes[part] !== expected[part]).join(', ')}`)
  }
  counts[right ? 'passed' : 'failed']++
  if (outcome.coldStart !== undefined) console.log(`        ${outcome.runtime}: edge entry, import to first quantized tensor: ${outcome.coldStart.toFixed(0)} ms`)
}
console.log(`runtimes: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
if (json) writeFileSync(json, JSON.stringify(counts))
process.exit(counts.failed ? 1 : 0)
