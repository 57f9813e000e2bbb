// Copies of a matrix in another order: transposed, or with rows repeated. This is how operands quantized along any axis, with scales per block or per tile,
// become what a matrix unit reads: rows with k contiguous, and a row of scales for each.

/** dst[j, i] = src[floor(j / repeat) rowStep + i colStep], i < length. A transpose of [length, rows]: rowStep 1, colStep rows. */
// @ts-ignore: decorator
@inline
function arrange<T>(dst: usize, src: usize, length: i32, rowStep: i32, colStep: i32, repeat: i32, begin: i32, end: i32): void {
  const size = sizeof<T>(), step = <usize>colStep * size
  for (let j = begin; j < end; j++) {
    let from = src + <usize>(j / repeat) * <usize>rowStep * size
    const to = dst + <usize>j * <usize>length * size
    for (let i: usize = 0; i < <usize>length; i++, from += step) store<T>(to + i * size, load<T>(from))
  }
}

/** Bytes: dst[j, i] = src[floor(j / repeat) rowStep + i colStep], i < length. Items: rows of dst. */
export function arrange_u8(dst: usize, src: usize, length: i32, rowStep: i32, colStep: i32, repeat: i32, begin: i32, end: i32): void {
  arrange<u8>(dst, src, length, rowStep, colStep, repeat, begin, end)
}
/** The same for words. */
export function arrange_u32(dst: usize, src: usize, length: i32, rowStep: i32, colStep: i32, repeat: i32, begin: i32, end: i32): void {
  arrange<u32>(dst, src, length, rowStep, colStep, repeat, begin, end)
}
