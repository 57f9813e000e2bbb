// What a product is near to when no arithmetic explains its bits: how far its outputs are from the exact product, whether a factor is on all of them, and whether it is
// the exact product of operands that were read otherwise (scales transposed, or in 128x4 tiles when they are not, an operand or the output transposed).
import type { Core } from '../core/core.ts'
import type { Matrix, ScaledMatrix } from '../core/operands.ts'
import { swizzleScales, unswizzleScales } from '../io/layouts.ts'
import { isCoded, isScaled, rowsOf, turned, unscaled, type ProductOperand } from './product-forms.ts'

/** A product as it came; outputs as numbers. */
interface ProductNumbers { readonly a: ProductOperand, readonly b: ProductOperand, readonly out: Float32Array, readonly alpha?: number, readonly beta?: number, readonly c?: Matrix }

/** Distance of outputs from the exact product. */
export interface ProductDistance {
  /** Median of |difference|, in units of the exact outputs' root mean square. */
  readonly median: number
  /** In words: what explains the distance. Empty if nothing does. */
  readonly findings: readonly string[]
}

/** A way in which an operand may have been read, and what it was read as then (null: it does not fit). */
const misreadings: readonly [words: (whose: string, who: string) => string, read: (x: ProductOperand) => ProductOperand | null][] = [
  [whose => `with ${whose} scales read as transposed, [K / block, rows]`, x => isScaled(x) ? rescaled(x, (scales, rows, blocks) => scales.map((_, i) => scales[i % blocks * rows + Math.floor(i / blocks)]!)) : null],
  [whose => `with ${whose} scales stored as transposed, [K / block, rows]`, x => isScaled(x) ? rescaled(x, (scales, rows, blocks) => { const to = scales.slice(); scales.forEach((v, i) => { to[i % blocks * rows + Math.floor(i / blocks)] = v }); return to }) : null],
  [whose => `with ${whose} plain scales read as 128x4 tiles`, x => isScaled(x) ? rescaled(x, (scales, rows, blocks) => rows % 128 || blocks % 4 ? null : unswizzleScales(scales, rows, blocks)) : null],
  [whose => `with ${whose} scales, which lie in 128x4 tiles, read as plain`, x => isScaled(x) ? rescaled(x, (scales, rows, blocks) => rows % 128 || blocks % 4 ? null : swizzleScales(scales, rows, blocks)) : null],
  [whose => `without ${whose} scales`, x => isScaled(x) ? unscaled(x) : null],
  [(_, who) => `with ${who} transposed`, x => !isScaled(x) && x.shape[0] === x.shape[1] ? turned('operand', x) : null],
]

function rescaled(x: ScaledMatrix, scales: (bytes: Uint8Array, rows: number, blocks: number) => Uint8Array | null): ScaledMatrix | null {
  const changed = scales(x.scales, x.shape[0]!, x.scales.length / x.shape[0]!)
  return changed && { ...x, scales: changed }
}

/** Some outputs and what they should be near to, in the same order; finite numbers. */
interface Pairs { readonly got: Float32Array, readonly exact: Float32Array }

/** Median (or another quantile) of |got - factor exact| over the root mean square of exact; Infinity if that is 0. */
function distance({ got, exact }: Pairs, factor = 1, quantile = 0.5): number {
  const square = exact.reduce((s, x) => s + x ** 2, 0)
  return square ? Float64Array.from(exact, (x, i) => Math.abs(got[i]! - factor * x)).sort()[Math.floor(exact.length * quantile)]! / Math.sqrt(square / exact.length) : Infinity
}

/** How far outputs [rows x columns] of a product are from the exact ones, and why they may be. */
export async function distanceOf(core: Core, { a, b, out, alpha, beta = 1, c }: ProductNumbers, rows: readonly number[], columns: readonly number[]): Promise<ProductDistance> {
  const N = b.shape[0]!, at = (from: Float32Array, i: number, j: number) => from[i * N + j]!
  const values = async (x: ProductOperand): Promise<Matrix> => isScaled(x) ? core.dequantize({ ...x, ...alpha !== undefined && { tensorScale: 1 } }) : isCoded(x) ? core.decode(x) : x as Matrix
  const pairs = async (x: ProductOperand, y: ProductOperand, swapped = false): Promise<Pairs> => {
    const [r, s] = swapped ? [columns.map(j => j % a.shape[0]!), rows.map(i => i % N)] : [rows, columns]
    const product = (await core.matmul(await values(rowsOf(x, r)), await values(rowsOf(y, s)), { accumulate: 'exact', transB: true, ...alpha !== undefined && { alpha } })).data
    if (c) product.forEach((v, n) => { product[n] = v + beta * at(c.data, r[Math.floor(n / s.length)]!, s[n % s.length]!) })
    const got = product.map((_, n) => { const [i, j] = [r[Math.floor(n / s.length)]!, s[n % s.length]!]; return swapped ? at(out, j, i) : at(out, i, j) })
    const finite = (_: number, n: number) => Number.isFinite(product[n]) && Number.isFinite(got[n])
    return { exact: product.filter(finite), got: got.filter(finite) }
  }
  const plain = await pairs(a, b), median = distance(plain), findings: string[] = []
  const percent = (x: number) => `${Number((100 * x).toPrecision(2))} %`
  // A factor: the one that brings the outputs nearest in the least squares, if it explains most of the distance.
  const factor = plain.exact.reduce((s, x, i) => s + plain.got[i]! * x, 0) / plain.exact.reduce((s, x) => s + x ** 2, 0), left = distance(plain, factor) / Math.abs(factor)
  if (Number.isFinite(factor) && factor !== 0 && left < 0.05 && left < median / 8) findings.push(`all outputs have a factor of about ${Number(factor.toPrecision(6))}: is alpha, a tensor's scale or a constant missing or twice there? (the rest differs by ${percent(left)})`)
  // Read otherwise: only what is far off is worth the search, and only what comes far nearer is worth a word.
  if (!findings.length && !(median < 0.02)) {
    const near: [number, string][] = [], weigh = async (words: string, x: ProductOperand | null, y: ProductOperand | null, swapped = false) => { if (x && y) near.push([distance(await pairs(x, y, swapped), 1, 0.9), words]) }
    for (const [words, read] of misreadings) {
      const [x, y] = [read(a), read(b)]
      await weigh(words('a\'s', 'a'), x, b)
      await weigh(words('b\'s', 'b'), a, y)
      await weigh(words('both operands\'', 'both operands'), x, y)
    }
    if (a.shape[0] === N) await weigh('transposed', a, b, true)
    const best = Math.min(...near.map(([d]) => d))
    for (const [d, words] of near) if (d < 0.05 && d < median / 8 && d <= 2 * best) findings.push(`near the product ${words} (differs by ${percent(d)})`)
  }
  return { median, findings }
}
