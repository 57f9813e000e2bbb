// The rotary table of the original runs of set `olmo`. Cosine and sine are an input of those runs that their file does not hold: torch 2.13 takes them from
// Intel MKL, which misses the nearest f32 in 48 of the 1024 entries (context 32, head dimension 32, theta 10000), always by one unit in the last place.
// In the bf16 cases one such unit can move a value across a rounding boundary, and with it a row of logits. The entries were read off torch.cos and torch.sin
// of f32 angles; indices into ropeTable's values.
import { ropeTable } from '../../model/rope.ts'

/** Entries that MKL rounds away from zero, and towards it. Cosines and sines stand at context * 32 + i and + 16 + i. */
const above = [32, 34, 43, 67, 74, 76, 110, 148, 149, 213, 207, 274, 309, 339, 324, 335, 356, 366, 406, 407, 422, 439, 609, 647, 654, 677, 744, 840, 878, 900, 917, 948]
const below = [33, 135, 264, 265, 293, 386, 523, 547, 578, 585, 714, 715, 752, 754, 788, 979]

/** The table as MKL gives it where it is known, else ropeTable's correctly rounded one. */
export function torchRopeTable(context: number, headDim: number, theta: number): Float32Array {
  const table = ropeTable(context, headDim, theta)
  if (context !== 32 || headDim !== 32 || theta !== 10000) return table
  const bits = new Int32Array(table.buffer)
  for (const i of above) bits[i]! += 1
  for (const i of below) bits[i]! -= 1
  return table
}
