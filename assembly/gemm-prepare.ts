// Operands on their way into a product: rounded to bf16, quantized and packed (gemm-packed.ts says how) chunk by chunk, each chunk in the first-level cache
// from the read to the write, so that quantization costs no pass over memory of its own and the product none for packing.
import { AWAY, Away, EVEN, Even, None, rounded } from './bf16'
import { bytes } from './gemm-driver'
import { read } from './gemm-exact'
import { pack } from './gemm-pack'
import { header, rowsBefore } from './gemm-packed'
import { add_words, clear_words, GROUP, is_known, merge_words, quantize_group, start_words } from './gemm-quantize'
import { loadPart, storePart } from './lanes'
import { fake_quantize_columns } from './quantize-columns'
import { fake_quantize_rows } from './quantize-rows'
import { prepare } from './quantizer'
import { scratch } from './scratch'

/** Rows and columns of the register tile that will read the panels. */
let tileRows: i32 = 4, tileColumns: i32 = 8

/** Tell this instance the register tile of the executor's gemm_packed_f32. Called once, before any kernel. */
export function set_pack_shape(rows: i32, columns: i32): void {
  tileRows = rows
  tileColumns = columns
}

/** Where a chunk waits in the scratch area: beyond what the quantizers and gemm-quantize.ts use. */
const WIDE_AT: usize = 2 << 20
/** Lanes at a time, where they are rows of the source and where they are columns: multiples of every tile's rows and columns, and of 8. */
const FEW: i32 = 64, MANY: i32 = 128
/** The same where lanes that are rows are quantized in groups: so few that an engine's caches follow their runs. */
const FEW_ROWS: i32 = 32

/** Lanes at a time: at most `most`, a multiple of W and, if possible, of 8. */
function group(most: i32, W: i32): i32 {
  const eight = most & -8
  for (let n = eight; n > eight / 2; n -= 8) if (n % W == 0) return n
  return most - most % W
}

/** The largest multiple of `unit` up to `most`; `unit` if there is none. */
function whole(most: i32, unit: i32): i32 { return max(most / unit, 1) * unit }

/** The least common multiple of W and a power of two. */
function leastCommon(W: i32, power: i32): i32 { return W * power / min(power, W & -W) }

/** to [rows, n], dense, = from, whose rows are `stride` bytes apart, each element rounded. */
function copyRounded<R>(to: usize, from: usize, stride: usize, rows: i32, n: i32): void {
  for (let r = 0; r < rows; r++, to += bytes(n, 1), from += stride) {
    let i = 0
    for (; i + 8 <= n; i += 8) {
      const x = rounded<R>(v128.load(from + bytes(i, 1))), y = rounded<R>(v128.load(from + bytes(i, 1), 16))
      v128.store(to + bytes(i, 1), x)
      v128.store(to + bytes(i, 1), y, 16)
    }
    for (; i + 4 <= n; i += 4) v128.store(to + bytes(i, 1), rounded<R>(v128.load(from + bytes(i, 1))))
    if (i < n) storePart(to + bytes(i, 1), rounded<R>(loadPart(from + bytes(i, 1), n - i)), n - i)
  }
}

function copyChunk(from: usize, stride: usize, rows: i32, n: i32, rounding: i32): void {
  const to = scratch + WIDE_AT
  if (rounding == AWAY) copyRounded<Away>(to, from, stride, rows, n)
  else if (rounding == EVEN) copyRounded<Even>(to, from, stride, rows, n)
  else copyRounded<None>(to, from, stride, rows, n)
}

/** `count` lanes from `first` on, of one chunk of n k's, quantized in groups of lanes (gemm-quantize.ts). */
function quantizedLanes(
  panels: usize, W: i32, panel: usize, src: usize, stride: i32, along: bool, first: i32, count: i32, k: i32, n: i32, rounding: i32, block: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32,
): void {
  const lane = along ? bytes(stride, 1) : 4, step = along ? 4 : bytes(stride, 1), to = panels + <usize>(first / W) * panel
  for (let i = k; i < k + n; i += block) quantize_group(to + bytes(i, W), W, panel, src + <usize>first * lane + <usize>i * step, lane, step, min(block, k + n - i), count, rounding, man, emin, emax, max, choices)
}

/** The same by way of the quantizers for whole tensors, which take every choice; without a quantizer if `block` is 0. */
function anyChunk(
  packed: usize, W: i32, panel: usize, src: usize, stride: i32, lanes: i32, along: bool, k: i32, n: i32, rounding: i32, block: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32,
): void {
  const step = group(along ? FEW : MANY, W), at = scratch + WIDE_AT, blocks = block ? (n + block - 1) / block : 0
  for (let lane = 0; lane < lanes; lane += step) {
    const count = min(step, lanes - lane), to = packed + <usize>(lane / W) * panel + bytes(k, W)
    if (along) {
      copyChunk(src + bytes(lane, stride) + bytes(k, 1), bytes(stride, 1), count, n, rounding)
      if (block) fake_quantize_rows(at, at, n, block, man, emin, emax, max, choices, 0, count * blocks)
      read(at, at + bytes(count, n))
      pack(to, W, panel, at, bytes(n, 1), 4, count, n)
    } else {
      copyChunk(src + bytes(k, stride) + bytes(lane, 1), bytes(stride, 1), n, count, rounding)
      if (block) fake_quantize_columns(at, at, n, count, block, MANY, man, emin, emax, max, choices, 0, blocks)
      read(at, at + bytes(count, n))
      pack(to, W, panel, at, 4, bytes(count, 1), count, n)
    }
    add_words()
  }
}

/** `lanes` lanes of a matrix whose rows are `stride` elements long: chunks [begin, end) of them. Other parameters as gemm_pack_f32. */
function packLanes(
  packed: usize, W: i32, src: usize, stride: i32, lanes: i32, K: i32, along: i32, chunk: i32, rounding: i32, block: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, begin: i32, end: i32,
): void {
  const panel = bytes(K, W), panels = packed + header(K, chunk)
  for (let item = begin; item < end; item++) clear_words(packed + (<usize>item << 4))
  if (block != 0 && is_known()) {
    // Source rows are read in long runs: few lanes and all of k, or many lanes of one chunk after the other.
    const step = whole(along ? FEW_ROWS : GROUP, leastCommon(W, 8)), outer = along ? lanes : (end - begin) * chunk, inner = along ? (end - begin) * chunk : lanes
    for (let i = 0; i < outer; i += along ? step : chunk) for (let j = 0; j < inner; j += along ? chunk : step) {
      const k = begin * chunk + (along ? j : i), first = along ? i : j
      start_words()
      quantizedLanes(panels, W, panel, src, stride, along != 0, first, min(step, lanes - first), k, min(chunk, K - k), rounding, block, man, emin, emax, max, choices)
      merge_words(packed + (<usize>(k / chunk) << 4))
    }
    return
  }
  for (let item = begin; item < end; item++) {
    const k = item * chunk
    start_words()
    anyChunk(panels, W, panel, src, stride, lanes, along != 0, k, min(chunk, K - k), rounding, block, man, emin, emax, max, choices)
    merge_words(packed + (<usize>item << 4))
  }
}

/**
 * packed = MX(Q(src)) as the operand `side` (0: rows of A, 1: columns of B) of gemm_packed_f32. src is [lanes, K] if `along`, else [K, lanes]. Q rounds to bf16
 * as `rounding` says (bf16.ts); MX quantizes blocks of `block` (0: not at all) along k, as fake_quantize_rows does. `chunk`: a multiple of `block`, at
 * most 256. Items: chunks of k.
 */
export function gemm_pack_f32(
  packed: usize, side: i32, src: usize, lanes: i32, K: i32, along: i32, chunk: i32, rounding: i32, block: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, begin: i32, end: i32,
): void {
  prepare(man, emin, emax, max, choices)
  packLanes(packed, side ? tileColumns : tileRows, src, along ? K : lanes, lanes, K, along, chunk, rounding, block, man, emin, emax, max, choices, begin, end)
}

/**
 * The rows of A that each item has in turn `turn` of `turns`, packed for gemm_packed_turn_f32, each item's `slot` words from the one before; other parameters as
 * gemm_pack_f32. Items: `shares` shares of the turn's rows.
 */
export function gemm_pack_turn_f32(
  packed: usize, slot: i32, src: usize, M: i32, K: i32, along: i32, chunk: i32, rounding: i32, block: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32,
  turn: i32, turns: i32, shares: i32, begin: i32, end: i32,
): void {
  prepare(man, emin, emax, max, choices)
  for (let item = begin; item < end; item++) {
    const first = rowsBefore(item, turn, turns, shares, M, tileRows), last = rowsBefore(item, turn + 1, turns, shares, M, tileRows)
    packLanes(packed + bytes(item, slot), tileRows, src + bytes(first, along ? K : 1), along ? K : M, last - first, K, along, chunk, rounding, block, man, emin, emax, max, choices, 0, (K + chunk - 1) / chunk)
  }
}
