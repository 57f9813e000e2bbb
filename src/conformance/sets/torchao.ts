// Set `torchao`: MX quantizers of torchao in four scale modes, and its NVFP4 quantizer with one and two levels of scales. Rule: bytes equal, except that
// of a block with Inf or NaN (scale byte 255) the element codes count too: they follow torch's casts, which the profiles model.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { formats, type FormatName } from '../../numerics/formats.ts'
import { nvfp4Profiles, type Nvfp4Quantizer } from '../../numerics/nvfp4.ts'
import { blockProfiles, blockQuantizer, type BlockProfileName } from '../../numerics/profiles.ts'
import type { BlockQuantizer } from '../../numerics/quantizer.ts'
import { codesTensor, quantizeCodes } from '../../ops/codes.ts'
import { nvfp4ScaleShape, nvfp4TensorScale, quantizeNvfp4 as emitNvfp4 } from '../../ops/nvfp4.ts'
import { valueOf } from '../../oracle/float.ts'
import { quantizeNvfp4 } from '../../oracle/nvfp4.ts'
import { quantize } from '../../oracle/quantize.ts'
import { InlineExecutor } from '../../runtime/executor.ts'
import { Program } from '../../runtime/program.ts'
import type { SetResult } from '../types.ts'

/** Codes (one each) and scale bytes of rows of blocks. */
interface Bytes { readonly codes: ArrayLike<number>, readonly scales: ArrayLike<number> }
export interface Implementation {
  mx(x: Float32Array, cols: number, q: BlockQuantizer): Bytes
  nvfp4(x: Float32Array, cols: number, q: Nvfp4Quantizer, tensorScale: number | undefined): Bytes
}

export const oracle: Implementation = {
  mx: (x, cols, q) => quantize(x, [x.length / cols, cols], 1, q),
  nvfp4: (x, cols, q, tensorScale) => quantizeNvfp4(x, [x.length / cols, cols], 1, q, tensorScale),
}

export function kernels(): Implementation {
  const executor = new InlineExecutor(), { arena } = executor
  const bytes = (c: { ptr: number, shape: readonly number[] }) => arena.u8(c.ptr, c.shape.reduce((a, b) => a * b, 1)).slice()
  return {
    mx: (x, cols, q) => {
      const shape = [x.length / cols, cols], src = arena.from(x, ...shape), codes = codesTensor(arena, shape), scales = codesTensor(arena, [shape[0]!, Math.ceil(cols / q.blockSize)])
      const p = new Program(arena)
      quantizeCodes(p, src, codes, scales, 1, q)
      executor.runSync(p)
      return { codes: bytes(codes), scales: bytes(scales) }
    },
    nvfp4: (x, cols, q, tensorScale) => {
      const shape = [x.length / cols, cols], src = arena.from(x, ...shape), codes = codesTensor(arena, shape), scales = codesTensor(arena, nvfp4ScaleShape(shape, 1)), scale = arena.tensor(1)
      const p = new Program(arena)
      if (tensorScale === undefined) nvfp4TensorScale(p, src, scale, q.recipe)
      else arena.f32(scale)[0] = tensorScale
      emitNvfp4(p, src, { codes, scales }, 1, q, scale)
      executor.runSync(p)
      return { codes: bytes(codes), scales: bytes(scales) }
    },
  }
}

/** Words in hex, several to a string -> floats. */
const floats = (rows: readonly string[]): Float32Array => new Float32Array(Uint32Array.from(rows.flatMap(r => r.split(/\s+/).flatMap(s => s.match(/.{8}/g) ?? []))
  .map(h => parseInt(h, 16))).buffer)
const bytesOf = (rows: readonly string[]): number[] => rows.flatMap(r => (r.match(/../g) ?? []).map(h => parseInt(h, 16)))
/** Two codes to a byte, the even element in the low nibble. */
const unpack = (bytes: readonly number[]): number[] => bytes.flatMap(b => [b & 15, b >> 4])

function compare(got: Bytes, codes: readonly number[], scales: readonly number[]): void {
  for (const [what, g, w] of [['scale', got.scales, scales], ['code', got.codes, codes]] as const) {
    if (g.length !== w.length) throw new Error(`gives ${g.length} ${what}s, want ${w.length}`)
    const i = w.findIndex((b, i) => b !== g[i])
    if (i >= 0) throw new Error(`${what} [${i}]: want ${w[i]!.toString(16)}, got ${g[i]!.toString(16)}`)
  }
}

export async function runTorchao(dir: string, implementations: Record<string, Implementation>): Promise<SetResult> {
  const result: SetResult = { cases: 0, passed: 0, failures: [] }
  const check = (label: string, run: (i: Implementation) => Bytes, codes: readonly number[], scales: readonly number[]) => {
    result.cases++
    try {
      for (const [who, implementation] of Object.entries(implementations)) {
        try { compare(run(implementation), codes, scales) } catch (error) { throw new Error(`${who}: ${(error as Error).message}`) }
      }
      result.passed++
    } catch (error) { result.failures.push(`${label}: ${(error as Error).message}`) }
  }
  const mx = JSON.parse(await readFile(join(dir, 'mx_quantize.json'), 'utf8')), x = floats(mx.x_f32), cols = x.length / mx.x_f32.length
  for (const c of mx.cases as { elem: string, mode: string, scale: string[], data: string[] }[]) {
    const profile = `torchao-${c.mode}`, label = `mx_quantize ${c.elem} ${c.mode}`
    if (!Object.hasOwn(formats, c.elem) || !Object.hasOwn(blockProfiles, profile)) { result.cases++; result.failures.push(`${label}: not supported`); continue }
    const data = bytesOf(c.data)
    check(label, i => i.mx(x, cols, blockQuantizer(profile as BlockProfileName, c.elem as FormatName, { blockSize: mx.block })), formats[c.elem as FormatName].bits === 4 ? unpack(data) : data, bytesOf(c.scale))
  }
  const nv = JSON.parse(await readFile(join(dir, 'nvfp4_quantize.json'), 'utf8')), y = floats(nv.x_f32), width = y.length / nv.x_f32.length
  for (const [n, c] of (nv.cases as { per_tensor_scale: string | null, scale: string[], data: string[] }[]).entries()) {
    const label = `nvfp4_quantize ${n} (${c.per_tensor_scale === null ? 'one level' : 'two levels'})`
    if (nv.block !== 16) { result.cases++; result.failures.push(`${label}: blocks of ${nv.block} are not supported`); continue }
    const tensorScale = c.per_tensor_scale === null ? undefined : valueOf(parseInt(c.per_tensor_scale, 16))
    check(label, i => i.nvfp4(y, width, nvfp4Profiles[tensorScale === undefined ? 'torchao-nvfp4-one-level' : 'torchao-nvfp4'], tensorScale), unpack(bytesOf(c.data)), bytesOf(c.scale))
  }
  return result
}

export const run = (dir: string): Promise<SetResult> => runTorchao(dir, { oracle, kernels: kernels() })
