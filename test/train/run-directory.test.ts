import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import * as fs from 'node:fs'
import { tmpdir, hostname } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { formatSafetensors, raw } from '../../src/io/safetensors.ts'
import { checkpointDue, expired, readCheckpoint, writeCheckpoint, type Checkpoint } from '../../src/train/checkpoint.ts'
import { configHash, loadConfig } from '../../src/train/config-file.ts'
import { RunDirectory, listCheckpoints, readMetrics, readRunFile, takeLock } from '../../src/train/run-directory.ts'
import type { StudentTeacherConfig } from '../../src/train/config.ts'
import type { MetricsRow } from '../../src/train/types.ts'

vi.mock('node:fs', async original => ({ ...await original<typeof fs>() }))
afterEach(() => { vi.restoreAllMocks() })

const folder = () => mkdtempSync(join(tmpdir(), 'blockscale-run-'))
const config = loadConfig('tiny')
const row = (step: number): MetricsRow => ({ kind: 'step', arm: 'studied', step, loss: 1 / step, lr: 1e-3, seconds: 0.1 })
const refusal = (f: () => unknown, message: RegExp) => {
  expect(f).toThrow(expect.objectContaining({ name: 'UsageError', message: expect.stringMatching(message) }))
}

describe('checkpoint', () => {
  const checkpoint: Checkpoint = {
    step: 12,
    tensors: { 'studied/layers.0.fc1.weight': { data: Float32Array.of(1, -0, 1e-45, Infinity), shape: [2, 2] }, 'random/state': { data: Uint32Array.of(7, 0xffffffff), shape: [2] } },
    meta: { config, hash: configHash(config) },
  }
  const write = (meta: Checkpoint['meta'] = checkpoint.meta) => {
    const file = join(folder(), 'c.safetensors')
    writeCheckpoint(file, { ...checkpoint, meta })
    return file
  }

  test('what is written is read back, bits and all', () => {
    const back = readCheckpoint(write())
    expect(back.step).toBe(12)
    expect(back.meta).toEqual(JSON.parse(JSON.stringify(checkpoint.meta)))
    for (const [name, { data, shape }] of Object.entries(checkpoint.tensors)) {
      const got = back.tensors[name]!
      expect(got.shape).toEqual(shape)
      expect(got.data.constructor).toBe(data.constructor)
      expect(new Uint8Array(got.data.buffer)).toEqual(new Uint8Array(data.buffer))
    }
    expect(readFileSync(write())).toEqual(readFileSync(write()))
  })

  test('any single changed byte is refused', () => {
    const file = write({ seed: 1 }), good = readFileSync(file)
    for (let at = 0; at < good.length; at++) {
      const bad = Buffer.from(good)
      bad[at]! ^= 1
      writeFileSync(file, bad)
      refusal(() => readCheckpoint(file), /./)
    }
    writeFileSync(file, good)
    readCheckpoint(file)
  })

  test('every truncation is refused', () => {
    const file = write({ seed: 1 }), good = readFileSync(file)
    for (let length = 0; length < good.length; length++) {
      writeFileSync(file, good.subarray(0, length))
      refusal(() => readCheckpoint(file), /c\.safetensors/)
    }
  })

  test('foreign files, later versions and NaN are named', () => {
    const file = write()
    writeFileSync(file, formatSafetensors([['w', raw(Float32Array.of(1))]]))
    refusal(() => readCheckpoint(file), /is not a blockscale checkpoint$/)
    writeFileSync(file, formatSafetensors([['w', raw(Float32Array.of(1))]], { format: 'blockscale checkpoint 9' }))
    refusal(() => readCheckpoint(file), /is a blockscale checkpoint 9, this version reads blockscale checkpoint 1$/)
    writeCheckpoint(file, { step: 1, tensors: { w: { data: Float32Array.of(1, NaN), shape: [2] } }, meta: {} })
    refusal(() => readCheckpoint(file), /w holds NaN \(first at element 1\), a run cannot start from it$/)
  })

  test('disk full: RunError with the amount, the previous checkpoint intact', () => {
    const file = write(), before = readFileSync(file)
    vi.spyOn(fs, 'writeSync').mockImplementation(() => { throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' }) })
    expect(() => writeCheckpoint(file, { ...checkpoint, step: 13 })).toThrow(expect.objectContaining({ name: 'RunError', message: expect.stringMatching(/disk full, \d+ bytes needed/) }))
    vi.restoreAllMocks()
    expect(readFileSync(file)).toEqual(before)
    expect(readCheckpoint(file).step).toBe(12)
  })

  test('due and expired: periodic, windowed and last', () => {
    const c = { steps: 50, checkpoints: { every: 10, keep: 2, window: { center: 24, size: 4, every: 2 } } }
    const due = Array.from({ length: 50 }, (_, i) => i + 1).filter(s => checkpointDue(s, c))
    expect(due).toEqual([10, 20, 22, 24, 26, 28, 30, 40, 50])
    expect(expired(due, c)).toEqual([10])
    expect(expired([10, 20, 22, 30, 40], { ...c, checkpoints: { ...c.checkpoints, keep: 1 } })).toEqual([30, 10])
    expect(expired(due, { ...c, checkpoints: { ...c.checkpoints, keep: 0 } })).toEqual([])
    expect([49, 50].filter(s => checkpointDue(s, { steps: 50, checkpoints: { every: 0, keep: 3, window: null } }))).toEqual([50])
  })
})

describe('run directory', () => {
  test('create, log, finish, reopen', () => {
    const path = join(folder(), 'a', 'b')
    const run = RunDirectory.open(path, config)
    run.log(row(1), row(2))
    run.log(row(3))
    run.close()
    expect(readMetrics(path).map(r => r.step)).toEqual([1, 2, 3])
    expect(readRunFile(path)).toMatchObject({ format: 1, hash: configHash(config), config })
    expect(existsSync(join(path, 'lock'))).toBe(false)
  })

  test('in use: refused while the owner lives, also from this very process', () => {
    const path = folder()
    const run = RunDirectory.open(path, config)
    refusal(() => RunDirectory.open(path, config, { resume: true }), new RegExp(`is in use by process ${process.pid}$`))
    run.close()
    RunDirectory.open(path, config, { resume: true }).close()
  })

  test('the lock of a dead process is taken over, of another host it is not', async () => {
    const path = join(folder(), 'lock')
    const child = spawn('sleep', ['0'])
    await new Promise(resolve => child.on('exit', resolve))
    writeFileSync(path, JSON.stringify({ pid: child.pid, host: hostname(), started: '1' }))
    takeLock(path, 'x')()
    writeFileSync(path, JSON.stringify({ pid: 1, host: `not-${hostname()}`, started: '1' }))
    refusal(() => takeLock(path, 'run directory x'), /in use by process 1 on not-.*; if that process is gone, delete .*lock$/)
  })

  test('a living process with the same number as a dead owner is not the owner', () => {
    if (!existsSync('/proc/self/stat')) { console.log('skipped: no /proc'); return }
    const path = join(folder(), 'lock')
    writeFileSync(path, JSON.stringify({ pid: process.pid, host: hostname(), started: '1' }))
    takeLock(path, 'x')()
    expect(readdirSync(join(path, '..'))).toEqual([])
  })

  test('a run of a version that knew fewer settings is read with their defaults and not gone on with; one that knew others is refused', () => {
    const path = folder()
    RunDirectory.open(path, config).close()
    const file = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'))
    const rewrite = (old: object) => writeFileSync(join(path, 'config.json'), JSON.stringify({ ...file, version: '0.0.9', config: old, hash: configHash(old as typeof config) }))
    const { labelNoiseStream, ...fewer } = config as StudentTeacherConfig
    rewrite(fewer)
    expect(readRunFile(path).config).toEqual(config)
    refusal(() => RunDirectory.open(path, config, { resume: true }), /was written by a version of blockscale \(0\.0\.9\) that did not know all of today's settings/)
    rewrite({ ...config, teleportation: true })
    refusal(() => readRunFile(path), /was written by blockscale 0\.0\.9, with settings that this one .* does not have: config: teleportation: unknown key/)
  })

  test('an unfinished run needs resume; another configuration, another version and damage are refused', () => {
    const path = folder()
    RunDirectory.open(path, config).close()
    refusal(() => RunDirectory.open(path, config), /holds this run already: continue it with --resume, or remove the folder$/)
    refusal(() => RunDirectory.open(path, loadConfig('tiny', ['steps=61']), { resume: true }), /holds a run of another configuration/)
    refusal(() => RunDirectory.open(folder(), config, { resume: true }), /holds no run to resume/)
    const file = join(path, 'config.json'), text = readFileSync(file, 'utf8')
    writeFileSync(file, text.replace('"format": 1', '"format": 2'))
    refusal(() => RunDirectory.open(path, config, { resume: true }), /was written by blockscale .* \(layout 2\); this is .* \(layout 1\)/)
    writeFileSync(file, text.replace('"seed": 1337', '"seed": 1338'))
    refusal(() => readRunFile(path), /hash does not match the configuration/)
    writeFileSync(file, text.slice(0, 100))
    refusal(() => readRunFile(path), /config\.json: /)
    refusal(() => readRunFile(folder()), /holds no run \(no config\.json\)$/)
    expect(existsSync(join(path, 'lock'))).toBe(false)
  })

  test('rewind drops later rows and a torn line; leftovers of a crash go', () => {
    const path = folder()
    const first = RunDirectory.open(path, config)
    first.log(...[1, 2, 3, 4].map(row))
    first.close()
    appendFileSync(join(path, 'metrics.jsonl'), '{"kind":"st')
    writeFileSync(join(path, 'checkpoints', '.step-00000004.safetensors.99-0.partial'), 'half')
    const run = RunDirectory.open(path, config, { resume: true })
    run.rewind(2)
    run.log(row(3))
    run.close()
    expect(readMetrics(path).map(r => r.step)).toEqual([1, 2, 3])
    expect(readdirSync(join(path, 'checkpoints'))).toEqual([])
  })

  test('prune keeps the newest periodic checkpoints', () => {
    const path = folder()
    const run = RunDirectory.open(path, config)
    for (const step of [20, 40, 60, 80, 100]) writeCheckpoint(run.checkpoint(step), { step, tensors: {}, meta: {} })
    run.prune()
    run.close()
    expect(listCheckpoints(path)).toEqual([40, 60, 80, 100]) // steps = 60 is the last one and does not count among the three
  })

  test('a folder that cannot be made is a usage error', () => {
    const file = join(folder(), 'file')
    writeFileSync(file, '')
    refusal(() => RunDirectory.open(join(file, 'run'), config), /cannot create .*ENOTDIR/)
  })
})
