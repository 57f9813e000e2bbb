// What the train command does around the trainer: progress, interruption, report, exit code. The trainer here writes a synthetic run.
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { carryOut, runName } from '../../src/cli/train.ts'
import { RunError, UsageError } from '../../src/errors.ts'
import { loadConfig } from '../../src/train/config-file.ts'
import { readSummary } from '../../src/train/run-directory.ts'
import type { RunSummary, Train, TrainOptions } from '../../src/train/types.ts'
import { writeSyntheticRun } from '../report/synthetic.ts'

afterEach(() => { vi.restoreAllMocks() })

const config = loadConfig('tiny')
async function carry(train: Train, values: Parameters<typeof carryOut>[2] = {}, options: Partial<TrainOptions> = {}) {
  const written = { out: '', err: '' }
  vi.spyOn(process.stdout, 'write').mockImplementation(text => { written.out += text; return true })
  vi.spyOn(process.stderr, 'write').mockImplementation(text => { written.err += text; return true })
  const directory = join(mkdtempSync(join(tmpdir(), 'blockscale-train-')), 'run')
  let code: number | Error
  try { code = await carryOut(config, { directory, threads: 2, ...options }, values, train) } catch (error) { code = error as Error }
  vi.restoreAllMocks()
  return { code, directory, report: existsSync(join(directory, 'report.html')), ...written }
}

/** Writes a run as the trainer does, with progress every step. */
const trainer: Train = async (config, { directory, onProgress }) => {
  writeSyntheticRun(directory, { base: config })
  for (let step = 1; step <= config.steps; step++) onProgress?.({ step, steps: config.steps, loss: { baseline: 0.1, studied: 0.2 }, gflops: 10, eta: config.steps - step })
  return { ...readSummary(directory)!, loss: { baseline: 0.01, studied: 0.011 } }
}

test('a finished run: exit code 0, loss, weights and report on the output, progress on the error stream', async () => {
  const { code, out, err, directory, report } = await carry(trainer)
  expect(code).toBe(0)
  expect(report).toBe(true)
  expect(out).toMatch(new RegExp(`^loss: baseline 1\\.000e-2, studied 1\\.100e-2\\nweights: [0-9a-f]{64}\\nreport: ${directory}/report\\.html\\n$`))
  expect(err).toMatch(/^step  1\/60 {2}fp32 /)
  expect(err).toMatch(/step 60\/60 [^\n]*\n$/)
})

test('quiet, json and no-report', async () => {
  expect((await carry(trainer, { quiet: true })).err).toBe('')
  const { out, report } = await carry(trainer, { json: true, 'no-report': true })
  const lines = out.trimEnd().split('\n').map(line => JSON.parse(line))
  expect(lines.slice(0, -1).map(l => l.step)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1))
  expect(lines.at(-1)).toMatchObject({ kind: 'summary', finished: true, report: null })
  expect(report).toBe(false)
})

test('Ctrl-C aborts the signal; the run ends with exit code 130 and says how to go on', async () => {
  const { code, err } = await carry(async (config, options): Promise<RunSummary> => {
    writeSyntheticRun(options.directory, { base: config })
    process.emit('SIGINT')
    expect(options.signal!.aborted).toBe(true)
    return { ...readSummary(options.directory)!, steps: 17, finished: false }
  })
  expect(code).toBe(130)
  expect(err).toMatch(/ending after this step.*\nstopped after 17 of 60 steps; continue with: (npx )?blockscale train .*run --resume\n/s)
  expect(process.listenerCount('SIGINT')).toBe(0)
})

test('a run that diverged still gets its report; the error goes on', async () => {
  const { code, report } = await carry(async (config, options) => {
    writeSyntheticRun(options.directory, { base: config, diverge: 20 })
    throw new RunError('the studied arm\'s loss is NaN at step 31: the run diverged')
  })
  expect(code).toMatchObject({ name: 'RunError', message: expect.stringMatching(/diverged/) })
  expect(report).toBe(true)
})

test('a usage error writes nothing', async () => {
  const { code, directory } = await carry(() => Promise.reject(new UsageError('run directory x is in use by process 7')))
  expect(code).toMatchObject({ name: 'UsageError' })
  expect(existsSync(directory)).toBe(false)
})

test('the directory is named by source and hash', () => {
  expect(runName('my run', config)).toMatch(/^my-run-[0-9a-f]{12}$/)
  expect(runName('x', loadConfig('tiny', ['seed=2']))).not.toBe(runName('x', config))
})
