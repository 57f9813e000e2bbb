// Token embedding, its gradient, and the targets of next-token prediction.
import { UsageError } from '../errors.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'

function check(table: Tensor, tokens: Tensor, out: Tensor): { rows: number, d: number } {
  const d = table.shape[1]!, rows = tokens.shape.reduce((a, b) => a * b, 1)
  if (table.shape.length !== 2 || out.shape.at(-1) !== d || out.shape.reduce((a, b) => a * b, 1) !== rows * d) {
    throw new UsageError(`embedding: table [${table.shape}] and tokens [${tokens.shape}] do not give [${out.shape}]`)
  }
  return { rows, d }
}

/** Emit out [..., d] = table [vocabulary, d] at tokens [...] (u32). Ids are not checked: whoever fills `tokens` keeps them below the vocabulary. */
export function embeddingForward(p: Program, { table, tokens, out }: { table: Tensor, tokens: Tensor, out: Tensor }): void {
  const { rows, d } = check(table, tokens, out)
  p.emit('embedding_forward', [table.ptr, tokens.ptr, out.ptr, d], rows, 64)
}

/** Emit dTable[tokens[r]] += dOut[r], rows in order. dTable is added to: clear it first. */
export function embeddingBackward(p: Program, { dTable, tokens, dOut }: { dTable: Tensor, tokens: Tensor, dOut: Tensor }): void {
  const { rows, d } = check(dTable, tokens, dOut)
  p.emit('embedding_backward', [dTable.ptr, tokens.ptr, dOut.ptr, rows, d], Math.ceil(d / 16))
}

/** Emit targets [batch, context] (i32): the token after each of tokens [batch, context], `none` after the last of a sequence. */
export function nextTokens(p: Program, tokens: Tensor, targets: Tensor, none: number): void {
  const [batch, context] = tokens.shape as [number, number]
  p.emit('next_tokens', [tokens.ptr, targets.ptr, context, none], batch, 64)
}
