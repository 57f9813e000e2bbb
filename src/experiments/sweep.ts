// A sweep: one YAML file that stands for many runs. Two forms are read.
//
// Our own. Keys of a configuration stand for themselves, as in a configuration file (`extends:` names a preset or a file); four keys make the runs:
//   entries: { NAME: { key: value... }, ... }    one run per entry, its keys laid over the file's
//   grid: { optimizer.lr: [1e-4, 1e-3], ... }     each key an axis (dotted, or nested maps), the runs their Cartesian product
//   seeds: 5   or   seeds: [1, 2, 3]              an axis over `seed`: 0 .. 4, or the listed ones
//   limit: 1000                                   refuse to expand to more runs than this
// Order: entries outermost, then the axes as written, seeds innermost. Lists outside `grid` and `seeds` are plain values.
//
// The paper's (arXiv 2506.20752, olmo/scripts/run_sweep.py), known by its key `sweep`: a list of maps, each merged over the top-level keys; nested keys
// flattened with dots; then every list is an axis, the last one varying fastest. Without `sweep`, but with OLMo's keys, the top level is the one entry.
import { UsageError } from '../errors.ts'
import { parseYaml, type YamlFile } from '../io/yaml.ts'
import { isObject } from '../train/config.ts'

/** More runs than this need an explicit `limit`. */
const DEFAULT_LIMIT = 10_000

/** One run of a sweep before its configuration is resolved: patches to lay over the base, in order. */
export interface SweepPoint {
  /** What tells this run from its siblings: "e4m3 optimizer.lr=0.001 seed=1". */
  name: string
  patches: Record<string, unknown>[]
}

export interface SweepFile {
  form: 'blockscale' | 'olmo'
  /** The preset or file under `extends`; null if there is none. */
  base: string | null
  points: SweepPoint[]
  /** Where the file sets `key` for run `index`, ready to be appended to a message: " (rates.yaml line 3, column 5)"; '' where it does not. */
  where?(key: string, index: number): string
}

interface Axis { key: string, values: unknown[] }

/** Read a sweep. Throws UsageError (malformed YAML with line and column, nothing to expand to, more runs than the limit). */
export function parseSweep(text: string, source: string): SweepFile {
  const yaml = parseYaml(text, source)
  if (!isObject(yaml.value)) throw new UsageError(`${source}: a sweep is a mapping of keys to values`)
  const isTheirs = 'sweep' in yaml.value || (isOlmo(yaml.value) && !['entries', 'grid', 'seeds'].some(key => Object.hasOwn(yaml.value as object, key)))
  return isTheirs ? olmoSweep(yaml.value, yaml, source) : ownSweep(yaml.value, yaml, source)
}

function ownSweep(content: Record<string, unknown>, yaml: YamlFile, source: string): SweepFile {
  const { extends: base = null, entries, grid, seeds, limit = DEFAULT_LIMIT, ...fixed } = content
  const fail = (key: string, rule: string): never => { throw new UsageError(`${source}: ${key} = ${JSON.stringify(content[key])}: ${rule}${yaml.where([key])}`) }
  if (base !== null && typeof base !== 'string') fail('extends', 'must be the name of a preset or the path of a YAML file')
  if (!Number.isInteger(limit) || (limit as number) < 1) fail('limit', 'must be a positive integer')
  if (entries === undefined && grid === undefined && seeds === undefined) throw new UsageError(`${source}: nothing to sweep: needs entries, grid or seeds (or the paper's sweep)`)
  if (entries !== undefined && !(isObject(entries) && Object.values(entries).every(e => e === null || isObject(e)))) fail('entries', 'must map names to keys and values')
  if (grid !== undefined && !isObject(grid)) fail('grid', 'must map keys to lists')
  const axes = Object.entries(flatten((grid ?? {}) as Record<string, unknown>)).map(([key, values]) => {
    if (!Array.isArray(values)) throw new UsageError(`${source}: grid.${key} = ${JSON.stringify(values)}: must be a list${yaml.where(['grid', key])}`)
    return { key, values }
  })
  if (Array.isArray(seeds) || Number.isInteger(seeds)) axes.push({ key: 'seed', values: Array.isArray(seeds) ? seeds : Array.from({ length: seeds as number }, (_, i) => i) })
  else if (seeds !== undefined) fail('seeds', 'must be a number of seeds or a list of them')
  const named = Object.entries((entries ?? { '': null }) as Record<string, Record<string, unknown> | null>)
  checkCount(named.length * product(axes), limit as number, source)
  const points = named.flatMap(([name, patch]) => combinations(axes).map(values => ({
    name: [name, ...axes.map((a, i) => a.values.length > 1 ? `${a.key}=${label(values[i])}` : '')].filter(Boolean).join(' '),
    patches: [fixed, unflatten(patch ?? {}), unflatten(Object.fromEntries(axes.map((a, i) => [a.key, values[i]])))],
  })))
  const where = (key: string, index: number): string => {
    const path = key.split('.'), entry = named[Math.floor(index / product(axes))]?.[0] ?? ''
    const places = key === 'seed' && seeds !== undefined ? [['seeds']] : [['grid', key], ['grid', ...path], ['entries', entry, key], ['entries', entry, ...path], path]
    return places.map(p => yaml.where(p)).find(place => place) ?? ''
  }
  return { form: 'blockscale', base: base as string | null, points, where }
}

function olmoSweep(content: Record<string, unknown>, yaml: YamlFile, source: string): SweepFile {
  const { sweep = [{}], ...shared } = content
  if (!Array.isArray(sweep) || !sweep.every(isObject)) throw new UsageError(`${source}: sweep: must be a list of mappings${yaml.where(['sweep'])}`)
  const grids = sweep.map(entry => Object.entries(flatten(mergeMaps(shared, entry))).map(([key, value]): Axis => ({ key, values: Array.isArray(value) ? value : [value] })))
  checkCount(grids.reduce((sum, axes) => sum + product(axes), 0), DEFAULT_LIMIT, source)
  const points = grids.flatMap((axes, entry) => combinations(axes).map(values => ({
    name: [grids.length > 1 || axes.every(a => a.values.length === 1) ? `entry=${entry}` : '', ...axes.map((a, i) => a.values.length > 1 ? `${a.key}=${label(values[i])}` : '')].filter(Boolean).join(' '),
    patches: [unflatten(Object.fromEntries(axes.map((a, i) => [a.key, values[i]])))],
  })))
  return { form: 'olmo', base: null, points }
}

/** Is this a configuration of the paper's? Known by keys that are theirs alone. */
export const isOlmo = (content: unknown): boolean => isObject(content) && ['max_duration', 'model.d_model', 'model.w_mx_format', 'optimizer.learning_rate', 'device_train_microbatch_size'].some(key => Object.hasOwn(flatten(content), key))

const product = (axes: readonly Axis[]) => axes.reduce((n, a) => n * a.values.length, 1)
const label = (value: unknown) => typeof value === 'string' ? value : JSON.stringify(value)

function checkCount(runs: number, limit: number, source: string): void {
  if (runs === 0) throw new UsageError(`${source}: expands to no run: a list is empty`)
  if (runs > limit) throw new UsageError(`${source}: expands to ${runs} runs, limit ${limit} (raise it with the key limit)`)
}

/** Every choice of one value per axis, the last axis varying fastest. */
function combinations(axes: readonly Axis[]): unknown[][] {
  return axes.reduce<unknown[][]>((rows, { values }) => rows.flatMap(row => values.map(v => [...row, v])), [[]])
}

/** Nested maps as one map with dotted keys; lists stay values. */
export function flatten(map: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(map).flatMap(([key, value]) =>
    isObject(value) && Object.keys(value).length ? Object.entries(flatten(value)).map(([inner, v]) => [`${key}.${inner}`, v]) : [[key, value]]))
}

/** Dotted keys as nested maps. A dotted key descends into what an earlier key made. */
export function unflatten(map: Record<string, unknown>): Record<string, unknown> {
  const nested: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(map)) {
    const path = key.split('.')
    let at = nested
    for (const step of path.slice(0, -1)) at = (isObject(at[step]) ? at[step] : at[step] = {}) as Record<string, unknown>
    const last = path.at(-1)!
    at[last] = isObject(value) && isObject(at[last]) ? mergeMaps(at[last], value) : structuredClone(value)
  }
  return nested
}

/** `over` laid over `base`, map by map; lists and single values are replaced. */
export function mergeMaps(base: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const merged = { ...base }
  for (const [key, value] of Object.entries(over)) merged[key] = isObject(value) && isObject(merged[key]) ? mergeMaps(merged[key], value) : value
  return merged
}
