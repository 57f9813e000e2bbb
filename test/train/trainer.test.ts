import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { RunError, UsageError } from '../../src/errors.ts'
import { configHash, loadConfig } from '../../src/train/config-file.ts'
import { checkpointFile, listCheckpoints, readMetrics, readSummary } from '../../src/train/run-directory.ts'
import { train } from '../../src/train/trainer.ts'
import type { TrainOptions } from '../../src/train/types.ts'

const root = mkdtempSync(join(tmpdir(), 'blockscale-trainer-'))
let runs = 0
const fresh = () => join(root, `run-${runs++}`)
const tiny = (...set: string[]) => loadConfig('tiny', set)
const run = (config = tiny(), options: Partial<TrainOptions> = {}) => train(config, { directory: fresh(), threads: 1, ...options })
/** Metrics without what may differ between equal runs: wall time, and where files lie. */
const measured = (directory: string) => readMetrics(directory).map(row => 'seconds' in row ? { ...row, seconds: 0 } : row).filter(row => row.kind !== 'event')

/** The fingerprint of the preset `tiny`: any change of a bit anywhere in training shows here. */
const TINY_HASH = 'ee0976a3054b096d79274e8ee4a391bc81d286dafe8ef615e08dce3538648065'

describe('a run', () => {
  it('is the same for every number of threads, bit for bit, and equals the pinned hash', async () => {
    const summaries = [await run(), await run(tiny(), { threads: 2 }), await run(tiny(), { threads: 3 }), await run(tiny(), { threads: 8 })]
    expect(new Set(summaries.map(s => s.weightsHash))).toEqual(new Set([TINY_HASH]))
    for (const s of summaries) expect(measured(s.directory)).toEqual(measured(summaries[0]!.directory))
  })

  it('trains: both arms lose most of their first loss, and MX is not FP32', async () => {
    const { directory, loss } = await run()
    const steps = readMetrics(directory).filter(r => r.kind === 'step')
    for (const arm of ['baseline', 'studied'] as const) {
      const losses = steps.filter(r => r.arm === arm).map(r => r.loss!)
      expect(losses).toHaveLength(60)
      expect(losses.at(-1)!).toBeLessThan(losses[0]! / 2)
    }
    expect(loss.baseline).not.toBe(loss.studied)
  })

  it('writes every kind of row, a summary and a last checkpoint', async () => {
    const { directory } = await run()
    expect(new Set(readMetrics(directory).map(r => r.kind))).toEqual(new Set(['step', 'validation', 'gradient', 'trajectory', 'probe', 'overflow', 'moments', 'gamma', 'event']))
    expect(readSummary(directory)).toMatchObject({ steps: 60, finished: true })
    expect(listCheckpoints(directory).at(-1)).toBe(60)
  })

  it('writes a profile when asked, and computes the same', async () => {
    const { directory, weightsHash } = await run(tiny('steps=5'), { profile: true, threads: 2 })
    expect(weightsHash).toBe((await run(tiny('steps=5'))).weightsHash)
    expect(readFileSync(join(directory, 'profile.txt'), 'utf8')).toMatch(/gemm_packed_f32 .*\d/)
    expect(JSON.parse(readFileSync(join(directory, 'profile-trace.json'), 'utf8')).traceEvents.length).toBeGreaterThan(1000)
  })

  it('with the same precision in both arms has equal gradients', async () => {
    const { directory } = await run(tiny('precision=fp32', 'steps=10'))
    for (const row of readMetrics(directory).filter(r => r.kind === 'trajectory')) expect(row).toMatchObject({ relativeError: 0 })
  })

  it.each(['relu', 'swiglu', 'linear'])('runs with activation %s', async activation => {
    const { loss } = await run(tiny(`model.activation=${activation}`, 'steps=5'))
    expect(Number.isFinite(loss.studied)).toBe(true)
  })

  it.each([
    ['paper-code scheme, torch streams, per-arm noise', ['precision=paper-code', 'data.generator=torch', 'labelNoiseStream=per-arm']],
    ['no layer norm', ['model.layerNorm=false']],
    ['SGD with momentum and a cosine rate', ['optimizer.name=sgd', 'optimizer.lr=0.1', 'optimizer.momentum=0.9', 'schedule.kind=cosine', 'schedule.lrMin=0.01']],
    ['Xavier initial weights', ['model.init=xavier']],
    ['a teacher of its own', ['teacher.depth=1', 'teacher.width=48', 'teacher.activation=tanh']],
    ['stochastic rounding of gradients', ['precision.gradientRounding=stochastic']],
    ['bump as released', ['precision=paper-code/bump']],
    ['a stochastic teacher', ['precision.rounding=stochastic', 'precision.teacher=quantized']],
    ['MXFP4 backward: stochastic, Hadamard', ['precision=mxfp4-backward']],
    ['NVFP4 with the last block in bf16', ['precision=nvfp4']],
    ['NVFP4 on Blackwell\'s units', ['precision=nvfp4/blackwell', 'precision.highLast=0']],
    ['MXFP8 on Blackwell\'s units', ['precision=mxfp8-rceil/blackwell', 'baseline=bf16', 'baseline.accumulator=hopper-bf16']],
    ['exact sums', ['precision.accumulator=exact', 'baseline=null', 'probes.weights=studied']],
    ['Hadamard on wgrad only', ['precision.hadamard=wgrad']],
    ['no baseline', ['baseline=null', 'probes.weights=studied']],
    ['forward-only', ['precision=e4m3/e4m3/forward-only']],
    ['layer norm in MX', ['precision=paper-claim']],
    ['half-applied layer norm switch', ['precision=paper-code/no-layernorm']],
    ['RCEIL scales', ['precision=mxfp8-rceil']],
    ['block size 2', ['precision=e5m2/e5m2/block-2']],
  ])('runs: %s, the same with one and two threads', async (_, set) => {
    const config = tiny('steps=6', ...set)
    const one = await run(config), two = await run(config, { threads: 2 })
    expect(two.weightsHash).toBe(one.weightsHash)
    expect(Number.isFinite(one.loss.studied)).toBe(true)
  })
})

describe('resume', () => {
  it.each([['philox'], ['torch']])('continues bit-identically after an interruption (%s data)', async generator => {
    const config = tiny(`data.generator=${generator}`), whole = await run(config)
    const directory = fresh(), abort = new AbortController()
    const first = await run(config, { directory, signal: abort.signal, onProgress: p => { if (p.step === 27) abort.abort() } })
    expect(first).toMatchObject({ finished: false, steps: 27 })
    expect(existsSync(checkpointFile(directory, 27))).toBe(true)
    const second = await run(config, { directory, resume: true, threads: 2 })
    expect(second).toMatchObject({ finished: true, weightsHash: whole.weightsHash })
    expect(measured(directory)).toEqual(measured(whole.directory))
  })

  it.each([['nvfp4'], ['mxfp4-backward']])('draws the same random bits again: %s', async scheme => {
    const config = tiny('steps=12', `precision=${scheme}`, 'baseline=null', 'probes.weights=studied'), whole = await run(config)
    const directory = fresh(), abort = new AbortController()
    expect(await run(config, { directory, signal: abort.signal, onProgress: p => { if (p.step === 5) abort.abort() } })).toMatchObject({ finished: false, steps: 5 })
    expect(await run(config, { directory, resume: true, threads: 2 })).toMatchObject({ finished: true, weightsHash: whole.weightsHash })
    expect((await run(tiny('steps=12', `precision=${scheme}`, 'precision.gradientRounding=nearest-even', 'baseline=null', 'probes.weights=studied'))).weightsHash).not.toBe(whole.weightsHash)
  })

  it('refuses a damaged checkpoint', async () => {
    const directory = fresh(), config = tiny('steps=20')
    const abort = new AbortController()
    await run(config, { directory, signal: abort.signal, onProgress: p => { if (p.step === 5) abort.abort() } })
    const file = checkpointFile(directory, 5), bytes = readFileSync(file)
    bytes[bytes.length - 3]! ^= 1
    const { writeFileSync } = await import('node:fs')
    writeFileSync(file, bytes)
    await expect(run(config, { directory, resume: true })).rejects.toThrow(UsageError)
  })
})

describe('intervention', () => {
  it('the null intervention changes nothing; another precision changes the rest only', async () => {
    const config = tiny(), whole = await run(config)
    const from = checkpointFile(whole.directory, 40)
    const same = await run(config, { from })
    expect(same.weightsHash).toBe(whole.weightsHash)
    const forked = await run(tiny('precision=fp32'), { from })
    expect(forked.weightsHash).not.toBe(whole.weightsHash)
    expect(readMetrics(forked.directory).filter(r => r.kind === 'step').map(r => r.step)).toEqual(readMetrics(whole.directory).filter(r => r.kind === 'step' && r.step > 40).map(r => r.step))
  })

  it('a scheduled change of precision equals an intervention at that step', async () => {
    const whole = await run(tiny())
    const forked = await run(tiny('precision=fp32'), { from: checkpointFile(whole.directory, 40) })
    const scheduled = await run(tiny('precisionSchedule=[{step: 40, precision: fp32}]'))
    expect(scheduled.loss.studied).toBe(forked.loss.studied)
    expect(configHash(tiny())).not.toBe(configHash(tiny('precisionSchedule=[{step: 40, precision: fp32}]')))
  })
})

describe('failure', () => {
  it('a diverging run ends with the arm and the step', async () => {
    const directory = fresh()
    await expect(run(tiny('optimizer.name=sgd', 'optimizer.lr=1e30'), { directory })).rejects.toThrow(RunError)
    expect(readMetrics(directory).some(r => r.kind === 'event' && r.event === 'nan')).toBe(true)
  })

  it('a run with nothing left to do, resumed, says what it said before', async () => {
    const done = await run(tiny('steps=3')), rows = readMetrics(done.directory)
    const again = await run(tiny('steps=3'), { directory: done.directory, resume: true })
    expect({ ...again, seconds: 0 }).toEqual({ ...done, seconds: 0 })
    expect(readMetrics(done.directory)).toEqual(rows)
  })

  it('a directory that holds the run already is refused', async () => {
    const { directory } = await run(tiny('steps=3'))
    await expect(run(tiny('steps=3'), { directory })).rejects.toThrow(/--resume/)
  })
})
