// The live page in a real browser: headless Chromium, driven by playwright-core. The server runs as users run it, in a process of its own.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { chromium, type Browser, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { manifest, SweepFolder } from '../../src/experiments/manifest.ts'
import { parseSweep } from '../../src/experiments/sweep.ts'
import { livePoints } from '../../src/report/live-points.ts'
import { configHash, loadConfig } from '../../src/train/config-file.ts'
import type { MetricsRow } from '../../src/train/types.ts'

const config = loadConfig('tiny', ['steps=1000'])
const loss = (step: number, value: number | null = 1 / step): MetricsRow => ({ kind: 'step', arm: 'studied', step, loss: value, lr: 1e-3, seconds: 0.01 })
const lines = (...rows: MetricsRow[]) => rows.map(r => `${JSON.stringify(r)}\n`).join('')
const steps = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => loss(from + i))

let folder: string, run: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'live-'))
  run = join(folder, 'run')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function writeRun(rows: MetricsRow[]): void {
  mkdirSync(run, { recursive: true })
  writeFileSync(join(run, 'config.json'), JSON.stringify({ format: 1, version: '0', hash: configHash(config), config }))
  writeFileSync(join(run, 'lock'), '{}')
  writeFileSync(join(run, 'metrics.jsonl'), lines(...rows))
}

const servers: ChildProcess[] = []
async function watch(source: string, port = '0'): Promise<{ url: string, stop: () => Promise<void> }> {
  const server = spawn(process.execPath, [resolve('dist/cli/main.js'), 'watch', source, '--port', port], { stdio: ['ignore', 'pipe', 'inherit'] })
  servers.push(server)
  const url = String((await once(server.stdout!, 'data'))[0]).trim()
  return { url, stop: async () => { const exit = once(server, 'exit'); server.kill('SIGTERM'); await exit } }
}
afterEach(() => { for (const server of servers.splice(0)) server.kill('SIGKILL') })

it('a row becomes points under the names of the run\'s schemes', () => {
  expect(livePoints(loss(3, 0.5), config)).toEqual([{ chart: 'loss', series: 'e4m3/e4m3', color: 'studied', step: 3, value: 0.5 }])
  expect(livePoints({ kind: 'validation', arm: 'baseline', step: 3, loss: null }, config)).toMatchObject([{ series: 'fp32, validation', value: null }])
  expect(livePoints({ kind: 'event', step: 1, event: 'finished', detail: '' }, null)).toEqual([])
})

describe('server', () => {
  const get = (url: string, headers = {}, method = 'GET') => new Promise<number>((done, fail) => request(url, { headers, method }, r => { r.resume(); done(r.statusCode!) }).on('error', fail).end())
  it('answers this machine only, under its own name only', async () => {
    writeRun(steps(1, 3))
    const { url, stop } = await watch(run)
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/)
    expect(await get(url)).toBe(200)
    expect(await get(url, { host: 'attacker.example' })).toBe(403)
    expect(await get(url, {}, 'POST')).toBe(405)
    expect(await get(`${url}metrics.jsonl`)).toBe(404)
    expect(await get(`${url}events?run=..%2F..`)).toBe(200) // a run's page knows one run, whatever is asked
    await stop()
  })
})

const executablePath = '/usr/bin/chromium'
const why = existsSync(executablePath) ? '' : ` (skipped: no Chromium at ${executablePath})`
describe.skipIf(why !== '')(`page in headless Chromium${why}`, () => {
  let browser: Browser, page: Page
  const errors: string[] = []
  beforeAll(async () => { browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] }) })
  afterAll(() => browser?.close())
  beforeEach(async () => {
    errors.length = 0
    page = await browser.newPage()
    page.setDefaultTimeout(90_000) // only to end what hangs
    page.on('pageerror', e => errors.push(e.message))
  })
  afterEach(async () => {
    await page.close()
    expect(errors).toEqual([])
  })
  const atStep = (step: number) => page.waitForSelector(`#status[data-step="${step}"]`, { timeout: 90_000 })
  /** How many pixels of a chart have been drawn on. */
  const ink = (chart: string) => page.evaluate(id => {
    const canvas = document.querySelector<HTMLCanvasElement>(`#chart-${id} canvas`)!
    const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height)
    return data.filter((v, i) => i % 4 === 3 && v > 0).length
  }, chart)

  it('draws what is there, then what comes, and leaves the run as it is', async () => {
    writeRun([...steps(1, 100), { kind: 'overflow', arm: 'studied', step: 100, tensors: {}, totals: { weights: 0.01, gamma: 0.5, hidden: 0.01, outputs: 0 } }])
    const look = () => readdirSync(run).map(f => [f, statSync(join(run, f)).mtimeMs, readFileSync(join(run, f), 'utf8')])
    const before = look()
    const { url, stop } = await watch(run)
    await page.goto(url)
    await atStep(100)
    expect(await page.textContent('#status')).toMatch(/^running, step 100 of 1000/)
    expect(await page.$$eval('#charts figure', f => f.map(x => x.id))).toEqual(['chart-loss', 'chart-overflow'])
    const drawn = await ink('loss')
    expect(drawn).toBeGreaterThan(500)
    expect(await page.textContent('#chart-overflow .u-legend')).toContain('gamma, e4m3/e4m3')
    await stop()
    expect(look()).toEqual(before)
  })

  it('streams, survives its server, a torn line and a run that goes back to a checkpoint', async () => {
    const first = await watch(run) // before the run exists
    await page.goto(first.url)
    await page.waitForFunction(() => document.getElementById('status')!.textContent!.startsWith('waiting'))
    writeRun(steps(1, 50))
    await atStep(50)
    appendFileSync(join(run, 'metrics.jsonl'), lines(...steps(51, 60)) + '{"kind":"st')
    await atStep(60)
    await first.stop()
    await page.waitForFunction(() => document.getElementById('status')!.textContent === 'connection lost, trying again')
    appendFileSync(join(run, 'metrics.jsonl'), lines(loss(61)).slice('{"kind":"st'.length))
    const second = await watch(run, new URL(first.url).port)
    await atStep(61)
    // Killed, and resumed from step 20: its file is written anew, shorter.
    writeFileSync(join(run, 'new'), lines(...steps(1, 20)))
    renameSync(join(run, 'new'), join(run, 'metrics.jsonl'))
    await atStep(20)
    appendFileSync(join(run, 'metrics.jsonl'), lines(loss(21, null)))
    rmSync(join(run, 'lock'))
    writeFileSync(join(run, 'summary.json'), '{}')
    await page.waitForFunction(() => document.getElementById('status')!.textContent!.startsWith('finished, step 21'))
    await second.stop()
  })

  it('says that a run is of another version, and goes on when one of this version takes its place', async () => {
    writeRun(steps(1, 5))
    const good = readFileSync(join(run, 'config.json'), 'utf8')
    writeFileSync(join(run, 'config.json'), good.replace('"format":1', '"format":2'))
    const { url, stop } = await watch(run)
    await page.goto(url)
    await page.waitForFunction(() => /was written by blockscale 0 \(layout 2\)/.test(document.getElementById('status')!.textContent!))
    writeFileSync(join(run, 'new'), good)
    renameSync(join(run, 'new'), join(run, 'config.json'))
    await atStep(5)
    await stop()
  })

  it('follows a sweep and the run chosen in it', async () => {
    const text = 'extends: tiny\ngrid: { optimizer.lr: [1e-3, 1e-2] }'
    const { url, stop } = await watch(join(folder, 'sweep')) // before the sweep exists
    await page.goto(url)
    await page.waitForFunction(() => document.getElementById('status')!.textContent!.startsWith('waiting'))
    const sweep = SweepFolder.create(join(folder, 'sweep'), text, manifest(parseSweep(text, 's')))
    run = sweep.runFolder(sweep.entry(1))
    writeRun(steps(1, 30))
    await page.waitForFunction(() => document.querySelectorAll('#runs tbody tr')[1]?.textContent!.includes('30'))
    expect(await page.$$eval('#runs tbody tr', rows => rows.map(r => r.textContent))).toEqual(['optimizer.lr=0.001pending––', `optimizer.lr=0.01pending30${(1 / 30).toPrecision(4)}`])
    await page.click(`#runs tr[data-hash="${sweep.entry(1).hash}"]`)
    await atStep(30)
    expect(await page.textContent('#status')).toMatch(/^optimizer\.lr=0\.01: running, step 30/)
    await stop()
  })
})
