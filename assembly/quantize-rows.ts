// Fake-quantize along the last axis: a block is read once for its maximum and again, out of the first-level cache, to be quantized.
import { Away, Even } from './bf16'
import { zero_sign_of, ZERO_POSITIVE, ZERO_PRESERVE, ZERO_TORCH } from './quantize-modes'
import { ADD_HALF_EVEN, AddHalfAway, AddHalfEven, adds_half, amax_word, AWAY, DOWN, Down, EVEN, horizontal_max, how_of_mode, magnitude_mask, pairs, Positive, Preserve, quantize_segment, Torch, ZERO, Zero } from './quantize-vector'
import { fake_quantize_element, is_flushed, is_ordinary, lowest_word, mode, prepare, scale_byte } from './quantizer'

/** 1.0: a maximum to quantize a block of zeros with. */
const ONE: i32 = 0x3f800000

/** n consecutive elements of a block with maximum `amax`, whatever it is. */
export function quantize_part(to: usize, from: usize, n: i32, amax: i32): void {
  const m = amax == 0 ? ONE : amax
  if (is_ordinary(m)) {
    quantize_segment(to, from, n, lowest_word(m))
    return
  }
  const byte = scale_byte(amax, 0), flushed = is_flushed(amax, 0)
  for (let i: usize = 0, end = <usize>n << 2; i < end; i += 4) {
    const x = load<f32>(from + i)
    store<f32>(to + i, fake_quantize_element(flushed ? x * 0 : x, byte, 0))
  }
}

// @ts-ignore: decorator
@inline function rows<How, Sign>(dst: usize, src: usize, cols: i32, block: i32, begin: i32, end: i32): void {
  const magnitude = magnitude_mask()
  const perRow = (cols + block - 1) / block
  let row = begin / perRow, first = (begin - row * perRow) * block
  for (let item = begin; item < end; item++) {
    const n = min(block, cols - first)
    const offset = (<usize>row * cols + first) << 2
    first += block
    if (first >= cols) { first = 0; row++ }
    const from = src + offset, to = dst + offset
    if ((n & 7) != 0) {
      quantize_part(to, from, n, amax_word(from, n))
      continue
    }
    let a = v128.and(v128.load(from), magnitude), b = v128.and(v128.load(from, 16), magnitude)
    if (n == 32) {
      a = i32x4.max_s(a, v128.and(v128.load(from, 32), magnitude))
      b = i32x4.max_s(b, v128.and(v128.load(from, 48), magnitude))
      a = i32x4.max_s(a, v128.and(v128.load(from, 64), magnitude))
      b = i32x4.max_s(b, v128.and(v128.load(from, 80), magnitude))
      a = i32x4.max_s(a, v128.and(v128.load(from, 96), magnitude))
      b = i32x4.max_s(b, v128.and(v128.load(from, 112), magnitude))
    } else {
      for (let p = from + 32, stop = from + (<usize>n << 2); p < stop; p += 32) {
        a = i32x4.max_s(a, v128.and(v128.load(p), magnitude))
        b = i32x4.max_s(b, v128.and(v128.load(p, 16), magnitude))
      }
    }
    const amax = i32x4.extract_lane(horizontal_max(i32x4.max_s(a, b)), 0)
    if (!is_ordinary(amax)) {
      quantize_part(to, from, n, amax > 0x7f800000 ? amax_word(from, n) : amax)
      continue
    }
    const word = lowest_word(amax)
    if (adds_half<How>()) {
      // Where all elements are bf16 numbers no fraction has 24 bits, and adding halves is exact.
      let all = v128.load(from)
      for (let p = from + 16, stop = from + (<usize>n << 2); p < stop; p += 16) all = v128.or(all, v128.load(p))
      if (!v128.any_true(v128.and(all, i32x4.splat(0xffff)))) {
        if (idof<How>() == idof<AddHalfEven>()) pairs<Even, Sign>(to, from, n, word)
        else pairs<Away, Sign>(to, from, n, word)
        continue
      }
    }
    pairs<How, Sign>(to, from, n, word)
  }
}

/**
 * dst = src [rows, cols] quantized and dequantized in blocks of `block` along the columns' axis (a row's last block may be shorter). In place is allowed.
 * Items: blocks, row by row.
 */
export function fake_quantize_rows(dst: usize, src: usize, cols: i32, block: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, begin: i32, end: i32): void {
  prepare(man, emin, emax, max, choices)
  const how = how_of_mode(), sign = zero_sign_of(mode)
  if (sign == ZERO_POSITIVE) {
    if (how == EVEN) rows<Even, Positive>(dst, src, cols, block, begin, end)
    else if (how == AWAY) rows<Away, Positive>(dst, src, cols, block, begin, end)
    else if (how == DOWN) rows<Down, Positive>(dst, src, cols, block, begin, end)
    else rows<Zero, Positive>(dst, src, cols, block, begin, end)
  } else if (sign == ZERO_PRESERVE) {
    if (how == EVEN) rows<Even, Preserve>(dst, src, cols, block, begin, end)
    else if (how == AWAY) rows<Away, Preserve>(dst, src, cols, block, begin, end)
    else rows<Zero, Preserve>(dst, src, cols, block, begin, end)
  } else {
    if (how == EVEN) rows<Even, Torch>(dst, src, cols, block, begin, end)
    else if (how == AWAY) rows<Away, Torch>(dst, src, cols, block, begin, end)
    else if (how == ZERO) rows<Zero, Torch>(dst, src, cols, block, begin, end)
    else if (how == ADD_HALF_EVEN) rows<AddHalfEven, Torch>(dst, src, cols, block, begin, end)
    else rows<AddHalfAway, Torch>(dst, src, cols, block, begin, end)
  }
}
