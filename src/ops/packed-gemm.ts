// Matrix products whose operands are rounded, quantized and packed in one pass, and whose output is rounded as it is written:
//   c[M,N] = Q(MX(Qa a) MX(Qb b)), or with a bias Q(Q(...) + Q bias)
// The same bits as roundElements, fakeQuantize, gemm and addRow one after the other, without their passes over memory (assembly/gemm-prepare.ts, gemm-packed.ts).
import { UsageError } from '../errors.ts'
import type { BlockQuantizer, ElementRounding } from '../numerics/quantizer.ts'
import { size, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import { PANEL, productGrain } from './gemm.ts'
import { around, quantizerChoices, WORTH } from './quantize.ts'
import { fusedCode } from './rounding.ts'

/** One operand: MX(Q(src)) with blocks along `axis`, the axis that the product sums over: the last one, or the last but one. */
export interface PreparedOperand {
  readonly src: Tensor
  readonly axis: number
  readonly quantizer: BlockQuantizer | null
  readonly round: ElementRounding | null
}

/** Lanes (rows of A, columns of B) and length K of an operand as a matrix; a batch before the last two axes lengthens the last but one. */
function lanesOf({ src: { shape }, axis }: PreparedOperand): { lanes: number, K: number, along: boolean } {
  const last = shape.at(-1)!, others = size(shape) / last, along = axis === shape.length - 1
  return along ? { lanes: others, K: last, along } : { lanes: last, K: others, along }
}

/** Most elements of k in a chunk: what assembly/gemm-prepare.ts has scratch for. */
const CHUNK = 256

const blockOf = (o: PreparedOperand): number => o.quantizer?.blockSize ?? 1

/** k per item: whole blocks of both operands, at least 32. Null where there is no such number. */
function chunkOf(a: PreparedOperand, b: PreparedOperand): number | null {
  const [x, y] = [blockOf(a), blockOf(b)], block = x % y === 0 ? x : y % x === 0 ? y : 0
  if (block < 1 || block > CHUNK) return null
  return block * Math.ceil(Math.min(32, CHUNK - block + 1) / block)
}

function packable(o: PreparedOperand): boolean {
  const { src: { shape }, axis, quantizer: q } = o
  if (fusedCode(o.round) === null || shape.length < 2 || axis < shape.length - 2 || size(shape) === 0) return false
  if (!q) return true
  // Blocks end with the sequence of each batch element.
  if (around(shape, axis)[0] > 1 && axis === shape.length - 2 && shape[axis]! % q.blockSize !== 0) return false
  return q.rounding !== 'stochastic' && q.bump !== 'as-released'
}

/** Can the product run this way? Not with roundings other than the fused ones, stochastic rounding, the bump as released, or blocks that are not whole. */
export const canPrepare = (a: PreparedOperand, b: PreparedOperand, round: ElementRounding | null): boolean => packable(a) && packable(b) && fusedCode(round) !== null && chunkOf(a, b) !== null

/** Words of a packed operand: 16 bytes a chunk of k, up to a cache line, then the panels, the last of which may be up to 32 lanes wide. */
const packedWords = ({ lanes, K }: { lanes: number, K: number }, chunk: number): number => Math.ceil(Math.ceil(K / chunk) / 4) * 16 + Math.ceil((lanes + 32) * K / 16) * 16

/**
 * Where a program's packed operands wait, from the one call to the next: as large as the largest pair so far. (Temporaries of each product's own would be of
 * many sizes, and memory would fall to pieces.)
 */
const rooms = new WeakMap<Program, Tensor>()

function room(p: Program, words: number): number {
  const known = rooms.get(p)
  if (known && size(known.shape) >= words) return known.ptr
  if (known) p.free(known)
  const t = p.temp(words)
  rooms.set(p, t)
  return t.ptr
}

function prepare(p: Program, o: PreparedOperand, side: 'a' | 'b', chunk: number, packed: number): void {
  const { lanes, K, along } = lanesOf(o), { quantizer: q } = o
  p.emit(
    'gemm_pack_f32', [packed, side === 'a' ? 0 : 1, o.src.ptr, lanes, K, along ? 1 : 0, chunk, fusedCode(o.round)!, q?.blockSize ?? 0, ...q ? quantizerChoices(q) : [0, 0, 0, 0, 0] as const],
    Math.ceil(K / chunk), Math.max(1, Math.ceil(WORTH / (lanes * chunk))), { bytes: 8 * lanes * K },
  )
}

/** Rows of C that go together at least: a multiple of the rows of every register tile (4, 5, 6 and 8). */
const ROWS = 120
/** Items worth having, for many threads. */
const ITEMS = 64

/** Emit c [M, N] = Q(MX(Q a) MX(Q b)) (+ bias [N], see above) with Q = `round` on the output. Throws UsageError when shapes disagree or canPrepare() says no. */
export function preparedGemm(p: Program, { a, b, c, bias = null, round }: { a: PreparedOperand, b: PreparedOperand, c: Tensor, bias?: Tensor | null, round: ElementRounding | null }): void {
  if (!canPrepare(a, b, round)) throw new UsageError('preparedGemm: these operands cannot be prepared (canPrepare)')
  const [M, N] = c.shape as [number, number], { lanes: rows, K } = lanesOf(a), { lanes: columns, K: bK } = lanesOf(b)
  if (rows !== M || columns !== N || K !== bK) throw new UsageError(`preparedGemm: operands of ${rows} x ${K} and ${bK} x ${columns} do not give c [${c.shape}]`)
  if (bias && size(bias.shape) !== N) throw new UsageError(`preparedGemm: bias has shape [${bias.shape}], must have ${N} elements`)
  const chunk = chunkOf(a, b)!, panels = Math.ceil(N / PANEL)
  const blockRows = ROWS * Math.ceil(M / ROWS / Math.ceil(ITEMS / panels)), blocks = Math.ceil(M / blockRows)
  const [x, y] = [packedWords({ lanes: rows, K }, chunk), packedWords({ lanes: columns, K }, chunk)], first = room(p, x + y), second = first + 4 * x
  p.nowait(() => {
    prepare(p, a, 'a', chunk, first)
    prepare(p, b, 'b', chunk, second)
  })
  p.emit('gemm_packed_f32', [first, second, c.ptr, N, M, N, K, chunk, blockRows, bias?.ptr ?? 0, fusedCode(round)!], panels * blocks, productGrain(PANEL * Math.min(M, blockRows) * K), { flops: 2 * M * N * K })
}
