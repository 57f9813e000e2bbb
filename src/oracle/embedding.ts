// Slow twins of the token embedding's gradient and of rotary position embedding (assembly/embedding.ts, assembly/attention.ts), f32 rounded after every operation.
const f = Math.fround

export interface AttentionShape { readonly batch: number, readonly context: number, readonly heads: number, readonly headDim: number }

/** Rotate each head of x [rows, heads * headDim]; table [context, 2, headDim / 2]; position = row mod context. */
export function rope(x: Float32Array, table: Float32Array, s: AttentionShape, inverse = false): Float32Array {
  const y = new Float32Array(x.length), half = s.headDim / 2
  for (let i = 0; i < x.length; i++) {
    const column = i % s.headDim
    if (column >= half) continue
    const position = Math.floor(i / (s.heads * s.headDim)) % s.context
    const cos = table[position * s.headDim + column]!, sin = (inverse ? -1 : 1) * table[position * s.headDim + half + column]!
    const x1 = x[i]!, x2 = x[i + half]!
    y[i] = f(f(x1 * cos) - f(x2 * sin))
    y[i + half] = f(f(x2 * cos) + f(x1 * sin))
  }
  return y
}

/** dTable [vocabulary, d]: rows of dOut added to their token's row, in order. */
export function embeddingBackward(tokens: ArrayLike<number>, dOut: Float32Array, vocabulary: number, d: number): Float32Array {
  const table = new Float32Array(vocabulary * d)
  for (let r = 0; r < tokens.length; r++) for (let c = 0; c < d; c++) table[tokens[r]! * d + c] = f(table[tokens[r]! * d + c]! + dOut[r * d + c]!)
  return table
}
