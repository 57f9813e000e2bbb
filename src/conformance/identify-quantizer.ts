// Which quantizer made this tensor? Given numbers and what a library or a kernel made of them (codes and scales, codes alone, or the values they stand for), every
// profile x format x block x axis is run on the kernels and compared bit for bit. First on a sample: a candidate that misses one bit there cannot explain all.
// Those that miss none, or the best few if all do, are then checked on every element.
//
// An element is explained if its code and its block's scale byte are the same; in values, if its bits are (any NaN equals any NaN). If no profile explains all, the
// profiles are tried with one choice changed ("ocp with rounding toward-zero"), and in the end what is nearest is named with a counterexample.
import { UsageError } from '../errors.ts'
import type { FormatName } from '../numerics/formats.ts'
import { namedQuantizer, profileNotes, type ProfileName, type Quantizer } from '../numerics/named-quantizers.ts'
import { NVFP4_BLOCK } from '../numerics/nvfp4.ts'
import type { BlockQuantizer } from '../numerics/quantizer.ts'
import type { Axes } from '../core/quantized.ts'
import type { Executor } from '../runtime/executor.ts'
import { size } from '../runtime/memory.ts'
import { PIECE, QuantizerCheck, type QuantizerCandidate, type QuantizerDump, type QuantizerOutput, type QuantizerVerdict } from './quantizer-check.ts'

export type { Counterexample, QuantizerCandidate, QuantizerDump, QuantizerOutput, QuantizerVerdict } from './quantizer-check.ts'

/** What to look for. */
export interface IdentifyOptions {
  /** Only these; default all that can be meant. */
  readonly profiles?: readonly ProfileName[]
  readonly formats?: readonly FormatName[]
  readonly blocks?: readonly number[]
  readonly axes?: readonly Axes[]
  /** NVFP4: the maximum from which the tensor's scale was made, if it is not the tensor's own. */
  readonly tensorAmax?: number
  /** How many near misses to describe (default 3). */
  readonly near?: number
}

/** What was found. */
export interface QuantizerFindings {
  readonly elements: number
  readonly tried: number
  /** Those that explain every element. */
  readonly explanations: readonly QuantizerVerdict[]
  /** The nearest that do not, best first, checked on every element, with a counterexample. */
  readonly near: readonly QuantizerVerdict[]
  /** Share of the sample that every candidate of the first round explains, best first. */
  readonly shares: readonly { readonly candidate: QuantizerCandidate, readonly share: number }[]
}

/** Element formats to look for where none is known: those of OCP MX. */
const USUAL: readonly FormatName[] = ['e4m3', 'e5m2', 'e3m2', 'e2m3', 'e2m1', 'int8']

/** Find the quantizers that explain a dump. Throws UsageError for sizes that do not fit. */
export async function identifyQuantizer(executor: Executor, dump: QuantizerDump, options: IdentifyOptions = {}): Promise<QuantizerFindings> {
  const { arena } = executor, mark = arena.mark()
  try {
    const whole = QuantizerCheck.of(executor, dump, options.tensorAmax), sample = whole.sample(), keep = options.near ?? 3
    const first = candidatesFor(whole, options)
    if (first.length === 0) throw new UsageError(`identify: no profile, format, block and axis fits shape [${dump.shape}]${dump.output.kind === 'codes' && dump.output.scales ? ` with ${dump.output.scales.bytes.length} scales of shape [${dump.output.scales.shape}]` : ''}`)
    const rank = async (list: readonly QuantizerCandidate[]) => {
      const ranked = []
      for (const candidate of list) {
        // The scale of a transformed tensor comes from the whole of it.
        const on = sample && PIECE % candidate.block === 0 && !(candidate.hadamard && candidate.quantizer.kind === 'nvfp4') ? sample : whole, { explained, checked } = await on.check(candidate)
        ranked.push({ candidate, share: checked ? explained / checked : 1, on })
      }
      return ranked.sort((p, q) => q.share - p.share)
    }
    const full = async (list: readonly { candidate: QuantizerCandidate }[]) => {
      const verdicts: QuantizerVerdict[] = []
      for (const { candidate } of list) verdicts.push(await whole.check(candidate))
      return verdicts
    }
    const shares = await rank(first), perfect = shares.filter(s => s.share === 1)
    let tried = first.length, verdicts = await full([...perfect, ...shares.filter(s => s.share < 1).slice(0, keep)])
    const explains = (v: QuantizerVerdict) => v.explained === v.checked
    if (!verdicts.some(explains)) {
      // Changed choices, where the unchanged ones come nearest.
      const places = new Map(shares.slice(0, 40).map(({ candidate: c }) => [`${c.format} ${c.block} ${c.axis} ${c.layout}`, c]))
      const changed = distinct([...places.values()].slice(0, 4).flatMap(place => first.filter(c => c.format === place.format && c.block === place.block && String(c.axis) === String(place.axis) && c.layout === place.layout).flatMap(c => changesOf(c, dump.output.kind))))
      const more = await rank(changed), best = more.filter(s => s.share === 1)
      tried += changed.length
      verdicts.push(...await full(best.length ? best : more.slice(0, keep)))
    }
    verdicts = verdicts.sort((p, q) => q.explained - p.explained)
    const near: QuantizerVerdict[] = []
    // A change that explains no more than what is unchanged says nothing.
    const unchanged = Math.max(0, ...verdicts.filter(v => !v.candidate.changed).map(v => v.explained))
    for (const v of verdicts.filter(v => !explains(v) && (!v.candidate.changed || v.explained > unchanged)).slice(0, keep)) near.push({ ...v, counterexample: await whole.counterexample(v.candidate) })
    return { elements: size(dump.shape), tried, explanations: verdicts.filter(explains), near, shares: shares.map(({ candidate, share }) => ({ candidate, share })) }
  } finally { arena.release(mark) }
}

/** Every candidate that fits the dump. */
function candidatesFor(check: QuantizerCheck, { profiles = Object.keys(profileNotes) as ProfileName[], formats: wanted, blocks, axes }: IdentifyOptions): QuantizerCandidate[] {
  const { output } = check, places = check.places(blocks, axes)
  const out: QuantizerCandidate[] = []
  for (const profile of profiles) {
    const q = namedQuantizer(profile), nvfp4 = q.kind === 'nvfp4'
    if (output.kind === 'codes' && output.scales?.format && (output.scales.format === 'ue4m3') !== nvfp4) continue
    const allowed = profileNotes[profile].formats
    for (const format of wanted ?? (output.kind === 'codes' ? output.formats : USUAL)) {
      if (allowed && !allowed.includes(format)) continue
      if (output.kind === 'codes' && !output.formats.includes(format)) continue
      for (const { axis, block, layout } of places) {
        if (nvfp4 && block !== NVFP4_BLOCK) continue
        out.push({ profile, format, block, axis, layout, hadamard: false, swapped: false, quantizer: nvfp4 ? q : namedQuantizer(profile, { format, block }) })
      }
    }
  }
  return out
}

/** The candidate with one choice changed, in every way that makes sense. */
function changesOf(c: QuantizerCandidate, kind: QuantizerOutput['kind']): QuantizerCandidate[] {
  const out: QuantizerCandidate[] = []
  const add = (changed: string, change: Partial<BlockQuantizer>) => {
    const quantizer = { ...c.quantizer, ...change } as Quantizer
    if (JSON.stringify(quantizer) !== JSON.stringify(c.quantizer)) out.push({ ...c, changed, quantizer })
  }
  if (c.quantizer.kind === 'mx') {
    for (const rounding of ['nearest-even', 'nearest-away', 'nearest-zero', 'toward-zero'] as const) add(`rounding ${rounding}`, { rounding, half: 'exact' })
    for (const scaleRule of ['floor', 'ceil', 'even', 'even-1', 'rceil', 'rceil-divide'] as const) add(`scale rule ${scaleRule}`, { scaleRule })
    for (const nonFinite of ['poison', 'element'] as const) add(`non-finite values ${nonFinite}`, { nonFinite })
    for (const nanCode of ['max', 'quiet', 'rebiased'] as const) add(`NaN code ${nanCode}`, { nanCode })
    for (const zeroSign of ['preserve', 'positive'] as const) add(`zero signs ${zeroSign}`, { zeroSign })
    add('subnormal blocks flushed', { flushSubnormals: true })
    if (c.quantizer.scaleRule === 'floor') {
      add('exponent bump as intended', { bump: 'intended' })
      if (kind === 'values' && c.quantizer.nonFinite === 'poison') add('exponent bump as released with arXiv 2506.20752', { bump: 'as-released' })
    }
  }
  if (!Array.isArray(c.axis)) out.push({ ...c, changed: 'TransformerEngine\'s Hadamard transform before', hadamard: true })
  if (c.format === 'e2m1' && kind === 'codes') out.push({ ...c, changed: 'FP4 codes with their nibbles swapped', swapped: true })
  return out
}

/** Without repetitions of the same arithmetic. */
function distinct(list: readonly QuantizerCandidate[]): QuantizerCandidate[] {
  const seen = new Map<string, QuantizerCandidate>()
  for (const c of list) {
    const key = JSON.stringify([c.quantizer, c.block, c.axis, c.layout, c.hadamard, c.swapped])
    if (!seen.has(key)) seen.set(key, c)
  }
  return [...seen.values()]
}
