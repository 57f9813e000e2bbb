// Set `microxcaling`: block and elementwise quantizers of the microxcaling library on float32 tensors (its PyTorch path).
// Rule: bit equal, sign of zero included; any NaN equals any NaN. Every implementation given must agree with the file.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseSafetensors, typed } from '../../io/safetensors.ts'
import type { FormatName } from '../../numerics/formats.ts'
import { bfloat, blockQuantizer, fp } from '../../numerics/profiles.ts'
import type { BlockQuantizer, ElementRounding, Rounding } from '../../numerics/quantizer.ts'
import { fakeQuantize, roundElements as emitRoundElements } from '../../ops/quantize.ts'
import { quantize, resolveAxes, roundElements } from '../../oracle/quantize.ts'
import { InlineExecutor } from '../../runtime/executor.ts'
import type { Tensor } from '../../runtime/memory.ts'
import { Program } from '../../runtime/program.ts'
import type { SetResult } from '../types.ts'

const formats: Record<string, FormatName> = {
  fp8_e4m3: 'e4m3', fp8_e5m2: 'e5m2', fp6_e3m2: 'e3m2', fp6_e2m3: 'e2m3', fp4_e2m1: 'e2m1', fp4: 'e2m1', int8: 'int8', int4: 'int4', int2: 'int2',
  bfloat16: 'bf16', bf16: 'bf16', float16: 'fp16', fp16: 'fp16',
}
const roundings: Record<string, Exclude<Rounding, 'stochastic' | 'nearest-zero'>> = { nearest: 'nearest-away', even: 'nearest-even', floor: 'toward-zero' }

interface Case {
  id: number, op: string, kind: string, round: string, shape: number[], in: string[], out: string[]
  format?: string, axis?: number | number[], block_size?: number, scale_bits?: number, flush_fp32_subnorms?: boolean, shared_exp_method?: string, bump_up_overflow_exponent?: boolean
  bfloat?: number, fp?: number, allow_denorm?: boolean
}

/** A way to compute both kinds of case. */
export interface Implementation {
  block(x: Float32Array, shape: readonly number[], axes: number | readonly number[], q: BlockQuantizer): Float32Array
  elements(x: Float32Array, r: ElementRounding): Float32Array
}

const pick = <T>(table: Record<string, T>, name: string, what: string): T => {
  if (!Object.hasOwn(table, name)) throw new Error(`${what} ${name} is not supported`)
  return table[name]!
}

export const oracle: Implementation = { block: (x, shape, axes, q) => quantize(x, shape, axes, q).values, elements: roundElements }

/** The kernels, through the ops that programs use. */
export function kernels(): Implementation {
  const executor = new InlineExecutor(), { arena } = executor
  const run = (x: Float32Array, shape: readonly number[], emit: (p: Program, src: Tensor, dst: Tensor) => void): Float32Array => {
    const mark = arena.mark()
    const src = arena.from(x, ...shape), dst = arena.tensor(...shape)
    const p = new Program(arena)
    emit(p, src, dst)
    executor.runSync(p)
    const out = arena.f32(dst).slice()
    arena.release(mark)
    return out
  }
  return {
    block: (x, shape, axes, q) => {
      if (typeof axes !== 'number' && axes.length !== 1 && axes.length !== 2) throw new Error(`blocks over ${axes.length} axes are not supported`)
      const list = typeof axes === 'number' ? [axes] : resolveAxes(axes, shape.length)
      return run(x, shape, (p, src, dst) => fakeQuantize(p, src, dst, list.length === 1 ? list[0]! : list as [number, number], q))
    },
    elements: (x, r) => run(x, [x.length], (p, src, dst) => emitRoundElements(p, src, dst, r)),
  }
}

function compute(c: Case, x: Float32Array, { block, elements }: Implementation): Float32Array {
  const rounding = pick(roundings, c.round, 'round')
  switch (c.op) {
    case 'quantize_mx': {
      if (c.shared_exp_method !== 'max' && c.shared_exp_method !== 'none') throw new Error(`shared_exp_method ${c.shared_exp_method} is not supported`)
      const q = blockQuantizer('microxcaling', pick(formats, c.format!, 'format'), {
        rounding, scaleBits: c.scale_bits || 8, flushSubnormals: c.flush_fp32_subnorms ?? false,
        // Without sharing every element has an exponent of its own: blocks of one.
        blockSize: c.shared_exp_method === 'none' ? 1 : c.block_size!,
        bump: c.bump_up_overflow_exponent ? 'as-released' : 'none',
      })
      if (c.shared_exp_method === 'none' && c.bump_up_overflow_exponent) throw new Error('shared_exp_method none with bump_up_overflow_exponent is not supported')
      return block(x, c.shape, c.axis!, q)
    }
    case 'quantize_bfloat': return elements(x, bfloat(c.bfloat!, { rounding, subnormals: c.allow_denorm ? 'keep' : 'flush' }))
    case 'quantize_fp': return elements(x, fp(c.fp!, { rounding, subnormals: c.allow_denorm ?? true ? 'keep' : 'flush' }))
    default: throw new Error(`op ${c.op} is not supported`)
  }
}

export async function runMicroxcaling(dir: string, implementations: Record<string, Implementation>): Promise<SetResult> {
  const file = parseSafetensors(await readFile(join(dir, 'microxcaling.safetensors')))
  const cases: Case[] = JSON.parse(file.metadata['cases']!)
  const failures: string[] = []
  for (const c of cases) {
    const label = `case ${c.id} (${c.op} ${c.format ?? c.bfloat ?? c.fp} ${c.round} ${c.kind})`
    try {
      const [x, want] = [c.in[0]!, c.out[0]!].map(name => typed(file.tensors.get(name)!, Float32Array)) as [Float32Array, Float32Array]
      for (const [who, implementation] of Object.entries(implementations)) {
        const difference = firstDifference(compute(c, x, implementation), want)
        if (difference) throw new Error(`${who} ${difference}`)
      }
    } catch (error) { failures.push(`${label}: ${(error as Error).message}`) }
  }
  return { cases: cases.length, passed: cases.length - failures.length, failures }
}

/** Where two tensors first differ in bits (any NaN equals any NaN), or null. */
export function firstDifference(got: Float32Array, want: Float32Array): string | null {
  if (got.length !== want.length) return `gives ${got.length} values, want ${want.length}`
  const g = new Uint32Array(got.buffer, got.byteOffset, got.length), w = new Uint32Array(want.buffer, want.byteOffset, want.length)
  const i = w.findIndex((word, i) => word !== g[i] && !(Number.isNaN(got[i]) && Number.isNaN(want[i])))
  return i < 0 ? null : `[${i}]: want ${w[i]!.toString(16)}, got ${g[i]!.toString(16)}`
}

export const run = (dir: string): Promise<SetResult> => runMicroxcaling(dir, { oracle, kernels: kernels() })
