// Tokens: the embedding out[r] = table[tokens[r]], its gradient, and the targets of next-token prediction.

/** out [rows, d] from table [vocabulary, d] and tokens (u32, [rows]). Items: rows. */
export function embedding_forward(table: usize, tokens: usize, out: usize, d: i32, begin: i32, end: i32): void {
  const bytes = <usize>d << 2
  for (let r = begin; r < end; r++) memory.copy(out + <usize>r * bytes, table + <usize>load<u32>(tokens + (<usize>r << 2)) * bytes, bytes)
}

/**
 * dTable[tokens[r]] += dOut[r] for r = 0 .. rows - 1, in that order, so that the gradient of a token that occurs often is one sequential sum.
 * Items: blocks of 16 columns (rows may share a token, columns never meet).
 */
export function embedding_backward(dTable: usize, tokens: usize, dOut: usize, rows: i32, d: i32, begin: i32, end: i32): void {
  const bytes = <usize>d << 2
  const from = <usize>begin << 6
  const to = min(<usize>end << 6, bytes)
  const vectors = from + ((to - from) & ~15)
  for (let r = 0; r < rows; r++) {
    const target = dTable + <usize>load<u32>(tokens + (<usize>r << 2)) * bytes
    let at = from
    for (; at < vectors; at += 16) v128.store(target + at, f32x4.add(v128.load(target + at), v128.load(dOut + at)))
    for (; at < to; at += 4) store<f32>(target + at, load<f32>(target + at) + load<f32>(dOut + at))
    dOut += bytes
  }
}

/** targets[s][t] = tokens[s][t + 1], and `none` at the last position, for sequences s of `context` tokens (u32). Items: sequences. */
export function next_tokens(tokens: usize, targets: usize, context: i32, none: i32, begin: i32, end: i32): void {
  const bytes = <usize>context << 2
  for (let s = begin; s < end; s++) {
    const to = targets + <usize>s * bytes
    memory.copy(to, tokens + <usize>s * bytes + 4, bytes - 4)
    store<i32>(to + bytes - 4, none)
  }
}
