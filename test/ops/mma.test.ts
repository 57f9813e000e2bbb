import { describe, expect, it } from 'vitest'
import { mmaTile } from '../../src/conformance/mma-cases.ts'
import { UsageError } from '../../src/errors.ts'
import { codeBits, mmaConfig } from '../../src/numerics/mma.ts'
import { decodeOperand, mma } from '../../src/ops/mma.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { Program } from '../../src/runtime/program.ts'
import { runTile } from '../../src/conformance/mma-core.ts'

const ex = new InlineExecutor()

describe('mma', () => {
  it.each(['hopper-f16', 'blackwell-mxf8f6f4', 'blackwell-mxf4nvf4', 'blackwell-fp8-mma', 'cdna1-bf16', 'cdna2-f16', 'cdna3-fp8'])('%s: any cut of the rows, and of the chain, gives the same bits', name => {
    const config = mmaConfig(name)
    const tile = mmaTile(config, 3, 1, 7, 5, 4)
    const whole = runTile(ex, config, tile)
    const p = new Program(ex.arena)
    const bytes = (rows: number[][], bits: 8 | 16 | 32) => {
      const flat = rows.flat(), ptr = ex.arena.allocBytes(flat.length * bits / 8)
      new { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array }[bits](ex.arena.memory.buffer, ptr, flat.length).set(flat)
      return ptr
    }
    const operand = (side: 'a' | 'b', codes: number[][], scales: number[][]) =>
      decodeOperand(p, config, side, { ptr: bytes(codes, codeBits(config[side])), rows: codes.length, K: codes[0]!.length, scales: config.scale ? bytes(scales, 8) : undefined })
    const a = operand('a', tile.a, tile.scaleA), b = operand('b', tile.b, tile.scaleB)
    const d = ex.arena.tensor(7, 5)
    ex.arena.u32(d).set(tile.c.flat())
    mma(p, config, a, b, d, { c: d, from: 0, to: 1 })
    mma(p, config, a, b, d, { c: d, from: 1, to: 4 })
    for (const { kernel, args, items } of p.calls) {
      for (let i = items; i > 0; i--) (ex.kernels[kernel] as (...args: number[]) => void)(...args, i - 1, i)
    }
    expect([...ex.arena.u32(d)]).toEqual([...whole])
  })

  it('refuses operands that disagree, and missing scales', () => {
    const p = new Program(ex.arena), config = mmaConfig('blackwell-mxf4')
    const operand = (K: number) => decodeOperand(p, config, 'a', { ptr: 0, rows: 1, K, scales: 0 })
    expect(() => mma(p, config, operand(64), operand(32), ex.arena.tensor(1, 1))).toThrow(UsageError)
    expect(() => decodeOperand(p, config, 'b', { ptr: 0, rows: 1, K: 64 })).toThrow(/operand B needs scales/)
    expect(() => mma(p, config, operand(64), decodeOperand(p, config, 'b', { ptr: 0, rows: 1, K: 64, scales: 0 }, true), ex.arena.tensor(1, 1))).toThrow(/one operand is decoded for the straightforward kernel/)
  })
})
