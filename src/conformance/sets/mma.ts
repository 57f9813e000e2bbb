// Set `mma`: one instruction at a time from files of tensor-core model results, and whole small GEMMs chained from Blackwell steps.
// Fields and rules: README.md of the set. The sign of a zero that the file marks unverified does not count; any NaN equals any NaN.
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { codeBits, mmaConfig, type MmaConfig, type MmaScale } from '../../numerics/mma.ts'
import type { FormatName } from '../../numerics/formats.ts'
import { mmaElement } from '../../oracle/mma.ts'
import { coreElement } from '../mma-core.ts'
import type { SetResult } from '../types.ts'

/** Which of our models a file's instruction is. */
const models: Record<string, string> = {
  volta_f16_f32: 'volta-f16', ampere_f16_f32: 'ampere-f16', ada_e4m3_f32: 'ada-fp8',
  hopper_f16_f32: 'hopper-f16', hopper_wgmma_e4m3_f32: 'hopper-fp8', hopper_wgmma_e5m2_f16: 'hopper-fp8-f16acc',
  bw_f16_f32: 'blackwell-f16', bw_bf16_f32: 'blackwell-bf16', bw_tf32_f32: 'blackwell-tf32',
  bw_f8f6f4_e4m3_f32: 'blackwell-f8f6f4', bw_f8f6f4_e5m2_f32: 'blackwell-f8f6f4', bw_tcgen05_f8f6f4_e4m3_f16: 'blackwell-f8f6f4-f16acc',
  bw_mxf8f6f4_e4m3_e4m3: 'blackwell-mxf8f6f4', bw_mxf8f6f4_e5m2_e5m2: 'blackwell-mxf8f6f4', bw_mxf8f6f4_e4m3_e5m2: 'blackwell-mxf8f6f4',
  bw_mxf8f6f4_e4m3_e2m1: 'blackwell-mxf8f6f4', bw_mxf8f6f4_e2m1_e2m1: 'blackwell-mxf8f6f4', bw_mxf8f6f4_e3m2_e2m3: 'blackwell-mxf8f6f4',
  bw_mxf4_block32_ue8m0: 'blackwell-mxf4', bw_mxf4nvf4_block16_ue4m3: 'blackwell-mxf4nvf4', bw_mxf4nvf4_block16_ue8m0: 'blackwell-mxf4nvf4',
  cdna3_f16_f32: 'cdna3-f16', cdna3_bf16_f32: 'cdna3-bf16', cdna3_fp8fnuz_f32: 'cdna3-fp8', cdna3_bf8fnuz_f32: 'cdna3-fp8',
}

/** File names of formats and scales -> ours. */
export const formatOf = (name: string): FormatName => (name === 'f16' ? 'fp16' : name) as FormatName
const scaleOf = (scale: string | undefined, block = 32): MmaScale | null => scale ? { format: scale === 'ue8m0' ? 'e8m0' : 'ue4m3', block: block as 16 | 32 } : null

/** Hex digits -> one code per field of `bits`. `packed`: two 4-bit codes per byte, the low nibble first. */
export function codes(hex: string, bits: number, packed = false): number[] {
  const digits = bits / 4
  const fields = Array.from({ length: hex.length / digits }, (_, i) => parseInt(hex.slice(i * digits, (i + 1) * digits), 16))
  return packed ? fields.flatMap(byte => [byte & 15, byte >> 4]) : fields
}

/** One implementation of an output element: the oracle or the compiled core. */
export type Element = typeof mmaElement

/** Bits equal, any NaN equal to any NaN, and either zero where `zeroSignOpen`. */
export function sameBits(got: number, want: number, f16: boolean, zeroSignOpen = false): boolean {
  const [sign, infinity] = f16 ? [0x8000, 0x7c00] : [0x80000000, 0x7f800000]
  const isNaN = (x: number) => x % sign > infinity
  return got === want || isNaN(got) && isNaN(want) || zeroSignOpen && got % sign === 0 && want % sign === 0
}

interface Case { cat: string, a: string, b: string, sa?: string, sb?: string, c: string, d: string, zero?: 1 }
interface Gemm { name: string, fmt: string, scale: string, block: number, k_inst: number, a_codes: string[], bt_codes: string[], sa: string[], sb: string[], d: string[][] }

/** Run the set in `dir` with every implementation of an element in `elements`. */
export async function runMma(dir: string, elements: Record<string, Element>): Promise<SetResult> {
  const result: SetResult = { cases: 0, passed: 0, failures: [] }
  const check = (label: string, config: MmaConfig, a: number[], b: number[], c: number, sa: number[], sb: number[], want: number, zeroSignOpen: boolean) => {
    result.cases++
    const wrong = Object.entries(elements).map(([who, element]) => [who, element(config, a, b, c, sa, sb)] as const)
      .filter(([, got]) => !sameBits(got, want, config.model.accumulator === 'f16', zeroSignOpen))
    if (wrong.length === 0) result.passed++
    else result.failures.push(`${label}: want ${want.toString(16)}, ${wrong.map(([who, got]) => `${who} ${got.toString(16)}`).join(', ')}`)
  }
  for (const file of (await readdir(dir)).filter(f => f.endsWith('.json') && !f.startsWith('crosscheck')).sort()) {
    const { cases, ...header } = JSON.parse(await readFile(join(dir, file), 'utf8'))
    const name = file.slice(0, -5)
    if (name === 'gemm_chained_blackwell') {
      for (const g of cases as Gemm[]) {
        const config = mmaConfig(g.k_inst === 32 ? 'blackwell-mxf8f6f4' : g.block === 32 ? 'blackwell-mxf4' : 'blackwell-mxf4nvf4', { a: formatOf(g.fmt), scale: scaleOf(g.scale, g.block) })
        g.d.forEach((row, i) => row.forEach((want, j) => check(`${name} ${g.name} [${i}, ${j}]`, config, codes(g.a_codes[i]!, 8), codes(g.bt_codes[j]!, 8), 0, codes(g.sa[i]!, 8), codes(g.sb[j]!, 8), parseInt(want, 16), false)))
      }
      continue
    }
    if (!models[name]) {
      result.cases += cases.length
      result.failures.push(`${file}: no model is assigned to this file`)
      continue
    }
    const config = mmaConfig(models[name], { a: formatOf(header.a_fmt), b: formatOf(header.b_fmt), scale: scaleOf(header.scale, header.block) })
    const packed = header.packing !== undefined
    ;(cases as Case[]).forEach((x, i) => check(`${name} case ${i} (${x.cat})`, config, codes(x.a, codeBits(config.a), packed), codes(x.b, codeBits(config.b), packed),
      parseInt(x.c, 16), codes(x.sa ?? '', 8), codes(x.sb ?? '', 8), parseInt(x.d, 16), x.zero === 1))
  }
  return result
}

export const run = (dir: string): Promise<SetResult> => runMma(dir, { oracle: mmaElement, core: coreElement() })
