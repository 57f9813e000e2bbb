// The live page of a run or a sweep: node:http, server-sent events, uPlot; one page with everything inside, asking only this server for data.
// It reads files and writes none, so it cannot disturb a run; and it keeps nothing but what the files hold: every connection starts from the first row, so
// page, server and run may each stop and come back. Bound to the loopback interface unless asked otherwise; a request that names another host is refused,
// so that no web site can read it through a name that it points here.
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { basename, join, resolve } from 'node:path'
import { UsageError } from '../errors.ts'
import { SweepFolder } from '../experiments/manifest.ts'
import { JsonLinesTail } from '../io/tail.ts'
import type { RunConfig } from '../train/config.ts'
import { scheduledPrecision } from '../train/config-parts.ts'
import { readRunFile } from '../train/run-directory.ts'
import type { MetricsRow } from '../train/types.ts'
import { html } from './html.ts'
import { liveCharts, livePoints } from './live-points.ts'
import { stylesheet } from './style.ts'

/** Milliseconds between two looks at the files. */
const INTERVAL = 500

/** Sent as the event `points`: lines to extend, by chart and series. `reset`: everything shown is void. */
export interface PointsEvent { reset: boolean, charts: Record<string, Record<string, { color: string, steps: number[], values: (number | null)[] }>> }
/** Sent as the event `state`, when it changed. */
export interface StateEvent { name: string, state: 'waiting' | 'running' | 'stopped' | 'finished', step: number, steps: number | null, secondsPerStep: number | null }
/** Sent as the event `sweep`, when it changed: one entry per run. */
export type SweepEvent = { index: number, name: string, hash: string, state: string, step: number | null, loss: number | null }[]

export interface LiveServer { readonly url: string, close(): Promise<void> }

/** Serve `source`, the folder of a run or of a sweep, which need not exist yet. `port` 0: any free one. Throws UsageError if the port is taken. */
export async function serveLive(source: string, { port = 0, host = '127.0.0.1' } = {}): Promise<LiveServer> {
  const folder = resolve(source)
  let opened = findSweep(folder)
  const loopback = host === '127.0.0.1' || host === '::1' || host === 'localhost'
  const server: Server = createServer((request, response) => {
    const refusal = refuse(request, loopback)
    if (refusal) { response.writeHead(refusal.code).end(`${refusal.reason}\n`); return }
    const url = new URL(request.url ?? '/', 'http://localhost'), sweep = opened ??= findSweep(folder)
    if (url.pathname === '/') response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }).end(livePage(basename(folder), sweep !== null))
    else if (url.pathname === '/events') {
      const hash = url.searchParams.get('run')
      const entry = sweep?.entries.find(e => e.hash === hash)
      if (sweep && hash === null) stream(response, sweepSource(sweep))
      else if (sweep && !entry) response.writeHead(404).end('no such run\n')
      else stream(response, sweep ? runSource(sweep.runFolder(entry!), entry!.name) : runSource(folder, basename(folder)))
    } else response.writeHead(404).end('not found\n')
  })
  await new Promise<void>((ready, fail) => {
    server.once('error', (error: NodeJS.ErrnoException) => fail(error.code === 'EADDRINUSE' ? new UsageError(`--port ${port}: in use`) : new UsageError(`--host ${host} --port ${port}: ${error.message}`)))
    server.listen(port, host, ready)
  })
  const { port: actual } = server.address() as AddressInfo
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${actual}/`,
    close: () => new Promise(done => { server.close(() => done()); server.closeAllConnections() }),
  }
}

const findSweep = (folder: string): SweepFolder | null => existsSync(join(folder, 'sweep.json')) ? SweepFolder.open(folder) : null

function refuse(request: IncomingMessage, loopback: boolean): { code: number, reason: string } | null {
  if (request.method !== 'GET') return { code: 405, reason: 'only GET' }
  const name = (request.headers.host ?? '').replace(/:\d+$/, '')
  return loopback && !['localhost', '127.0.0.1', '[::1]'].includes(name) ? { code: 403, reason: 'this page is served to the local machine only' } : null
}

type Send = (event: string, data: unknown) => void
/** Looks for news and sends it; returns whether there may be more at once. */
type Source = (send: Send) => boolean

/** Server-sent events from `source` until the connection ends. A failed look is sent as the event `problem`, and the next look comes all the same. */
function stream(response: ServerResponse, source: Source): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
  response.write('retry: 1000\n\n')
  const send: Send = (event, data) => { response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`) }
  let timer: NodeJS.Timeout
  const look = () => {
    let more = false
    try { more = source(send) } catch (error) { send('problem', (error as Error).message) }
    timer = setTimeout(look, more ? 0 : INTERVAL)
  }
  const beat = setInterval(() => response.write(':\n\n'), 15_000)
  response.on('close', () => { clearTimeout(timer); clearInterval(beat) })
  look()
}

/** Rows per message, so that a long history arrives in parts and the page stays responsive. */
const BYTES_PER_LOOK = 2 << 20

function runSource(folder: string, name: string): Source {
  const tail = new JsonLinesTail<MetricsRow>(join(folder, 'metrics.jsonl'))
  let config: RunConfig | null = null, first = true, sent = '', step = 0
  const durations: number[] = []
  return send => {
    // What was awaited turns out to be a sweep: the page loads itself anew.
    if (!config && existsSync(join(folder, 'sweep.json'))) send('reload', null)
    if (!config && existsSync(join(folder, 'config.json'))) {
      const { config: given, parent } = readRunFile(folder)
      config = { ...given, precision: scheduledPrecision(given, parent?.step ?? 0) }
    }
    const { rows, restarted } = tail.read(BYTES_PER_LOOK)
    if (restarted) { step = 0; durations.length = 0 }
    const event: PointsEvent = { reset: first || restarted, charts: {} }
    for (const row of rows) {
      step = Math.max(step, row.step)
      if (row.kind === 'step') { durations.push(row.seconds); if (durations.length > 200) durations.shift() }
      for (const { chart, series, color, step: at, value } of livePoints(row, config)) {
        const line = (event.charts[chart] ??= {})[series] ??= { color, steps: [], values: [] }
        line.steps.push(at)
        line.values.push(value)
      }
    }
    if (rows.length || event.reset) send('points', event)
    first = false
    const arms = config?.baseline ? 2 : 1
    const state: StateEvent = {
      name, step, steps: config?.steps ?? null, secondsPerStep: durations.length ? arms * durations.reduce((a, b) => a + b, 0) / durations.length : null,
      state: existsSync(join(folder, 'summary.json')) ? 'finished' : existsSync(join(folder, 'lock')) ? 'running' : config ? 'stopped' : 'waiting',
    }
    // The pace flickers; a new one alone is not worth a message.
    const key = JSON.stringify({ ...state, secondsPerStep: null })
    if (key !== sent) { send('state', state); sent = key }
    return rows.length > 0
  }
}

function sweepSource(sweep: SweepFolder): Source {
  let sent = ''
  return send => {
    const runs: SweepEvent = sweep.entries.map(entry => {
      const last = lastStep(join(sweep.runFolder(entry), 'metrics.jsonl'))
      return { index: entry.index, name: entry.name, hash: entry.hash, state: sweep.state(entry, Date.now).state, step: last?.step ?? null, loss: last?.loss ?? null }
    })
    const text = JSON.stringify(runs)
    if (text !== sent) { send('sweep', runs); sent = text }
    return false
  }
}

/** The last training step of the studied arm that the end of a metrics file holds. */
function lastStep(file: string): { step: number, loss: number | null } | null {
  let handle
  try { handle = openSync(file, 'r') } catch { return null }
  try {
    const { size } = fstatSync(handle), buffer = Buffer.alloc(Math.min(size, 1 << 16))
    const read = readSync(handle, buffer, 0, buffer.length, size - buffer.length)
    for (const line of buffer.subarray(0, read).toString('utf8').split('\n').slice(0, -1).reverse()) {
      if (!line.startsWith('{"kind":"step"')) continue
      try {
        const row = JSON.parse(line) as MetricsRow
        if (row.kind === 'step' && row.arm === 'studied') return { step: row.step, loss: row.loss }
      } catch { /* cut off at the buffer's start */ }
    }
    return null
  } finally {
    closeSync(handle)
  }
}

function livePage(name: string, isSweep: boolean): string {
  const package_ = createRequire(import.meta.url)
  const uplot = readFileSync(package_.resolve('uplot/dist/uPlot.iife.min.js'), 'utf8')
  const css = readFileSync(package_.resolve('uplot/dist/uPlot.min.css'), 'utf8')
  const client = readFileSync(new URL('./live-client.js', import.meta.url), 'utf8')
  const script = (text: string) => html`<script type="module">${html.raw(text.replaceAll('</script', '<\\/script'))}</script>`
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:">
<title>${name}</title>
<style>${html.raw(stylesheet)}
${html.raw(css)}
${html.raw(liveStyle)}</style>
</head>
<body data-sweep="${isSweep ? 'yes' : 'no'}" data-charts="${JSON.stringify(liveCharts)}">
<main>
<h1>${name}</h1>
<p class="lead" role="status" aria-live="polite" id="status">connecting</p>
<progress id="progress" value="0" max="1"></progress>
${isSweep ? html`<div class="scroll"><table id="runs"><thead><tr><th>run</th><th>state</th><th class="number">step</th><th class="number">loss</th></tr></thead><tbody></tbody></table></div>` : ''}
<div id="charts"></div>
</main>
<script>${html.raw(uplot)}</script>
${script(client)}
</body>
</html>
`.text
}

const liveStyle = `
main { max-width: 1280px; }
#progress { width: 100%; height: 6px; accent-color: var(--studied); }
#charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 16px; margin-top: 20px; }
#charts figure { margin: 0; min-width: 0; overflow: hidden; }
#runs tbody tr { cursor: pointer; }
#runs tbody tr[aria-current=true] { background: var(--grid); }
.u-legend { font-size: 0.8rem; text-align: left; color: var(--soft); }
.u-legend th, .u-legend td { border: 0; padding: 0 4px 0 0; font-weight: 400; }
`

/** Is there something here that can be watched? A run's folder that does not exist yet can: it will. */
export const isWatchable = (path: string): boolean => !existsSync(path) || statSync(path).isDirectory()
