// The program as a user meets it when things go wrong: real processes, real signals, real limits.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { listCheckpoints, readMetrics } from '../../src/train/run-directory.ts'

const main = resolve('dist/cli/main.js')
const folder = mkdtempSync(join(tmpdir(), 'blockscale-process-'))

interface Ended { code: number | null, out: string, err: string }
/** Run the program in `folder`; `during` is called with each part of its error stream. */
function blockscale(args: string[], { node = [], during }: { node?: string[], during?: (text: string, kill: (signal: NodeJS.Signals) => void) => void } = {}): Promise<Ended> {
  const child = spawn(process.execPath, [...node, main, ...args], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended: Ended = { code: null, out: '', err: '' }
  child.stdout.on('data', text => { ended.out += text })
  child.stderr.on('data', text => { ended.err += text; during?.(String(text), signal => { child.kill(signal) }) })
  return new Promise(done => { child.on('close', code => { done({ ...ended, code }) }) })
}
const only = (out: string) => join(folder, out, readdirSync(join(folder, out))[0]!)
const weights = ({ out }: Ended) => /^weights: ([0-9a-f]{64})$/m.exec(out)![1]
const losses = (run: string) => readMetrics(run).flatMap(r => r.kind === 'step' ? [[r.arm, r.step, r.loss]] : [])

test('Ctrl-C ends a run with a checkpoint and exit code 130; --resume continues bit for bit; meanwhile the directory is refused to others', async () => {
  const whole = await blockscale(['train', 'tiny', '--set', 'steps=200', '--out', 'whole', '--quiet', '--no-report'])
  expect(whole).toMatchObject({ code: 0, err: '' })
  let second: Promise<Ended> | undefined
  const first = await blockscale(['train', 'tiny', '--set', 'steps=200', '--out', 'cut', '--threads', '2', '--no-report'], {
    during: (text, kill) => {
      if (second || !text.startsWith('step ')) return
      second = blockscale(['train', 'tiny', '--set', 'steps=200', '--out', 'cut', '--quiet'])
      kill('SIGINT')
    },
  })
  const run = only('cut'), [step] = listCheckpoints(run).slice(-1)
  expect(first).toMatchObject({ code: 130, err: expect.stringMatching(new RegExp(`stopped after ${step} of 200 steps; continue with: (npx )?blockscale train \\S+ --resume\n$`)) })
  expect(step).toBeLessThan(200)
  expect(await second).toMatchObject({ code: 2, out: '', err: expect.stringMatching(/^blockscale: .*(in use by process \d+|holds this run already).*\n$/) })
  const rest = await blockscale(['train', run, '--resume', '--quiet', '--no-report'])
  expect(rest.code).toBe(0)
  expect(weights(rest)).toBe(weights(whole))
  expect(losses(run)).toEqual(losses(only('whole')))
})

test('a worker that dies ends the run: one line, exit code 1, no hang', async () => {
  const preload = join(folder, 'kill.mjs')
  writeFileSync(preload, `process.on('worker', worker => { setTimeout(() => { worker.terminate() }, 1500) })\n`)
  const { code, err } = await blockscale(['train', 'tiny', '--set', 'steps=1000000', '--threads', '2', '--quiet', '--no-report', '--out', 'dead'], { node: ['--import', preload] })
  expect({ code, err }).toEqual({ code: 1, err: 'blockscale: thread 1 died: worker exited with code: 1\n' })
})

test('a file that may not grow further (as on a full disk): one line, exit code 1, what was written before is intact', async () => {
  const shell = (blocks: number) => spawnSync('bash', ['-c', `ulimit -f ${blocks} && exec "$0" "$@"`, process.execPath, main, 'train', 'tiny', '--quiet', '--no-report', '--out', 'full'], { cwd: folder, encoding: 'utf8' })
  const { status, stderr } = shell(200)
  expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringMatching(/^blockscale: cannot write \S+step-00000020\.safetensors: .*\n$/) })
  const run = only('full')
  expect(readdirSync(join(run, 'checkpoints'))).toEqual([])
  expect(readMetrics(run).length).toBeGreaterThan(20)
  const again = await blockscale(['train', run, '--resume', '--quiet', '--no-report'])
  expect(again.code).toBe(0)
  const steps = losses(run)
  expect(new Set(steps.map(String)).size).toBe(steps.length)
})

test('a run too large for memory says how much it needs, and leaves nothing', async () => {
  const { code, err } = await blockscale(['train', 'tiny', '--set', 'model.width=40000', '--out', 'large', '--quiet'])
  expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/^blockscale: out of memory: at least \d{5} MiB of WebAssembly memory needed, \d+ MiB had so far, and the engine gives no more \(4096 MiB at most\): .*\n$/) })
  expect(readdirSync(join(folder, 'large'))).toEqual([])
  expect(await blockscale(['train', 'tiny', '--threads', '100000', '--out', 'large', '--quiet'])).toMatchObject({ code: 1, err: expect.stringMatching(/^blockscale: out of memory: 100000 threads need 800001 MiB .*\n$/) })
})

test('a damaged checkpoint is refused, and the run stays as it is', async () => {
  await blockscale(['train', 'tiny', '--set', 'steps=30', '--out', 'damaged', '--quiet', '--no-report'])
  const run = only('damaged'), file = join(run, 'checkpoints', 'step-00000030.safetensors')
  rmSync(join(run, 'summary.json'))
  writeFileSync(file, readFileSync(file).subarray(0, -7))
  const before = readFileSync(join(run, 'metrics.jsonl'), 'utf8')
  expect(await blockscale(['train', run, '--resume', '--quiet'])).toMatchObject({ code: 2, out: '', err: expect.stringMatching(/^blockscale: \S+step-00000030\.safetensors: .*\n$/) })
  expect(readFileSync(join(run, 'metrics.jsonl'), 'utf8')).toBe(before)
  expect(existsSync(join(run, 'config.json'))).toBe(true)
})
