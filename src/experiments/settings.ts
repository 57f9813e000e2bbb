// A configuration for people and tables: flat, with precision schemes by name.
import { describeScheme, type PrecisionScheme } from '../numerics/scheme.ts'
import { canonicalJson } from '../train/config-file.ts'
import { isObject } from '../train/config.ts'
import { flatten } from './sweep.ts'

export type Cell = string | number | boolean | null

/** A configuration as flat settings, precision schemes by name. */
export function settings(config: Record<string, unknown>): Record<string, Cell> {
  const named = { ...config }
  const name = (value: unknown): unknown => isObject(value) && isObject(value.forward) ? describeScheme(value as unknown as PrecisionScheme) : value
  for (const key of ['precision', 'baseline']) if (key in named) named[key] = name(named[key])
  if (Array.isArray(named.precisionSchedule)) named.precisionSchedule = named.precisionSchedule.map(s => isObject(s) ? `${s.step}: ${name(s.precision)}` : s).join('; ')
  if (isObject(named.probes) && isObject(named.probes.schemes)) named.probes = { ...named.probes, schemes: Object.keys(named.probes.schemes).join(', ') }
  return Object.fromEntries(Object.entries(flatten(named)).map(([key, value]) => [key, isObject(value) || Array.isArray(value) ? canonicalJson(value) : value as Cell]))
}
