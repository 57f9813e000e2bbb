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

/** The arguments of a packing kernel from `src` on. */
function source(o: PreparedOperand, chunk: number) {
  const { lanes, K, along } = lanesOf(o), { quantizer: q } = o
  return [o.src.ptr, lanes, K, along ? 1 : 0, chunk, fusedCode(o.round)!, q?.blockSize ?? 0, ...q ? quantizerChoices(q) : [0, 0, 0, 0, 0] as const] as const
}

function prepare(p: Program, o: PreparedOperand, side: 'a' | 'b', chunk: number, packed: number): void {
  const { lanes, K } = lanesOf(o)
  p.emit('gemm_pack_f32', [packed, side === 'a' ? 0 : 1, ...source(o, chunk)], Math.ceil(K / chunk), Math.max(1, Math.ceil(WORTH / (lanes * chunk))), { bytes: 8 * lanes * K })
}

/** Elements of A from which on it is packed in turns, and what a turn of one thread has: rows that its second-level cache holds while all of B passes. */
const LARGE = 1 << 18, TURN_ROWS = { least: 48, most: 96 }

/** Turns for A [M, K]: 0 where it is packed whole, because it is small or the threads are many. */
function turnsOf(M: number, K: number, threads: number): number {
  if (M * K <= LARGE * threads) return 0
  return Math.ceil(M / threads / Math.min(TURN_ROWS.most, Math.max(TURN_ROWS.least, Math.floor(LARGE / K))))
}

/** Rows of C that go together at least: a multiple of the rows of every register tile (4, 5, 6 and 8). */
const ROWS = 120
/** Items worth having, for many threads. */
const ITEMS = 64

export interface PreparedGemm {
  readonly a: PreparedOperand
  readonly b: PreparedOperand
  /** [M, N] */
  readonly c: Tensor
  /** [N], or null for none. */
  readonly bias?: Tensor | null
  /** Q of the output. */
  readonly round: ElementRounding | null
  /** A is packed and used in so many turns, all of it at once if 0. Default: as its size asks for. No result depends on it. */
  readonly turns?: number
}

/** Emit c [M, N] = Q(MX(Q a) MX(Q b)) (+ bias [N], see above) with Q = `round` on the output. Throws UsageError when shapes disagree or canPrepare() says no. */
export function preparedGemm(p: Program, io: PreparedGemm): void {
  const { a, b, c, bias, round } = io
  if (!canPrepare(a, b, round)) throw new UsageError('preparedGemm: these operands cannot be prepared (canPrepare)')
  const [M, N] = c.shape as [number, number], { lanes: rows, K } = lanesOf(a), { lanes: columns, K: bK } = lanesOf(b)
  if (rows !== M || columns !== N || K !== bK) throw new UsageError(`preparedGemm: operands of ${rows} x ${K} and ${bK} x ${columns} do not give c [${c.shape}]`)
  if (bias && size(bias.shape) !== N) throw new UsageError(`preparedGemm: bias has shape [${bias.shape}], must have ${N} elements`)
  const chunk = chunkOf(a, b)!, { threads } = p.arena, { turns = turnsOf(M, K, threads) } = io
  if (turns) inTurns(p, io, chunk, turns, threads)
  else atOnce(p, io, chunk)
}

function atOnce(p: Program, { a, b, c, bias, round }: PreparedGemm, chunk: number): void {
  const [M, N] = c.shape as [number, number], { K } = lanesOf(a), panels = Math.ceil(N / PANEL)
  const blockRows = ROWS * Math.ceil(M / ROWS / Math.ceil(ITEMS / panels)), blocks = Math.ceil(M / blockRows)
  const [x, y] = [packedWords(lanesOf(a), chunk), packedWords(lanesOf(b), chunk)], first = room(p, x + y), second = first + 4 * x
  p.nowait(() => {
    prepare(p, a, 'a', chunk, first)
    prepare(p, b, 'b', chunk, second)
  })
  p.emit('gemm_packed_f32', [first, second, c.ptr, N, M, N, K, chunk, blockRows, bias?.ptr ?? 0, fusedCode(round)!], panels * blocks, productGrain(PANEL * Math.min(M, blockRows) * K), { flops: 2 * M * N * K })
}

/** B is packed by all threads; then each packs some rows of A, multiplies them with all of B while they are in its cache, and so on, waiting for nobody. */
function inTurns(p: Program, { a, b, c, bias, round }: PreparedGemm, chunk: number, turns: number, shares: number): void {
  const [M, N] = c.shape as [number, number], { K } = lanesOf(a)
  // An item has whole tiles, of up to 8 rows.
  const slot = packedWords({ lanes: Math.ceil(M / (turns * shares)) + 8, K }, chunk), first = room(p, shares * slot + packedWords(lanesOf(b), chunk)), second = first + 4 * shares * slot
  prepare(p, b, 'b', chunk, second)
  p.nowait(() => {
    for (let turn = 0; turn < turns; turn++) {
      p.emit('gemm_pack_turn_f32', [first, slot, ...source(a, chunk), turn, turns, shares], shares, 1, { bytes: 8 * M * K / turns })
      p.emit('gemm_packed_turn_f32', [first, slot, second, c.ptr, N, M, N, K, chunk, bias?.ptr ?? 0, fusedCode(round)!, turn, turns, shares], shares, 1, { flops: 2 * M * N * K / turns })
    }
  })
}
