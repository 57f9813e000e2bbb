// Operands on their way into a product: rounded to bf16, quantized and packed (gemm-packed.ts says how) chunk by chunk, each chunk in the first-level cache
// from the read to the write, so that quantization costs no pass over memory of its own and the product none for packing.
import { AWAY, Away, EVEN, Even, None, rounded } from './bf16'
import { bytes } from './gemm-driver'
import { bits, largest, read, smallest } from './gemm-exact'
import { pack } from './gemm-pack'
import { header } from './gemm-packed'
import { loadPart, storePart } from './lanes'
import { fake_quantize_columns } from './quantize-columns'
import { fake_quantize_rows } from './quantize-rows'
import { scratch } from './scratch'

/** Rows and columns of the register tile that will read the panels. */
let tileRows: i32 = 4, tileColumns: i32 = 8

/** Tell this instance the register tile of the executor's gemm_packed_f32. Called once, before any kernel. */
export function set_pack_shape(rows: i32, columns: i32): void {
  tileRows = rows
  tileColumns = columns
}

/** Where a chunk waits in the scratch area: beyond what the quantizers use. */
const CHUNK_AT: usize = 1 << 20
/** Lanes at a time, where they are rows of the source and where they are columns: multiples of every tile's rows and columns, and of 8. */
const FEW: i32 = 64, MANY: i32 = 128

/** Lanes at a time: at most `most`, a multiple of W and, if possible, of 8. */
function group(most: i32, W: i32): i32 {
  const eight = most & -8
  for (let n = eight; n > eight / 2; n -= 8) if (n % W == 0) return n
  return most - most % W
}

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
  const to = scratch + CHUNK_AT
  if (rounding == AWAY) copyRounded<Away>(to, from, stride, rows, n)
  else if (rounding == EVEN) copyRounded<Even>(to, from, stride, rows, n)
  else copyRounded<None>(to, from, stride, rows, n)
}

/**
 * packed = MX(Q(src)) as the operand `side` (0: rows of A, 1: columns of B) of gemm_packed_f32. src is [lanes, K] if `along`, else [K, lanes]. Q rounds to bf16
 * as `rounding` says (bf16.ts); MX quantizes blocks of `block` (0: not at all) along k, as fake_quantize_rows does. `chunk`: a multiple of `block`, at
 * most 256. Items: chunks of k.
 */
export function gemm_pack_f32(
  packed: usize, side: i32, src: usize, lanes: i32, K: i32, along: i32, chunk: i32, rounding: i32, block: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, begin: i32, end: i32,
): void {
  const W = side ? tileColumns : tileRows, step = group(along ? FEW : MANY, W), panel = bytes(K, W), at = scratch + CHUNK_AT
  for (let item = begin; item < end; item++) {
    const k = item * chunk, n = min(chunk, K - k), blocks = block ? (n + block - 1) / block : 0
    let allBits: u32 = 0, most: u32 = 0, least: u32 = u32.MAX_VALUE
    for (let lane = 0; lane < lanes; lane += step) {
      const count = min(step, lanes - lane), to = packed + header(K, chunk) + <usize>(lane / W) * panel + bytes(k, W)
      if (along) {
        copyChunk(src + bytes(lane, K) + bytes(k, 1), bytes(K, 1), count, n, rounding)
        if (block) fake_quantize_rows(at, at, n, block, man, emin, emax, max, choices, 0, count * blocks)
        read(at, at + bytes(count, n))
        pack(to, W, panel, at, bytes(n, 1), 4, count, n)
      } else {
        copyChunk(src + bytes(k, lanes) + bytes(lane, 1), bytes(lanes, 1), n, count, rounding)
        if (block) fake_quantize_columns(at, at, n, count, block, MANY, man, emin, emax, max, choices, 0, blocks)
        read(at, at + bytes(count, n))
        pack(to, W, panel, at, 4, bytes(count, 1), count, n)
      }
      allBits |= bits
      most = most > largest ? most : largest
      least = least < smallest ? least : smallest
    }
    const words = packed + (<usize>item << 4)
    store<u32>(words, allBits)
    store<u32>(words, most, 4)
    store<u32>(words, least, 8)
  }
}
