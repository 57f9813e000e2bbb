// Matrix products on a modelled matrix unit (src/numerics/mma.ts): D[M,N] = A[M,K] B[N,K]^T + C, operands as codes and scale bytes, accumulators as bits.
// Two stages: decode each operand once, then chain the unit's steps over a range of k. The bits are those of src/oracle/mma.ts.
import { UsageError } from '../errors.ts'
import { formats, type FloatFormat } from '../numerics/formats.ts'
import { codeBits, type MmaConfig } from '../numerics/mma.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'

/** The order of the constants in assembly/mma-operand.ts and assembly/mma-round.ts. */
const specialsCode = { 'ieee': 0, 'nan-only': 1, 'none': 2, 'fnuz': 3 } as const
const roundings = ['rz-f32', 'rz-e8m13', 'rne-f16', 'rne-f32'] as const

/** An operand in core memory, row-major [rows, K]. */
export interface MmaCodes {
  /** Byte offset of the codes, one per 1, 2 or 4 bytes (codeBits), or two E2M1 codes in a byte. */
  readonly ptr: number
  readonly rows: number
  readonly K: number
  /** Byte offset of the scale bytes [rows, ceil(K / block)]; needed by scaled units. */
  readonly scales?: number
  /** FP4 units: two codes in a byte, the even k in the low half. K is even. */
  readonly nibbles?: boolean
}

/** An operand as the kernels read it. */
export interface MmaOperand {
  readonly codes: MmaCodes
  /** K in whole steps. */
  readonly steps: number
  /** Of the straightforward kernels: decoded elements, scales (FP4), flags of the steps that hold Inf or NaN. */
  readonly plain: { readonly data: Tensor, readonly scales: Tensor | null, readonly flags: Tensor } | null
  /** Of the quick ones: panels. */
  readonly packed: Tensor | null
}

/** Rows of a panel of either operand of the quick kernels (assembly/mma-fp4.ts, assembly/mma-sums.ts), and rows of their items. */
const PANEL = { a: 4, b: 16 } as const
const BLOCK_ROWS = 64

/** Whether assembly/mma-sums.ts computes this unit. */
const quickSums = ({ algorithm, rounding }: MmaConfig['model']): boolean => (algorithm === 't-fdpa' || algorithm === 'st-fdpa') && rounding === 'rz-f32'

/** Whether its sums are computed in integers: elements of eight bits or less. */
const inIntegers = (config: MmaConfig): boolean => ([config.a, config.b] as const).every(f => (formats[f] as FloatFormat).bits <= 8)

/** Bytes as a buffer of the program. */
const bytes = (p: Program, n: number): Tensor => p.temp(Math.ceil(n / 4))

/** Work worth waking a thread for, in decoded elements or multiply-adds. */
const GRAIN = 1 << 14
const grainOf = (perItem: number) => Math.max(1, Math.ceil(GRAIN / Math.max(perItem, 1)))

/**
 * Emit the decoding of operand `side` of `config`. Throws UsageError if scales are missing. The result's buffers come from p.temp (see freeOperand).
 * `plain`: for the straightforward kernel even where there is a quick one (same bits).
 */
export function decodeOperand(p: Program, config: MmaConfig, side: 'a' | 'b', codes: MmaCodes, plain = false): MmaOperand {
  const { model, scale } = config
  const { ptr, rows, K, scales = 0, nibbles = false } = codes
  if (scale && codes.scales === undefined) throw new UsageError(`${model.name}: operand ${side.toUpperCase()} needs scales (${scale.format}, one per ${scale.block})`)
  const steps = Math.ceil(K / model.length), stride = steps * model.length
  if (model.algorithm === 'gst-fdpa') {
    const kind = scale!.format === 'ue4m3' ? 1 : 0
    if (!plain && model.fraction === 35) { // as assembly/mma-fp4.ts has it
      const width = PANEL[side], panels = Math.ceil(rows / width)
      const packed = bytes(p, panels * steps * (192 * width + 64)) // panelBytes of assembly/mma-fp4-pack.ts
      p.emit('mma_pack_fp4', [packed.ptr, ptr, nibbles ? 1 : 0, scales, rows, K, scale!.block, kind, width], panels, grainOf(K * width))
      return { codes, steps, plain: null, packed }
    }
    const data = bytes(p, rows * stride), scaleWords = p.temp(rows, stride / 16), flags = bytes(p, rows * steps)
    p.emit('mma_decode_groups', [data.ptr, scaleWords.ptr, flags.ptr, ptr, nibbles ? 1 : 0, scales, K, stride, scale!.block, kind], rows, grainOf(K))
    return { codes, steps, plain: { data, scales: scaleWords, flags }, packed: null }
  }
  if (nibbles) throw new UsageError(`${model.name}: operand ${side.toUpperCase()} must have one code per byte`)
  const format = formats[config[side]] as FloatFormat
  const data = p.temp(rows, stride), flags = bytes(p, rows * steps)
  p.emit('mma_decode', [data.ptr, flags.ptr, ptr, scale ? scales : 0, K, stride, model.length, scale?.block ?? model.length, model.algorithm === 'split-fp8' ? 1 : 0,
    codeBits(config[side]) / 8, format.expBits, format.manBits, format.bias, specialsCode[format.specials]], rows, grainOf(K))
  let packed: Tensor | null = null
  if (!plain && quickSums(model)) {
    const width = PANEL[side], panels = Math.ceil(rows / width), L = model.length, integers = inIntegers(config)
    packed = bytes(p, panels * steps * (((integers ? 6 : 8) * L + 16) * width + 2 * Math.max(L, 8) + 16)) // hotBytes and coldBytes of assembly/mma-sums-pack.ts
    p.emit('mma_pack_sums', [packed.ptr, data.ptr, flags.ptr, rows, stride, L, format.manBits, width, integers ? 1 : 0], panels, grainOf(K * width))
  }
  return { codes, steps, plain: { data, scales: null, flags }, packed }
}

/** Hand an operand's buffers back: the calls emitted so far are the last to use them. */
export function freeOperand(p: Program, { plain, packed }: MmaOperand): void {
  for (const t of [plain?.data, plain?.scales, plain?.flags, packed]) if (t) p.free(t)
}

/**
 * Emit d = chain of the unit's steps `from`..`to` (default all) from c. c and d are [M, N], one u32 word per accumulator (FP16 in the low half); c may be d;
 * without c the chain starts from +0. The algorithms are those of arXiv 2511.10909, numbered in src/numerics/mma.ts. Throws UsageError when the operands disagree in K, or in
 * `plain` (decodeOperand) where that matters.
 */
export function mma(p: Program, config: MmaConfig, a: MmaOperand, b: MmaOperand, d: Tensor, options: { c?: Tensor, from?: number, to?: number } = {}): void {
  const { model } = config
  if (a.codes.K !== b.codes.K) throw new UsageError(`mma: a has K = ${a.codes.K}, b has K = ${b.codes.K}`)
  const { c, from = 0, to = a.steps } = options
  const M = a.codes.rows, N = b.codes.rows, K = a.codes.K, L = model.length, stride = a.steps * L, steps = to - from
  const point = (['a', 'b'] as const).reduce((sum, side) => sum + (formats[config[side]] as FloatFormat).manBits, 0)
  if (a.packed && b.packed) {
    const blocks = Math.ceil(M / BLOCK_ROWS) * Math.ceil(N / PANEL.b), grain = grainOf(BLOCK_ROWS * PANEL.b * steps * L), first = [d.ptr, c?.ptr ?? 0, a.packed.ptr, b.packed.ptr] as const
    if (a.plain && b.plain) {
      p.emit('mma_sums', [...first, a.plain.data.ptr, a.plain.flags.ptr, b.plain.data.ptr, b.plain.flags.ptr, M, N, stride, L, from, to, point, model.fraction, model.floor, inIntegers(config) ? 1 : 0], blocks, grain)
    } else {
      const { scale } = config, given = ({ ptr, nibbles, scales }: MmaCodes) => [ptr, nibbles ? 1 : 0, scales!] as const
      p.emit('mma_gst_fast', [...first, ...given(a.codes), ...given(b.codes), M, N, K, scale!.block, scale!.format === 'ue4m3' ? 1 : 0, from, to, model.floor], blocks, grain)
    }
    return
  }
  if (!a.plain || !b.plain) throw new UsageError('mma: one operand is decoded for the straightforward kernel, the other is not')
  const both = [a.plain, b.plain]
  const bytesPerCode = model.algorithm === 'gst-fdpa' ? 1 : 4
  const [x, y] = both.map(o => o.data.ptr + from * L * bytesPerCode) as [number, number]
  const [fx, fy] = both.map(o => o.flags.ptr + from) as [number, number]
  const rounding = roundings.indexOf(model.rounding)
  const grain = grainOf(N * steps * L)
  switch (model.algorithm) {
    case 't-fdpa': case 'st-fdpa':
      p.emit('mma_fdpa', [d.ptr, c?.ptr ?? 0, x, fx, y, fy, N, steps, L, stride, a.steps, point, model.fraction, model.floor, rounding], M, grain)
      break
    case 'gst-fdpa': {
      const [sx, sy] = both.map(o => o.scales!.ptr + from * L / 4) as [number, number]
      p.emit('mma_gst_fdpa', [d.ptr, c?.ptr ?? 0, x, sx, fx, y, sy, fy, N, steps, stride, a.steps, model.fraction, model.floor], M, grain)
      break
    }
    case 'split-fp8':
      p.emit('mma_split_fp8', [d.ptr, c?.ptr ?? 0, x, fx, y, fy, N, steps, stride, a.steps, point, model.fraction, model.floor, rounding], M, grain)
      break
    case 'e-fdpa':
      p.emit('mma_e_fdpa', [d.ptr, c?.ptr ?? 0, x, fx, y, fy, N, steps, L, stride, a.steps, point], M, grain)
      break
    case 'tr-fdpa': case 'gtr-fdpa':
      p.emit('mma_tr_fdpa', [d.ptr, c?.ptr ?? 0, x, fx, y, fy, N, steps, L, stride, a.steps, point, model.fraction, model.algorithm === 'gtr-fdpa' ? 1 : 0], M, grain)
      break
    case 'ftz-addmul':
      p.emit('mma_ftz_addmul', [d.ptr, c?.ptr ?? 0, x, y, N, steps, L, stride, point / 2], M, grain)
      break
  }
}
