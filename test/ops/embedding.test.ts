import { describe, expect, it } from 'vitest'
import { ropeTable } from '../../src/model/rope.ts'
import { rope, rowsOf } from '../../src/ops/attention.ts'
import { embeddingBackward, embeddingForward, nextTokens } from '../../src/ops/embedding.ts'
import * as oracle from '../../src/oracle/embedding.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { Program } from '../../src/runtime/program.ts'
import type { Tensor } from '../../src/runtime/memory.ts'
import { expectSameBits, gaussian } from '../kernels/inputs.ts'

const ex = new InlineExecutor()

const read = (t: Tensor) => ex.arena.f32(t).slice()

describe('rotary position embedding', () => {
  it('rotates by angles that agree with Math.cos and Math.sin', () => {
    for (const [context, headDim] of [[4096, 64], [33, 10], [5, 2]] as const) {
      const table = ropeTable(context, headDim), half = headDim / 2
      let worst = 0
      for (let t = 0; t < context; t++) for (let i = 0; i < half; i++) {
        const angle = Math.fround(t * Math.fround(1 / Math.fround(10000 ** (2 * i / headDim))))
        worst = Math.max(worst, Math.abs(table[t * headDim + i]! - Math.cos(angle)), Math.abs(table[t * headDim + half + i]! - Math.sin(angle)))
      }
      expect(worst).toBeLessThan(2 ** -24) // half an ulp of a value near 1
    }
  })

  it('has the bits of its twin, forth and back, for any stride', () => {
    for (const s of [{ batch: 2, context: 7, heads: 3, headDim: 8 }, { batch: 1, context: 5, heads: 2, headDim: 14 }, { batch: 2, context: 3, heads: 1, headDim: 2 }]) {
      const d = s.heads * s.headDim, rows = s.batch * s.context, stride = d + 5
      const wide = ex.arena.from(gaussian(rows * stride, 1), rows, stride), out = ex.arena.tensor(rows, d)
      const table = ropeTable(s.context, s.headDim), t = ex.arena.from(table, s.context, 2, s.headDim / 2)
      const x = new Float32Array(rows * d)
      for (let r = 0; r < rows; r++) x.set(ex.arena.f32(wide).subarray(r * stride + 3, r * stride + 3 + d), r * d)
      for (const inverse of [false, true]) {
        const p = new Program(ex.arena)
        rope(p, { src: rowsOf(wide, 3), dst: rowsOf(out), table: t }, s, inverse)
        ex.runSync(p)
        expectSameBits(read(out), oracle.rope(x, table, s, inverse))
      }
      const there = ex.arena.tensor(rows, d), p = new Program(ex.arena)
      rope(p, { src: rowsOf(wide, 3), dst: rowsOf(there), table: t }, s)
      rope(p, { src: rowsOf(there), dst: rowsOf(there), table: t }, s, true)
      ex.runSync(p)
      const back = read(there)
      for (let i = 0; i < x.length; i++) expect(Math.abs(back[i]! - x[i]!)).toBeLessThan(1e-6)
    }
  })
})

it('shifts tokens by one for next-token prediction', () => {
  const tokens = ex.arena.tensor(2, 3), targets = ex.arena.tensor(2, 3), p = new Program(ex.arena)
  ex.arena.u32(tokens).set([1, 2, 3, 4, 5, 6])
  nextTokens(p, tokens, targets, -1)
  ex.runSync(p)
  expect([...new Int32Array(ex.arena.u32(targets))]).toEqual([2, 3, -1, 5, 6, -1])
})

describe('token embedding', () => {
  it('has the bits of its twin', () => {
    for (const d of [1, 3, 16, 17, 40, 64]) {
      const vocabulary = 11, rows = 50, tokens = Uint32Array.from({ length: rows }, (_, i) => i * i % vocabulary)
      const table = ex.arena.from(gaussian(vocabulary * d, d), vocabulary, d), ids = ex.arena.tensor(rows), out = ex.arena.tensor(rows, d)
      const dOut = ex.arena.from(gaussian(rows * d, d + 1), rows, d), dTable = ex.arena.from(new Float32Array(vocabulary * d), vocabulary, d)
      ex.arena.u32(ids).set(tokens)
      const p = new Program(ex.arena)
      embeddingForward(p, { table, tokens: ids, out })
      embeddingBackward(p, { dTable, tokens: ids, dOut })
      ex.runSync(p)
      const weights = read(table)
      expectSameBits(read(out), Float32Array.from({ length: rows * d }, (_, i) => weights[tokens[Math.floor(i / d)]! * d + i % d]!))
      expectSameBits(read(dTable), oracle.embeddingBackward(tokens, read(dOut), vocabulary, d))
    }
  })
})
