// One product of a linear layer, C = Q(A B^T) or Q(Q(A B^T) + Q bias), from its operands as they are in memory: each is rounded, transformed and quantized along
// the axis that the product sums over, and the sums are the scheme's accumulator's (numerics/accumulation.ts).
//   operand   t = Q(src), or Q(H Q(src)) with a Hadamard transform (ops/hadamard.ts, which cancels in the product), then the quantizer
//   f32       the GEMM over dequantized values, in whatever layout they have; in most schemes one pass over each operand and one over C (ops/packed-gemm.ts)
//   others    operands as rows with k contiguous: codes and scale bytes, or values
import { UsageError } from '../errors.ts'
import type { Accumulation } from '../numerics/accumulation.ts'
import { castPolicies } from '../numerics/cast.ts'
import type { BlockQuantizer, ElementRounding } from '../numerics/quantizer.ts'
import { NVFP4_BLOCK, type Nvfp4Quantizer } from '../numerics/nvfp4.ts'
import { repeatRows, transpose, transposeBytes } from '../ops/arrange.ts'
import { blockGemm, integerBlocks } from '../ops/block-gemm.ts'
import { encodeElements, quantizeCodes, scaleShape, type Codes } from '../ops/codes.ts'
import { gemm } from '../ops/gemm.ts'
import { addRow } from '../ops/elementwise.ts'
import { hadamard } from '../ops/hadamard.ts'
import { accumulate } from '../ops/matmul.ts'
import type { MmaCodes } from '../ops/mma.ts'
import { canPrepare, preparedGemm, type PreparedOperand } from '../ops/packed-gemm.ts'
import { nvfp4ScaleShape, nvfp4TensorScale, quantizeNvfp4, rescaleNvfp4 } from '../ops/nvfp4.ts'
import { fakeQuantize, roundElements, type RandomSource } from '../ops/quantize.ts'
import { size, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import type { OperandQuantizer, RandomBits } from './precision.ts'

export interface Operand {
  readonly src: Tensor
  /** The axis that the product sums over: the last one (src is A, its rows contiguous), or the last but one, or axis 0 of a matrix (src is A^T). */
  readonly axis: number
  readonly quantizer: OperandQuantizer
  /** A scale covers a tile over both axes of a matrix, not a block along one. */
  readonly tiles?: boolean
  /** Elementwise rounding of src; null: none, or src holds rounded values. */
  readonly round?: ElementRounding | null
  /** Signs of a random Hadamard transform, and the rounding after it. */
  readonly signs?: Tensor | null
  readonly roundAfter?: ElementRounding | null
}

/** A tensor, and how to hand back what it took. */
interface Held<T> { readonly t: T, readonly release: () => void }

const matrix = (t: Tensor): Tensor => ({ ptr: t.ptr, shape: [size(t.shape) / t.shape.at(-1)!, t.shape.at(-1)!] })
const isLast = ({ src, axis }: Operand): boolean => axis === src.shape.length - 1
/** [rows, K] of an operand. */
const extents = (o: Operand): [number, number] => { const [rows, columns] = matrix(o.src).shape as [number, number]; return isLast(o) ? [rows, columns] : [columns, rows] }

/** Where a stochastic quantizer takes its bits: a stream of its own, numbered in order of emission. */
export const randomSource = (q: { readonly rounding: string }, random: RandomBits | null): RandomSource | undefined =>
  q.rounding === 'stochastic' && random ? { seed: random.seed, stream: random.stream++, stepPtr: random.stepPtr } : undefined

/** The quantizer's input: src itself where nothing is to be done and no copy is asked for. */
function prepared(p: Program, { src, axis, round = null, signs = null, roundAfter = null }: Operand, copy: boolean): Held<Tensor> & { readonly from: Tensor } {
  if (!copy && !round && !signs) return { t: src, from: src, release: () => {} }
  const t = p.temp(...src.shape)
  if (round) roundElements(p, src, t, round)
  if (signs) {
    hadamard(p, round ? t : src, t, axis, signs)
    if (roundAfter) roundElements(p, t, t, roundAfter)
  }
  return { t, from: round || signs ? t : src, release: () => p.free(t) }
}

/** Dequantized values in src's layout. */
function operandValues(p: Program, o: Operand, random: RandomBits | null): Held<Tensor> {
  const { quantizer: q, axis, tiles = false } = o, { t, from, release } = prepared(p, o, o.quantizer !== null), axes = tiles ? [0, 1] as const : axis
  if (q?.kind === 'element') roundElements(p, from, t, q)
  else if (q?.kind === 'nvfp4') {
    const scale = p.temp(1)
    nvfp4TensorScale(p, from, scale, q.recipe)
    quantizeNvfp4(p, from, { values: t }, axes, q, scale, randomSource(q, random))
    p.free(scale)
  } else if (q) fakeQuantize(p, from, t, axes, q, randomSource(q, random))
  return { t, release }
}

/** Values as rows with k contiguous. */
function valueRows(p: Program, o: Operand, random: RandomBits | null): Held<Tensor> {
  const { t, release } = operandValues(p, o, random)
  if (isLast(o)) return { t: matrix(t), release }
  const rows = p.temp(...extents(o))
  transpose(p, t, rows)
  release()
  return { t: rows, release: () => p.free(rows) }
}

/** Bytes of the program, as codes. */
const bytes = (p: Program, shape: readonly number[], width: 1 | 2 = 1): Held<Codes> => {
  const t = p.temp(Math.ceil(size(shape) * width / 4))
  return { t: { ptr: t.ptr, shape, width }, release: () => p.free(t) }
}

interface Coded extends Held<MmaCodes> {
  /** NVFP4's scale of the tensor. */
  readonly tensorScale: Tensor | null
}

/** Codes and scale bytes as rows with k contiguous. Throws UsageError where blocks would not line up in them. */
function codeRows(p: Program, o: Operand, random: RandomBits | null): Coded {
  const { axis, tiles = false } = o, q = o.quantizer as BlockQuantizer | Nvfp4Quantizer, [rows, K] = extents(o), last = isLast(o), { shape } = o.src
  const block = q.kind === 'nvfp4' ? NVFP4_BLOCK : q.blockSize, length = shape[axis]!
  if (length !== K && length % block !== 0) throw new UsageError(`a matrix unit that sums over ${K / length} sequences needs their length ${length} to be a multiple of the block size ${block}`)
  const { from, release } = prepared(p, o, false)
  const codes = bytes(p, shape), scales = bytes(p, q.kind === 'nvfp4' ? nvfp4ScaleShape(shape, tiles ? [0, 1] : axis) : scaleShape(shape, axis, block))
  const tensorScale = q.kind === 'nvfp4' ? p.temp(1) : null
  if (q.kind === 'nvfp4') {
    nvfp4TensorScale(p, from, tensorScale!, q.recipe)
    quantizeNvfp4(p, from, { codes: codes.t, scales: scales.t }, tiles ? [0, 1] : axis, q, tensorScale!, randomSource(q, random))
  } else quantizeCodes(p, from, codes.t, scales.t, axis, q, randomSource(q, random))
  release()
  const blocks = Math.ceil(K / block)
  const arranged = (held: Held<Codes>, inPlace: boolean, columns: number, emit: (to: number) => void): Held<Codes> => {
    if (inPlace) return held
    const to = bytes(p, [rows, columns])
    emit(to.t.ptr)
    held.release()
    return to
  }
  const byRow = arranged(codes, last, K, to => transposeBytes(p, codes.t.ptr, to, K, rows))
  const scaleRows = arranged(scales, last && !tiles, blocks, to => {
    const { ptr, shape } = scales.t
    if (!tiles) transposeBytes(p, ptr, to, blocks, rows)
    else if (last) repeatRows(p, ptr, to, blocks, block, rows)
    else transposeBytes(p, ptr, to, blocks, shape[1]!, { repeat: block, count: rows })
  })
  return {
    t: { ptr: byRow.t.ptr, rows, K, scales: scaleRows.t.ptr }, tensorScale,
    release: () => { byRow.release(); scaleRows.release(); if (tensorScale) p.free(tensorScale) },
  }
}

/** Operands of at most 8 significant bits have exact products (the GEMM checks). NVFP4 values have more. */
const products = (a: Operand, b: Operand, rounded: boolean) =>
  a.quantizer?.kind !== 'nvfp4' && b.quantizer?.kind !== 'nvfp4' && (rounded || (a.quantizer && b.quantizer)) ? 'exact' as const : 'rounded' as const

/** The operand for preparedGemm, if it is one: an elementwise quantizer is the rounding where there is no other. */
function preparable({ src, axis, quantizer: q, tiles = false, round = null, signs }: Operand): PreparedOperand | null {
  if (tiles || signs || q?.kind === 'nvfp4' || (q?.kind === 'element' && round)) return null
  return q?.kind === 'element' ? { src, axis, quantizer: null, round: q } : { src, axis, quantizer: q, round }
}

/**
 * Emit c [M, N] = Q(A B^T), or Q(Q(A B^T) + Q bias), Q = `round`; where it is not null, unquantized operands hold values it has rounded, or have it done to them. A's
 * buffers are taken before B's, and so are its random streams. Throws UsageError for operands that the accumulator does not take.
 */
export function product(p: Program, c: Tensor, a: Operand, b: Operand, accumulation: Accumulation, round: ElementRounding | null, random: RandomBits | null, bias: Tensor | null = null): void {
  if (accumulation.kind === 'f32' && products(a, b, round !== null) === 'exact') {
    const x = preparable(a), y = preparable(b)
    if (x && y && canPrepare(x, y, round)) return preparedGemm(p, { a: x, b: y, c, bias, round })
  }
  sums(p, c, a, b, accumulation, round !== null, random)
  if (round) roundElements(p, c, c, round)
  if (!bias) return
  if (!round) return addRow(p, c, bias, c, null)
  const rounded = p.temp(...bias.shape)
  roundElements(p, bias, rounded, round)
  addRow(p, c, rounded, c, round)
  p.free(rounded)
}

/** c = A B^T. `rounded`: unquantized operands hold bf16 values. */
function sums(p: Program, c: Tensor, a: Operand, b: Operand, accumulation: Accumulation, rounded: boolean, random: RandomBits | null): void {
  if (accumulation.kind === 'f32') {
    const x = operandValues(p, a, random), y = operandValues(p, b, random)
    gemm(p, { a: matrix(x.t), b: matrix(y.t), c, transA: !isLast(a), transB: isLast(b), products: products(a, b, rounded) })
    x.release()
    y.release()
    return
  }
  if (accumulation.kind === 'unit' && accumulation.operands === 'codes') {
    const x = codeRows(p, a, random), y = codeRows(p, b, random)
    accumulate(p, { accumulate: accumulation.unit, a: x.t, b: y.t }, c)
    if (a.quantizer?.kind === 'nvfp4') rescaleNvfp4(p, c, c, x.tensorScale!, y.tensorScale!, a.quantizer.recipe)
    x.release()
    y.release()
    return
  }
  const x = valueRows(p, a, random), y = valueRows(p, b, random)
  if (accumulation.kind === 'exact') accumulate(p, { accumulate: 'exact', a: x.t, b: y.t }, c)
  else if (accumulation.kind === 'block-exact') {
    const { blockSize } = a.quantizer as BlockQuantizer, [xs, ys] = [integerBlocks(p, x.t, blockSize), integerBlocks(p, y.t, blockSize)]
    blockGemm(p, { a: xs, b: ys, c })
    for (const t of [xs.elements, xs.scales, ys.elements, ys.scales]) p.free(t)
  } else {
    const [xs, ys] = [unitWords(p, accumulation.unit.a, x.t), unitWords(p, accumulation.unit.b, y.t)]
    accumulate(p, { accumulate: accumulation.unit, a: xs.t, b: ys.t }, c)
    xs.release()
    ys.release()
  }
  x.release()
  y.release()
}

/** Values as a bf16 or tf32 unit reads them. */
function unitWords(p: Program, format: string, x: Tensor): Held<MmaCodes> {
  const [rows, K] = x.shape as [number, number]
  if (format === 'tf32') return { t: { ptr: x.ptr, rows, K }, release: () => {} }
  const { t, release } = bytes(p, x.shape, 2)
  encodeElements(p, x, t, 'bf16', castPolicies.ml_dtypes)
  return { t: { ptr: t.ptr, rows, K }, release }
}
