// Which unit sums a product of a linear layer: from a scheme's accumulator, by name, and the formats of two operands. Data only.
//   f32          one sequential f32 sum over k per output
//   exact        the exact sum, rounded once
//   block-exact  exact within a block, one rounding per block, for elements that are small integers
//   a unit       of numerics/mma.ts: a block-scaled one takes codes and scale bytes; a bf16 one takes the operands' values as bf16, as emulations on such a
//                machine do (elements of at most 8 bits times a power of two are bf16 values); a tf32 one takes their words
//   a family     (`blackwell`): for each product the family's block-scaled unit, else its bf16 unit
// What would surprise: a block-scaled unit computes the products of two quantized operands alone, and the others (layers that a scheme leaves in bf16) are f32
// sums; under a family those run on its bf16 unit. Products of an f32 operand are f32 sums under either.
import { UsageError } from '../errors.ts'
import { formats, type FormatName } from './formats.ts'
import { mmaConfig, mmaFamilies, mmaModelBeside, mmaModels, type MmaConfig, type MmaModel, type MmaScale } from './mma.ts'
import type { ElementFormat, PrecisionScheme } from './scheme.ts'

export type Accumulation =
  | { readonly kind: 'f32' } | { readonly kind: 'exact' } | { readonly kind: 'block-exact' }
  /** `codes`: of the quantizers, with their scales. `values`: dequantized. */
  | { readonly kind: 'unit', readonly unit: MmaConfig, readonly operands: 'codes' | 'values' }

export const sequential: Accumulation = { kind: 'f32' }

/** What sums each product of a linear layer. */
export interface LinearAccumulation { readonly forward: Accumulation, readonly dgrad: Accumulation, readonly wgrad: Accumulation }

export const allSequential: LinearAccumulation = { forward: sequential, dgrad: sequential, wgrad: sequential }

/** What an accumulator depends on besides its name. */
type Settings = Pick<PrecisionScheme, 'accumulator' | 'blockSize' | 'scaleBits' | 'scaling' | 'vector' | 'bump' | 'weightBlocks'>

const blockFormat = (format: ElementFormat | null): format is Exclude<ElementFormat, 'bf16'> => format !== null && format !== 'bf16'

/** How `a` times `b` is summed under a scheme. Throws UsageError when its accumulator is not one, or takes the kind of operands but not these. */
export function accumulationOf(s: Settings, a: ElementFormat | null, b: ElementFormat | null): Accumulation {
  const name = s.accumulator, quantized = blockFormat(a) && blockFormat(b)
  if (name === 'f32' || name === 'exact') return { kind: name }
  if (name === 'block-exact') {
    if (!quantized) return sequential
    const wide = [a, b].find(f => formats[f].kind !== 'int' && f !== 'e2m1' && f !== 'e2m3' && f !== 'e3m2')
    if (wide) throw new UsageError(`does not take ${wide}: only e2m1, e2m3, e3m2 and integers are small integers times a power of two`)
    if (s.scaling === 'nvfp4' || s.blockSize > 64) throw new UsageError(s.scaling === 'nvfp4' ? 'needs power-of-two scales, scaling is nvfp4' : `needs a blockSize of at most 64, which is ${s.blockSize}`)
    return { kind: 'block-exact' }
  }
  if (mmaFamilies.includes(name)) {
    const models = Object.values(mmaModels).filter(m => m.name.startsWith(`${name}-`) && m.accumulator === 'f32')
    if (quantized) for (const m of models.filter(m => m.scales.length).sort((x, y) => y.length - x.length)) if (refusal(m, s, a, b) === null) return coded(m, s, a, b)
    const plain = models.find(m => m.formats[0] === 'bf16')
    if (!plain) throw new UsageError(`has no modelled unit with a bf16 input`)
    return values(plain, s, a, b)
  }
  const model = mmaModelBeside(['f32', 'exact', 'block-exact', ...mmaFamilies], 'accumulator', name)
  if (model.accumulator === 'f32' && (model.formats[0] === 'bf16' || model.formats[0] === 'tf32')) return values(model, s, a, b)
  if (!model.scales.length) throw new UsageError(`takes ${model.formats.join(', ')} without block scales, which no scheme has: use a family (${mmaFamilies.join(', ')}), a block-scaled unit (${named(m => m.scales.length > 0)}), or one that takes bf16 or tf32`)
  if (!quantized) return sequential
  const reason = refusal(model, s, a, b)
  if (reason) throw new UsageError(reason)
  return coded(model, s, a, b)
}

const named = (which: (m: MmaModel) => boolean) => Object.values(mmaModels).filter(which).map(m => m.name).join(', ')

const scaleOf = (s: Settings): MmaScale => ({ format: s.scaling === 'nvfp4' ? 'ue4m3' : 'e8m0', block: s.blockSize as MmaScale['block'] })

const coded = (m: MmaModel, s: Settings, a: FormatName, b: FormatName): Accumulation => ({ kind: 'unit', unit: mmaConfig(m.name, { a, b, scale: scaleOf(s) }), operands: 'codes' })

/** Why a block-scaled unit does not take these operands; null if it does. */
function refusal(model: MmaModel, s: Settings, a: FormatName, b: FormatName): string | null {
  const wrong = [a, b].find(f => !model.formats.includes(f)), { format, block } = scaleOf(s)
  if (wrong) return `does not take ${wrong}: use one of ${model.formats.join(', ')}`
  if (!model.scales.some(x => x.format === format && x.block === block)) return `does not take scales ${format}/${block}: use one of ${model.scales.map(x => `${x.format}/${x.block}`).join(', ')}`
  if (s.bump === 'as-released') return 'needs one scale a block, which bump as-released leaves not'
  if (s.weightBlocks === 'tiles' && s.scaling === 'mx') return 'takes tiles of weights with scaling nvfp4 alone'
  return null
}

function values(model: MmaModel, s: Settings, a: ElementFormat | null, b: ElementFormat | null): Accumulation {
  const format = model.formats[0]!
  if (format === 'bf16') {
    if (s.vector !== 'bf16' && !(a && b)) return sequential
    if (s.scaling === 'nvfp4' && (blockFormat(a) || blockFormat(b))) throw new UsageError('takes bf16 operands, and values with scaling nvfp4 are none')
  }
  return { kind: 'unit', unit: mmaConfig(model.name, { a: format, b: format }), operands: 'values' }
}

/** What sums each product of a linear layer under a scheme. Throws UsageError, naming the product, where its accumulator does not take one, or takes none. */
export function linearAccumulation(s: PrecisionScheme): LinearAccumulation {
  const of = (what: string, a: ElementFormat | null, b: ElementFormat | null): Accumulation => {
    try { return accumulationOf(s, a, b) } catch (e) { throw e instanceof UsageError ? new UsageError(`${what}: ${e.message}`) : e }
  }
  const { forward, dgrad, wgrad } = s, backward = s.backward === 'quantized'
  return {
    forward: of('forward', forward.activation, forward.weight),
    dgrad: backward ? of('dgrad', dgrad.gradient, dgrad.weight) : sequential, wgrad: backward ? of('wgrad', wgrad.gradient, wgrad.activation) : sequential,
  }
}

/** Why a scheme's accumulator does not fit it, in words; null if it does. */
export function accumulatorRefusal(s: PrecisionScheme): string | null {
  try {
    const all = Object.values(linearAccumulation(s))
    return s.accumulator !== 'f32' && all.every(a => a.kind === 'f32') ? 'takes none of the products: they have f32 operands, or it takes block formats and finds none' : null
  } catch (e) { if (e instanceof UsageError) return e.message; throw e }
}
