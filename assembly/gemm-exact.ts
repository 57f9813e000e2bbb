// When is every product a * b of two packed blocks exact in f32? Then a fused multiply-add and a product followed by a sum round alike, bit for bit.
//
// Let every nonzero value of a block be an integer of at most `width` bits times 2^low or a larger power of two, and below 2^high. Products are exact if
//   width_a + width_b <= 24   (the significand of f32),
//   low_a + low_b >= -149     (the last bit of a subnormal), and
//   high_a + high_b <= 128    (no overflow: a fused sum would see the product before it became infinite).
// MX, FP8 and bf16 values have 3 to 8 bits; only products near the ends of the range fail. Infinities and NaN need no rule: fused or not, they give the
// same; their exponent field (255) merely makes `high` large.

/** The three numbers of the block last scanned. */
export let width: i32 = 0
export let low: i32 = 0
export let high: i32 = 0

/** What they follow from: all magnitudes or-ed together, the largest, and the smallest nonzero one less 1. Those of parts combine to those of the whole. */
export let bits: u32 = 0
export let largest: u32 = 0
export let smallest: u32 = 0

const masks = memory.data<i32>([0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff, 1, 1, 1, 1])

/** Set width, low and high for the f32 values in [from, end). Writes zeros to the 32 bytes after `end`, because it reads 32 at a time. */
export function scan(from: usize, end: usize): void {
  read(from, end)
  measure(bits, largest, smallest)
}

/** Set bits, largest and smallest; as scan otherwise. */
export function read(from: usize, end: usize): void {
  memory.fill(end, 0, 32)
  const magnitude = v128.load(masks), one = v128.load(masks, 16)
  let any = i32x4.splat(0), any1 = any
  let most = any, most1 = any
  let least = i32x4.splat(-1), least1 = least
  for (; from < end; from += 32) {
    const x = v128.and(v128.load(from), magnitude), x1 = v128.and(v128.load(from, 16), magnitude)
    any = v128.or(any, x)
    any1 = v128.or(any1, x1)
    most = i32x4.max_u(most, x)
    most1 = i32x4.max_u(most1, x1)
    least = i32x4.min_u(least, i32x4.sub(x, one)) // zero becomes the largest unsigned integer, so it never counts
    least1 = i32x4.min_u(least1, i32x4.sub(x1, one))
  }
  any = v128.or(any, any1)
  most = i32x4.max_u(most, most1)
  least = i32x4.min_u(least, least1)
  any = v128.or(any, v128.shuffle<i32>(any, any, 2, 3, 0, 1))
  any = v128.or(any, v128.shuffle<i32>(any, any, 1, 0, 3, 2))
  most = i32x4.max_u(most, v128.shuffle<i32>(most, most, 2, 3, 0, 1))
  most = i32x4.max_u(most, v128.shuffle<i32>(most, most, 1, 0, 3, 2))
  least = i32x4.min_u(least, v128.shuffle<i32>(least, least, 2, 3, 0, 1))
  least = i32x4.min_u(least, v128.shuffle<i32>(least, least, 1, 0, 3, 2))
  bits = i32x4.extract_lane(any, 0)
  largest = i32x4.extract_lane(most, 0)
  smallest = i32x4.extract_lane(least, 0)
}

/** Set width, low and high from the three words. */
export function measure(bits: u32, largest: u32, smallest: u32): void {
  const trailing = ctz(<i32>(bits & 0x7fffff | 0x800000))
  const exponent = <i32>((smallest + 1) >> 23) // a subnormal's field is 0, its unit that of field 1
  width = 24 - trailing
  low = max(exponent, 1) - 150 + trailing
  high = <i32>(largest >> 23) - 126
}

/** Are all products of the block last scanned and one with these three numbers exact? */
export function fits(otherWidth: i32, otherLow: i32, otherHigh: i32): bool { return width + otherWidth <= 24 && low + otherLow >= -149 && high + otherHigh <= 128 }
