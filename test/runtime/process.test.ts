// The pool in processes of its own: they end by themselves, whatever happened to their workers, on every Node there is.
import { spawn } from 'node:child_process'
import { delimiter } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'

const script = fileURLToPath(new URL('pool-process.mjs', import.meta.url))

/** Run the script to its end: exit code and last line of output. `preload`: also in its workers, which then go wrong as `mode` says. */
function run(mode: string, { node = process.execPath, preload = false, onLine = (_line: string, _kill: (signal: NodeJS.Signals) => void) => {} } = {}) {
  return new Promise<{ code: number | null, last: any, seconds: number }>((resolve, reject) => {
    const began = performance.now()
    const child = spawn(node, [...(preload ? ['--import', pathToFileURL(script).href] : []), script], {
      stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NODE_OPTIONS: '', MODE: mode },
    })
    let out = ''
    child.stdout.on('data', chunk => { out += chunk; onLine(out, signal => child.kill(signal)) })
    child.on('error', reject)
    child.on('exit', code => resolve({ code, last: JSON.parse(out.trim().split('\n').at(-1) || 'null'), seconds: (performance.now() - began) / 1000 }))
  })
}

describe('a process with a pool', () => {
  it('ends by itself when all went well', async () => {
    const { code, last } = await run('trace')
    expect({ code, steps: last.steps }).toEqual({ code: 0, steps: 0 })
  })

  it('ends with a RunError when a worker calls process.exit in the middle of a program', async () => {
    const { code, last, seconds } = await run('exit', { preload: true })
    expect({ code, ...last }).toEqual({ code: 1, name: 'RunError', message: expect.stringMatching(/^thread [12] died: worker exited with code: 7/) })
    expect(seconds).toBeLessThan(20)
  })

  it('ends with a RunError when a worker throws', async () => {
    const { code, last } = await run('throw', { preload: true })
    expect({ code, ...last }).toEqual({ code: 1, name: 'RunError', message: expect.stringMatching(/failed on thread [12]: no clock$/) })
  })

  it('stops between two steps on Ctrl-C', async () => {
    let sent = false
    const { code, last } = await run('sigint', { onLine: (out, kill) => { if (!sent && out.includes('running')) { sent = true; setTimeout(() => kill('SIGINT'), 300) } } })
    expect(code).toBe(0)
    expect(last.steps).toBeGreaterThan(0)
  })
})

describe('other engines', () => {
  const nodes = process.env.BLOCKSCALE_NODES?.split(delimiter).filter(Boolean) ?? []
  it.skipIf(!nodes.length)(`the same bits on ${nodes.length || 'no'} other Node (set BLOCKSCALE_NODES to paths of node executables)`, async () => {
    const here = await run('hash')
    for (const node of nodes) expect(await run('hash', { node })).toMatchObject({ code: 0, last: here.last })
  })
})
