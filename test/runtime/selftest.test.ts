import { describe, expect, it } from 'vitest'
import { describeEngine } from '../../src/runtime/engine.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { loadModules } from '../../src/runtime/module.ts'
import { loadSharedModules } from '../../src/runtime/shared-module.ts'
import { cases, hashes, selfTest } from '../../src/runtime/selftest.ts'

describe('the self-test of an engine', () => {
  const core = loadModules()

  it('pins the hash of every case', () => {
    expect(hashes(core)).toEqual(Object.fromEntries(cases.map(c => [c.name, c.hash])))
  })

  it('passes here, for private and shared memory', () => {
    expect(selfTest(core)).toBeNull()
    expect(selfTest(loadSharedModules())).toBeNull()
  })

  it('finds one wrong bit', () => {
    for (const wrong of cases) {
      const broken = cases.map(c => c !== wrong ? c : {
        ...c,
        make: (ex: InlineExecutor) => {
          const { run, outputs } = c.make(ex)
          return { run: () => { run(); ex.arena.u32(outputs[0]!)[7]! ^= 1 }, outputs }
        },
      })
      expect(selfTest(core, broken)).toBe(wrong.name)
    }
  })

  it('describes the engine', () => {
    const engine = describeEngine(core)
    expect(engine).toMatchObject({ runtime: `node ${process.versions.node}`, v8: process.versions.v8, relaxed: core.relaxed !== null, wide: core.wide })
    expect(engine.tiles.strict).toMatch(/^\d+x\d+$/)
    if (!core.wide?.startsWith('on: 256-bit')) expect(engine.simd).toBe(128)
    console.log(JSON.stringify(engine))
  })
})
