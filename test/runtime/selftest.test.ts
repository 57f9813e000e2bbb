import { describe, expect, it } from 'vitest'
import { describeEngine } from '../../src/runtime/engine.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import type { KernelName } from '../../src/runtime/instance.ts'
import { loadModules } from '../../src/runtime/module.ts'
import { failures, hashes, selfTest } from '../../src/runtime/selftest.ts'
import { cases, pins } from '../../src/runtime/selftest-cases.ts'
import { loadSharedModules } from '../../src/runtime/shared-module.ts'

/** Exports that compute no result: synchronisation and settings. */
const settings = ['memory', '_start', 'barrier', 'barrier_resume', 'barrier_halt', 'set_scratch', 'set_gemm_tile', 'set_pack_shape', 'gemm_tile_shape', 'gemm_tile_time']

describe('the self-test of an engine', () => {
  const core = loadModules()

  it('pins the hash of every case', () => {
    const hex = (list: Readonly<Record<string, number>>) => Object.fromEntries(Object.entries(list).map(([name, hash]) => [name, `0x${hash.toString(16).padStart(8, '0')}`]))
    // To pin anew after an intended change of results: copy what the failure prints. The kernels' own tests must pass first.
    expect(hex(hashes(core))).toEqual(hex(pins))
  })

  it('has a case for every kernel', () => {
    const called = new Set<string>()
    const kernels = new Proxy({}, { get: (_, kernel: KernelName) => () => { called.add(kernel) } })
    const ex = Object.assign(Object.create(InlineExecutor.prototype) as InlineExecutor, { kernels })
    const stage = new Proxy({}, { get: () => (...args: number[]) => args[0] ?? 0 }) as Parameters<typeof cases[string]>[0]
    for (const make of Object.values(cases)) for (const [kernel, args, items] of make(stage)) ex.call(kernel, args as never, items)
    const missing = Object.keys(new InlineExecutor(core).kernels).filter(name => !settings.includes(name) && !called.has(name))
    expect(missing, 'kernels without a case in src/runtime/selftest-cases.ts').toEqual([])
  })

  it('passes here, for private and shared memory', () => {
    expect(selfTest(core)).toBeNull()
    expect(selfTest(loadSharedModules())).toBeNull()
    expect(failures(core)).toEqual([])
  })

  it('finds a wrong hash', () => {
    for (const name of Object.keys(cases)) expect(selfTest(core, candidate => candidate === name, { ...pins, [name]: pins[name]! ^ 1 })).toBe(name)
  })

  it('every case writes something', () => {
    const zeros = new Set(Object.values(hashes(core)))
    expect(zeros.size).toBe(Object.keys(cases).length)
  })

  it('describes the engine', () => {
    const engine = describeEngine(core)
    expect(engine).toMatchObject({ runtime: `node ${process.versions.node}`, v8: process.versions.v8, relaxed: core.relaxed !== null, wide: core.wide })
    expect(engine.tiles.strict).toMatch(/^\d+x\d+$/)
    if (!core.wide?.startsWith('on: 256-bit')) expect(engine.simd).toBe(128)
    console.log(JSON.stringify(engine))
  })
})
