// Moving data: fill and copy.

/** dst[begin, end) = value. Items: elements. */
export function fill_f32(dst: usize, value: f32, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) store<f32>(dst + (<usize>i << 2), value)
}

/** dst[begin, end) = src[begin, end). Items: elements. */
export function copy_f32(dst: usize, src: usize, begin: i32, end: i32): void {
  memory.copy(dst + (<usize>begin << 2), src + (<usize>begin << 2), <usize>(end - begin) << 2)
}

/** dst[r][0, columns) = src[r][0, columns), rows `dstRow` and `srcRow` elements apart. Items: rows. */
export function copy_rows_f32(dst: usize, dstRow: i32, src: usize, srcRow: i32, columns: i32, begin: i32, end: i32): void {
  for (let r = begin; r < end; r++) memory.copy(dst + (<usize>r * dstRow << 2), src + (<usize>r * srcRow << 2), <usize>columns << 2)
}
