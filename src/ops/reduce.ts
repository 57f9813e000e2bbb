// Reductions. Whole-tensor sums are taken in f64 over chunks of fixed size whose results are added in index order (assembly/reduce.ts), so they do not
// depend on the number of threads. An f64 result of k numbers is a Tensor of shape [2 k]; read it with readF64.
import { UsageError } from '../errors.ts'
import type { ElementRounding } from '../numerics/quantizer.ts'
import { size, type Arena, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import { roundElements } from './quantize.ts'
import { chainCode, fusedCode } from './rounding.ts'
import { hasSize, matrixShape, sameSize } from './shapes.ts'

/** Elements per chunk: CHUNK in assembly/reduce.ts. */
export const CHUNK = 4096
const chunks = (n: number): number => Math.ceil(n / CHUNK)

/** The f64 numbers that a reduction left in `out`, copied. */
export const readF64 = (arena: Arena, out: Tensor): Float64Array => new Float64Array(arena.memory.buffer, out.ptr, size(out.shape) / 2).slice()

/** Combine `count` rows of `width` f64 partials into out; bit j of `maxima`: largest instead of sum. */
export function combine(p: Program, partials: Tensor, count: number, width: number, out: Tensor, { maxima = 0, divisor = 1 } = {}): void {
  hasSize('combine', 'out', out, 2 * width)
  p.emit('combine_f64', [partials.ptr, count, width, maxima, divisor, out.ptr], width, width)
}

function reduction(p: Program, n: number, width: number, out: Tensor, emit: (partials: Tensor, items: number) => void, options = {}): void {
  if (n === 0) throw new UsageError('reduction of an empty tensor')
  const count = chunks(n), partials = p.temp(count, 2 * width)
  emit(partials, count)
  combine(p, partials, count, width, out, options)
  p.free(partials)
}

/** out (f64 x 3, shape [6]) = sum, sum of squares, largest magnitude of x. Mean = sum / n; population variance = squares / n - mean^2. */
export function moments(p: Program, x: Tensor, out: Tensor): void {
  const n = size(x.shape)
  reduction(p, n, 3, out, (partials, items) => p.emit('moments_f32', [x.ptr, n, partials.ptr], items, 4, { bytes: 4 * n }), { maxima: 0b100 })
}

/** out (f64 x 6, shape [12]) = sum a, sum b, a·a, b·b, a·b, |a - b|^2. */
export function comparison(p: Program, a: Tensor, b: Tensor, out: Tensor): void {
  const n = sameSize('comparison', { a, b })
  reduction(p, n, 6, out, (partials, items) => p.emit('comparison_f32', [a.ptr, b.ptr, n, partials.ptr], items, 4, { bytes: 8 * n }))
}

/** out (f64, shape [2]) = how many elements lie from the first Inf or NaN of x to its end: 0 if all are finite, else that element's index is n - out. */
export function finiteCheck(p: Program, x: Tensor, out: Tensor): void {
  const n = size(x.shape)
  reduction(p, n, 1, out, (partials, items) => p.emit('first_non_finite_f32', [x.ptr, n, partials.ptr], items, 4, { bytes: 4 * n }), { maxima: 1 })
}

/**
 * Last-bucket occupancy of x, flattened into blocks: out (f64 x 2, shape [4]) = elements with |x| > ratio 2^floor(log2 blockmax), blocks that hold one.
 * ratio = format.max / 2^format.emax, e.g. 1.75 for E4M3: what an MX quantizer with the floor rule clips or maps to its largest code.
 */
export function overflowCount(p: Program, x: Tensor, out: Tensor, { blockSize, ratio }: { blockSize: number, ratio: number }): void {
  const n = size(x.shape), blocksPerItem = Math.max(1, Math.floor(CHUNK / blockSize)), count = Math.ceil(n / (blocksPerItem * blockSize))
  if (!Number.isInteger(blockSize) || blockSize < 1) throw new UsageError(`overflowCount: blockSize must be a positive integer, got ${blockSize}`)
  const partials = p.temp(count, 4)
  p.emit('overflow_f32', [x.ptr, n, blockSize, blocksPerItem, ratio, partials.ptr], count, 4, { bytes: 4 * n })
  combine(p, partials, count, 2, out)
  p.free(partials)
}

/**
 * out [C] = Q(column sums of Q1(x [R, C])): each one sequential f32 sum over the rows from +0, rounded once by Q = `round`; Q1 = `roundInput`. The gradient of a bias.
 */
export function columnSum(p: Program, x: Tensor, out: Tensor, round: ElementRounding | null = null, roundInput: ElementRounding | null = null): void {
  const [rows, columns] = matrixShape(x)
  hasSize('columnSum', 'out', out, columns)
  const code = fusedCode(round), input = fusedCode(roundInput)
  if (input === null) {
    const rounded = p.temp(...x.shape)
    roundElements(p, x, rounded, roundInput!)
    columnSum(p, rounded, out, round)
    return p.free(rounded)
  }
  p.emit('column_sum_f32', [x.ptr, out.ptr, rows, columns, input, code ?? chainCode.none], columns, Math.max(16, Math.ceil(16384 / rows / 16) * 16), { bytes: 4 * rows * columns })
  if (round && code === null) roundElements(p, out, out, round)
}
