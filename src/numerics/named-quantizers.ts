// Every quantizer profile under one roof: the block quantizers with power-of-two scales (profiles.ts) and the NVFP4 recipes (nvfp4.ts), looked up by name.
import { lookup, UsageError } from '../errors.ts'
import { formats, type FormatName } from './formats.ts'
import { NVFP4_BLOCK, nvfp4ProfileNotes, nvfp4Profiles, type Nvfp4ProfileName, type Nvfp4Quantizer } from './nvfp4.ts'
import { blockProfileNotes, blockQuantizer, type BlockProfileName, type ProfileNote } from './profiles.ts'
import type { BlockQuantizer, Rounding } from './quantizer.ts'

/** A profile's name. */
export type ProfileName = BlockProfileName | Nvfp4ProfileName
/** A quantizer of blocks with power-of-two scales, or an NVFP4 recipe. */
export type Quantizer = BlockQuantizer | Nvfp4Quantizer

/** Source, formats and verification of every profile. */
export const profileNotes: Readonly<Record<ProfileName, ProfileNote>> = { ...blockProfileNotes, ...nvfp4ProfileNotes }

/** What a caller may choose beside the profile. */
export interface QuantizerChanges {
  /** Element format; default the first that the profile's source quantizes to, else e4m3. */
  readonly format?: FormatName
  /** Elements per block; 0: the whole axis. NVFP4 has 16. */
  readonly block?: number
  readonly rounding?: Rounding
  /** Random bits per element of stochastic rounding. */
  readonly randomBits?: 8 | 16
}

/** The quantizer of profile `name`. Throws UsageError for unknown names (listing the valid ones) and for choices that the profile does not have. */
export function namedQuantizer(name: ProfileName, { format, block, rounding, randomBits }: QuantizerChanges = {}): Quantizer {
  const { formats: allowed } = lookup(profileNotes, name, 'quantizer profile')
  if (block !== undefined && (!Number.isInteger(block) || block < 0)) throw new UsageError(`block is ${block}, must be a whole number of at least 0 (0: the whole axis)`)
  const changes = { ...rounding && { rounding }, ...randomBits && { randomBits } }
  if (rounding !== undefined && !roundings.includes(rounding)) throw new UsageError(`unknown rounding ${JSON.stringify(rounding)}: use one of ${roundings.join(', ')}`)
  if (!Object.hasOwn(nvfp4Profiles, name)) return blockQuantizer(name as BlockProfileName, format ?? allowed?.[0] ?? 'e4m3', { ...changes, ...block !== undefined && { blockSize: block } })
  if (format !== undefined && format !== 'e2m1') throw new UsageError(Object.hasOwn(formats, format) ? `profile ${name} quantizes to e2m1, not to ${format}` : `unknown format ${JSON.stringify(format)}: use one of ${Object.keys(formats).join(', ')}`)
  if (block !== undefined && block !== NVFP4_BLOCK) throw new UsageError(`profile ${name} has blocks of ${NVFP4_BLOCK}, not of ${block}`)
  if (rounding !== undefined && rounding !== 'nearest-even' && rounding !== 'stochastic') throw new UsageError(`profile ${name} rounds nearest-even or stochastic, not ${rounding}`)
  return { ...nvfp4Profiles[name as Nvfp4ProfileName], ...changes } as Nvfp4Quantizer
}

export const roundings: readonly Rounding[] = ['nearest-even', 'nearest-away', 'nearest-zero', 'toward-zero', 'stochastic']

/** How sure a profile is, in a phrase. */
export const verification = ({ verified }: ProfileNote): string => verified === 'output' ? 'verified against the output of its source' : 'from the text of its source alone'
