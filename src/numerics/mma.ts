// Matrix-multiply-accumulate units as data: which arithmetic each tensor core (NVIDIA) or matrix core (AMD) performs for one output element,
// how sure that is, and which units are refused because nobody has published their arithmetic.
//
// Every unit computes D = A B^T + C element by element; one element is a chain in increasing k of "fused dot-product-adds" of `length` products.
// The algorithms are those of Xie et al., "Bit-Accurate Modeling of GPU Matrix Multiply-Accumulate Units", arXiv:2511.10909 (numbers below);
// src/oracle/mma.ts computes them. Sources of the parameters, by short name:
//   MMA-Sim    arXiv:2511.10909 and its simulator (microsoft/MMA-Sim), which its authors checked against silicon with about 10^6 random tests per instruction
//   KM         Khattak and Mikaitis, arXiv:2512.07004, whose published GPU outputs (V100 to B200) test/conformance compares bit for bit
// What would surprise: alignment uses the sum of exponent fields (products are not renormalised), every term is truncated toward zero at
// 2^(E - fraction), and rounding toward zero still overflows to Inf.
import { UsageError } from '../errors.ts'
import type { FormatName } from './formats.ts'

/** Which algorithm of arXiv:2511.10909 one chained step follows. */
export type MmaAlgorithm =
  | 't-fdpa' // 7: truncated fused dot-product-add
  | 'st-fdpa' // 8: as 7, block scales shift the products' exponents
  | 'gst-fdpa' // 9: exact group sums, then scaled, aligned by the scales' exponents alone
  | 'split-fp8' // FP8 through the FP16 pipe: k mod 4 in {0, 1}, then {2, 3}, two steps of 7 from zero, then an IEEE addition of c (from the GPU outputs of arXiv:2512.07004)
  | 'e-fdpa' // 6: exact sum, one rounding
  | 'ftz-addmul' // 2: IEEE products and a pairwise sum, subnormals flushed
  | 'tr-fdpa' // 10: truncated sum of products, floored together with c
  | 'gtr-fdpa' // 11: as 10, even and odd products apart

/** Conversion of the exact sum to the accumulator: RZ truncates (and overflows to Inf), E8M13 keeps 13 fraction bits in an FP32 container. */
export type MmaRounding = 'rz-f32' | 'rz-e8m13' | 'rne-f16' | 'rne-f32'

/** Block scales that an instruction takes: one per `block` consecutive k of each operand. ue4m3 is E4M3 with its sign bit ignored. */
export interface MmaScale { readonly format: 'e8m0' | 'ue4m3', readonly block: 16 | 32 }

/** hardware: equal to published GPU outputs. simulator: its authors claim equality with silicon, we have no GPU outputs. unverified: by analogy. */
export type Confidence = 'hardware' | 'simulator' | 'unverified'

/** A matrix unit: the parameters of its arithmetic, and how sure they are. */
export interface MmaModel {
  readonly name: string
  /** The instructions and chips this arithmetic belongs to. */
  readonly instruction: string
  readonly algorithm: MmaAlgorithm
  /** Element formats; any of them may meet any other. Codes of `tf32` are whole float32 words whose low 13 bits are ignored. */
  readonly formats: readonly FormatName[]
  /** Type of C and D, and of the value carried from step to step. */
  readonly accumulator: 'f32' | 'f16'
  /** L: products per step. The next step's c is this step's rounded result. */
  readonly length: number
  /** F: fraction bits kept below the alignment exponent. 0 where the algorithm aligns nothing. */
  readonly fraction: number
  readonly rounding: MmaRounding
  /** e_zero: the alignment exponent is never below it (zero terms carry it). */
  readonly floor: number
  /** G: products per exact group sum (gst-fdpa). */
  readonly group: number
  /** Accepted block scales, the usual one first; empty for an unscaled instruction. */
  readonly scales: readonly MmaScale[]
  readonly confidence: Confidence
  /** Where the parameters come from and how they were checked. */
  readonly source: string
}

const E8M0_32: MmaScale = { format: 'e8m0', block: 32 }
const FP8: readonly FormatName[] = ['e4m3', 'e5m2']
const FP8_6_4: readonly FormatName[] = ['e4m3', 'e5m2', 'e3m2', 'e2m3', 'e2m1']
const FNUZ: readonly FormatName[] = ['e4m3fnuz', 'e5m2fnuz']

type Entry = Partial<MmaModel> & Pick<MmaModel, 'instruction' | 'formats' | 'length' | 'fraction' | 'confidence' | 'source'>

/** Fills in what follows from the rest: NVIDIA's usual algorithm, and the floors' rule -108 - F (FP32-wide datapath) of MMA-Sim. */
const define = (entries: Record<string, Entry>): Record<string, MmaModel> => Object.fromEntries(Object.entries(entries).map(([name, e]) => {
  const accumulator = e.accumulator ?? 'f32'
  return [name, {
    name, algorithm: 't-fdpa', accumulator, rounding: accumulator === 'f16' ? 'rne-f16' : 'rz-f32', floor: -108 - e.fraction, group: 0, scales: [], ...e,
  }]
}))

/** Every modelled unit by name: architecture, kind of operands, accumulator if not FP32, instruction path if there are several. */
export const mmaModels: Readonly<Record<string, MmaModel>> = define({
  'volta-f16': { instruction: 'mma.sync m8n8k4, V100', formats: ['fp16'], length: 4, fraction: 23, confidence: 'hardware', source: 'MMA-Sim; KM V100 outputs' },
  'volta-f16-f16acc': { instruction: 'mma.sync m8n8k4, V100', formats: ['fp16'], accumulator: 'f16', length: 4, fraction: 23, floor: -20, confidence: 'hardware', source: 'MMA-Sim; KM V100 outputs' },

  'turing-f16': { instruction: 'mma.sync, T4', formats: ['fp16'], length: 8, fraction: 24, confidence: 'simulator', source: 'MMA-Sim' },
  'turing-f16-f16acc': { instruction: 'mma.sync, T4', formats: ['fp16'], accumulator: 'f16', length: 8, fraction: 24, floor: -21, confidence: 'simulator', source: 'MMA-Sim' },

  'ampere-f16': { instruction: 'mma.sync, A100 and A2', formats: ['fp16'], length: 8, fraction: 24, confidence: 'hardware', source: 'MMA-Sim; KM A100 and A2 outputs' },
  'ampere-f16-f16acc': { instruction: 'mma.sync, A100 and A2', formats: ['fp16'], accumulator: 'f16', length: 8, fraction: 24, floor: -21, confidence: 'hardware', source: 'MMA-Sim; KM A100 and A2 outputs' },
  'ampere-bf16': { instruction: 'mma.sync, A100 and A2', formats: ['bf16'], length: 8, fraction: 24, confidence: 'hardware', source: 'MMA-Sim; KM A100 and A2 outputs' },
  'ampere-tf32': { instruction: 'mma.sync, A100 and A2', formats: ['tf32'], length: 4, fraction: 24, confidence: 'hardware', source: 'MMA-Sim; KM A100 and A2 outputs' },

  'ada-f16': { instruction: 'mma.sync, L40S and RTX 40', formats: ['fp16'], length: 8, fraction: 24, confidence: 'hardware', source: 'MMA-Sim; KM L40S and Ada outputs' },
  'ada-f16-f16acc': { instruction: 'mma.sync, L40S and RTX 40', formats: ['fp16'], accumulator: 'f16', length: 8, fraction: 24, floor: -21, confidence: 'hardware', source: 'MMA-Sim; KM L40S and Ada outputs' },
  'ada-bf16': { instruction: 'mma.sync, L40S and RTX 40', formats: ['bf16'], length: 8, fraction: 24, confidence: 'hardware', source: 'MMA-Sim; KM L40S and Ada outputs' },
  'ada-tf32': { instruction: 'mma.sync, L40S and RTX 40', formats: ['tf32'], length: 4, fraction: 24, confidence: 'hardware', source: 'MMA-Sim; KM L40S and Ada outputs' },
  'ada-fp8': { instruction: 'mma.sync m16n8k32 (two steps of 16), L40S and RTX 40', formats: FP8, length: 16, fraction: 13, rounding: 'rz-e8m13', floor: -132, confidence: 'hardware', source: 'MMA-Sim; KM L40S and Ada outputs' },
  'ada-fp8-f16acc': { instruction: 'mma.sync m16n8k32 (two steps of 16), RTX 40', formats: FP8, accumulator: 'f16', length: 16, fraction: 13, floor: -21, confidence: 'hardware', source: 'MMA-Sim; KM Ada outputs' },

  'hopper-f16': { instruction: 'wgmma and mma.sync, H100 and H200', formats: ['fp16'], length: 16, fraction: 25, confidence: 'hardware', source: 'MMA-Sim; KM H100 and H200 outputs' },
  'hopper-f16-f16acc': { instruction: 'wgmma, H100 and H200', formats: ['fp16'], accumulator: 'f16', length: 16, fraction: 25, confidence: 'simulator', source: 'MMA-Sim' },
  'hopper-f16-f16acc-mma': { instruction: 'mma.sync, H100 and H200', formats: ['fp16'], accumulator: 'f16', length: 16, fraction: 25, floor: -22, confidence: 'hardware', source: 'MMA-Sim; KM H100 and H200 outputs (KM\'s own model has floor -21: seen only where c = 0 and every product is below 2^-21)' },
  'hopper-bf16': { instruction: 'wgmma and mma.sync, H100 and H200', formats: ['bf16'], length: 16, fraction: 25, confidence: 'hardware', source: 'MMA-Sim; KM H100 and H200 outputs' },
  'hopper-tf32': { instruction: 'wgmma and mma.sync, H100 and H200', formats: ['tf32'], length: 8, fraction: 25, confidence: 'hardware', source: 'MMA-Sim; KM H100 and H200 outputs (K = 4 only)' },
  'hopper-fp8': { instruction: 'wgmma m64nNk32, H100 and H200', formats: FP8, length: 32, fraction: 13, rounding: 'rz-e8m13', floor: -133, confidence: 'hardware', source: 'MMA-Sim; KM H100 and H200 outputs (c = 0 only)' },
  'hopper-fp8-f16acc': { instruction: 'wgmma m64nNk32, H100 and H200', formats: FP8, accumulator: 'f16', length: 32, fraction: 13, floor: -133, confidence: 'simulator', source: 'MMA-Sim' },
  'hopper-fp8-mma': { instruction: 'mma.sync m16n8k32, emulated with two FP16 steps, H100 and H200', algorithm: 'split-fp8', formats: FP8, length: 32, fraction: 25, confidence: 'unverified', source: 'as blackwell-fp8-mma; KM has no such H100 outputs' },
  'hopper-fp8-mma-f16acc': { instruction: 'mma.sync m16n8k32, emulated with two FP16 steps, H100 and H200', algorithm: 'split-fp8', formats: FP8, accumulator: 'f16', length: 32, fraction: 25, floor: -22, confidence: 'hardware', source: 'KM H100 and H200 outputs' },

  'blackwell-f16': { instruction: 'tcgen05.mma kind::f16 (sm_100), mma.sync (sm_100, sm_120)', formats: ['fp16'], length: 16, fraction: 25, confidence: 'hardware', source: 'MMA-Sim; KM B200 outputs (mma.sync)' },
  'blackwell-f16-f16acc': { instruction: 'tcgen05.mma kind::f16 (sm_100)', formats: ['fp16'], accumulator: 'f16', length: 16, fraction: 25, confidence: 'simulator', source: 'MMA-Sim' },
  'blackwell-f16-f16acc-mma': { instruction: 'mma.sync (sm_100, sm_120)', formats: ['fp16'], accumulator: 'f16', length: 16, fraction: 25, floor: -22, confidence: 'hardware', source: 'MMA-Sim; KM B200 outputs (KM\'s own model has floor -21)' },
  'blackwell-bf16': { instruction: 'tcgen05.mma kind::f16 (sm_100), mma.sync (sm_100, sm_120)', formats: ['bf16'], length: 16, fraction: 25, confidence: 'hardware', source: 'MMA-Sim; KM B200 outputs (mma.sync)' },
  'blackwell-tf32': { instruction: 'tcgen05.mma kind::tf32 (sm_100), mma.sync (sm_100, sm_120)', formats: ['tf32'], length: 8, fraction: 25, confidence: 'hardware', source: 'MMA-Sim; KM B200 outputs (mma.sync, K = 4 only)' },
  'blackwell-f8f6f4': { instruction: 'tcgen05.mma kind::f8f6f4 (sm_100), mma.sync (sm_120)', formats: FP8_6_4, length: 32, fraction: 25, confidence: 'simulator', source: 'MMA-Sim; KM\'s model agrees' },
  'blackwell-f8f6f4-f16acc': { instruction: 'tcgen05.mma kind::f8f6f4 (sm_100)', formats: FP8_6_4, accumulator: 'f16', length: 32, fraction: 25, confidence: 'simulator', source: 'MMA-Sim' },
  'blackwell-f8f6f4-f16acc-mma': { instruction: 'mma.sync kind::f8f6f4 (sm_120)', formats: FP8_6_4, accumulator: 'f16', length: 32, fraction: 25, floor: -22, confidence: 'simulator', source: 'MMA-Sim' },
  'blackwell-fp8-mma': { instruction: 'mma.sync m16n8k32, emulated with two FP16 steps (sm_100)', algorithm: 'split-fp8', formats: FP8, length: 32, fraction: 25, confidence: 'hardware', source: 'KM B200 outputs' },
  'blackwell-fp8-mma-f16acc': { instruction: 'mma.sync m16n8k32, emulated with two FP16 steps (sm_100)', algorithm: 'split-fp8', formats: FP8, accumulator: 'f16', length: 32, fraction: 25, floor: -22, confidence: 'hardware', source: 'KM B200 outputs' },
  'blackwell-mxf8f6f4': { instruction: 'tcgen05.mma (sm_100), mma.sync (sm_120) kind::mxf8f6f4.block_scale', algorithm: 'st-fdpa', formats: FP8_6_4, length: 32, fraction: 25, scales: [E8M0_32], confidence: 'simulator', source: 'MMA-Sim (mixed FP8 pairs on sm_120)' },
  'blackwell-mxf4': { instruction: 'tcgen05.mma (sm_100), mma.sync (sm_120) kind::mxf4.block_scale, K = 64', algorithm: 'gst-fdpa', formats: ['e2m1'], length: 64, fraction: 35, floor: -139, group: 16, scales: [E8M0_32], confidence: 'simulator', source: 'MMA-Sim (the floor -139 from it alone)' },
  'blackwell-mxf4nvf4': { instruction: 'tcgen05.mma (sm_100), mma.sync (sm_120) kind::mxf4nvf4.block_scale, K = 64', algorithm: 'gst-fdpa', formats: ['e2m1'], length: 64, fraction: 35, floor: -139, group: 16, scales: [{ format: 'ue4m3', block: 16 }, { format: 'e8m0', block: 16 }, E8M0_32], confidence: 'simulator', source: 'MMA-Sim (the floor -139 from it alone)' },

  'cdna1-f16': { instruction: 'v_mfma_f32_*f16, MI100', algorithm: 'e-fdpa', formats: ['fp16'], length: 4, fraction: 0, floor: 0, rounding: 'rne-f32', confidence: 'simulator', source: 'MMA-Sim' },
  'cdna1-bf16': { instruction: 'v_mfma_f32_*bf16, MI100', algorithm: 'e-fdpa', formats: ['bf16'], length: 2, fraction: 0, floor: 0, rounding: 'rne-f32', confidence: 'simulator', source: 'MMA-Sim' },
  'cdna2-f16': { instruction: 'v_mfma_f32_*f16, MI250X', algorithm: 'ftz-addmul', formats: ['fp16'], length: 4, fraction: 0, floor: 0, rounding: 'rne-f32', confidence: 'simulator', source: 'MMA-Sim' },
  'cdna2-bf16': { instruction: 'v_mfma_f32_*bf16, MI250X', algorithm: 'ftz-addmul', formats: ['bf16'], length: 2, fraction: 0, floor: 0, rounding: 'rne-f32', confidence: 'simulator', source: 'MMA-Sim' },
  'cdna2-bf16-1k': { instruction: 'v_mfma_f32_*bf16_1k, MI250X', algorithm: 'ftz-addmul', formats: ['bf16'], length: 4, fraction: 0, floor: 0, rounding: 'rne-f32', confidence: 'simulator', source: 'MMA-Sim' },
  'cdna3-f16': { instruction: 'v_mfma_f32_*_f16, MI300X', algorithm: 'tr-fdpa', formats: ['fp16'], length: 8, fraction: 24, floor: 0, rounding: 'rne-f32', confidence: 'simulator', source: 'MMA-Sim (its code; the paper\'s algorithm 10 floors once less)' },
  'cdna3-bf16': { instruction: 'v_mfma_f32_*_bf16, MI300X', algorithm: 'tr-fdpa', formats: ['bf16'], length: 8, fraction: 24, floor: 0, rounding: 'rne-f32', confidence: 'simulator', source: 'MMA-Sim (its code; the paper\'s algorithm 10 floors once less)' },
  'cdna3-xf32': { instruction: 'v_mfma_f32_*_xf32, MI300X', algorithm: 'tr-fdpa', formats: ['tf32'], length: 4, fraction: 24, floor: 0, rounding: 'rne-f32', confidence: 'simulator', source: 'MMA-Sim (its code; the paper\'s algorithm 10 floors once less)' },
  'cdna3-fp8': { instruction: 'v_mfma_f32_*_{fp8,bf8}_{fp8,bf8}, MI300X', algorithm: 'gtr-fdpa', formats: FNUZ, length: 16, fraction: 24, floor: 0, rounding: 'rne-f32', confidence: 'simulator', source: 'MMA-Sim; a NaN or Inf accumulator far below the products is propagated here, which is open' },
})

/** Units that people ask for and that have no published bit-exact arithmetic. Looking one up is refused with the reason. */
export const refusedMmaModels: Readonly<Record<string, string>> = {
  'cdna4': 'the accumulation of MI350/MI355 (v_mfma_scale_f32_*_f8f6f4) is unpublished; the nearest published arithmetic is cdna3-fp8',
  'cdna4-f8f6f4': 'the accumulation of MI350/MI355 (v_mfma_scale_f32_*_f8f6f4) is unpublished; the nearest published arithmetic is cdna3-fp8',
  'blackwell-mxf4-k96': 'no model of the K = 96 FP4 instructions of sm_103 is published',
  'blackwell-mxf4nvf4-k96': 'no model of the K = 96 FP4 instructions of sm_103 is published',
  'sparse': 'no model of the sparse instructions (mma.sp, wgmma.sp, tcgen05.mma.sp) is published',
  'tcgen05-ws': 'no model of tcgen05.mma.ws is published',
  'tcgen05-cta2': 'no model of tcgen05.mma with cta_group::2 is published',
}

/** A model with its operands chosen: what one GEMM runs. */
export interface MmaConfig {
  readonly model: MmaModel
  readonly a: FormatName
  readonly b: FormatName
  /** null for an unscaled instruction. */
  readonly scale: MmaScale | null
  /** The model's confidence, lowered where a format was never tested (FP6). */
  readonly confidence: Confidence
}

/** Look a model up by name. Throws UsageError for a refused name (with the reason) and for an unknown one (with the valid names). */
export const mmaModel = (name: string): MmaModel => mmaModelBeside([], 'MMA model', name)

/** The same where the names `others` are taken, too; `what` is looked up. */
export function mmaModelBeside(others: readonly string[], what: string, name: string): MmaModel {
  const known = [name, name.split('-')[0]!].find(n => Object.hasOwn(refusedMmaModels, n)), reason = known && refusedMmaModels[known] // cdna4-fp8 is a cdna4
  if (reason) throw new UsageError(`MMA model ${JSON.stringify(name)} is not offered: ${reason}`)
  if (!Object.hasOwn(mmaModels, name)) throw new UsageError(`unknown ${what} ${JSON.stringify(name)}: use one of ${[...others, ...Object.keys(mmaModels)].join(', ')}`)
  return mmaModels[name]!
}

const scaleName = (s: MmaScale) => `${s.format}/${s.block}`

/**
 * Choose operands for the model `name`: formats `a` and `b` (default: the model's first), block scales `scale` (default: the model's first).
 * Throws UsageError when the model does not take them.
 */
export function mmaConfig(name: string, options: { a?: FormatName, b?: FormatName, scale?: MmaScale | null } = {}): MmaConfig {
  const model = mmaModel(name)
  const a = options.a ?? model.formats[0]!
  const b = options.b ?? a
  for (const [side, f] of [['A', a], ['B', b]] as const) {
    if (!model.formats.includes(f)) throw new UsageError(`${name} does not take ${f} as operand ${side}: use one of ${model.formats.join(', ')}`)
  }
  const wanted = options.scale ?? model.scales[0] ?? null
  const scale = wanted && model.scales.find(s => s.format === wanted.format && s.block === wanted.block)
  if (wanted && !scale) throw new UsageError(`${name} does not take scales ${scaleName(wanted)}: ${model.scales.length ? `use one of ${model.scales.map(scaleName).join(', ')}` : 'it is an unscaled instruction'}`)
  const fp6 = [a, b].some(f => f === 'e3m2' || f === 'e2m3')
  return { model, a, b, scale: scale ?? null, confidence: fp6 ? 'unverified' : model.confidence }
}

/** Architectures: every model's name begins with one. */
export const mmaFamilies = [...new Set(Object.keys(mmaModels).map(name => name.split('-')[0]!))]

/**
 * As mmaConfig, but `name` may also be an architecture (`hopper`): then its first model with an FP32 accumulator that takes these operands, K = 64 before K = 32
 * for FP4. Throws UsageError when there is none.
 */
export function resolveMma(name: string, operands: { a: FormatName, b: FormatName, scale?: MmaScale | null }): MmaConfig {
  if (!mmaFamilies.includes(name)) return mmaConfig(name, operands)
  const scale = operands.scale ?? null
  const fits = Object.values(mmaModels).filter(m => m.name.startsWith(`${name}-`) && m.accumulator === 'f32' && m.formats.includes(operands.a) && m.formats.includes(operands.b)
    && (scale ? m.scales.some(s => s.format === scale.format && s.block === scale.block) : !m.scales.length))
  const model = fits.find(m => m.algorithm === 'gst-fdpa') ?? fits[0]
  if (!model) throw new UsageError(`${name} has no modelled unit for ${operands.a} times ${operands.b}${scale ? ` with scales ${scaleName(scale)}` : ''}: its models are ${Object.keys(mmaModels).filter(m => m.startsWith(`${name}-`)).join(', ')}`)
  return mmaConfig(model.name, operands)
}

/** Bits that one code of `format` occupies in an operand array. */
export const codeBits = (format: FormatName): 8 | 16 | 32 => format === 'tf32' ? 32 : format === 'fp16' || format === 'bf16' ? 16 : 8
