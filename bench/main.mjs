// npm run bench [-- NAME...] [--json FILE] [--compare FILE] [--rounds N] [--ms N] [--threads N] [--peers] [--no-wide]
//
// Prints one line a figure: the best and the median rate of all samples, and the best as a share of what the machine can do (bench/limits.mjs, measured
// in the same run). NAME keeps the figures whose name contains it. A family is a file of this folder that exports `benches(context)`:
//   { name, unit, work, limit, task, run }   name: family/variant/size; work: flop, elements or bytes of one run; limit: 'flops', 'copy' or 'copy-memory';
//                                            per: for ms and us, what a run is divided by; threads: how many run it, one if not stated;
//                                            task: equal for figures that do the same work, peers included; run: what is timed, may be async
//                                            beside: name of a figure of the same task, to which the ratio is printed (as `besides`, if given);
//                                            timer: instead of run (measure.mjs)
// `unit` is GFLOP/s, GMAC/s, Gel/s, GB/s (work / time / 1e9) or ms or us (time; work unused).
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { describeEngine } from '../dist/runtime/engine.js'
import { InlineExecutor } from '../dist/runtime/executor.js'
import { open } from '../dist/runtime/open.js'
import { enableWide, wideAllowed } from '../dist/runtime/wide.js'
import { compareRow, compareRuns } from './compare.mjs'
import { copyRate, peakFlops } from './limits.mjs'
import { interleave, local } from './measure.mjs'

const { values: options, positionals: names, before } = given()
const helpers = ['main', 'wasm', 'limits', 'measure', 'compare', 'fit']

if (!options['no-wide'] && wideAllowed()) enableWide()
const inline = new InlineExecutor()
const threads = Number(options.threads)
let pool
const context = {
  threads,
  /** The executor on one thread. */
  inline,
  /** One on all threads; opened when first asked for. */
  pool: async () => pool ??= await open({ threads }),
  engine: describeEngine(),
  /** Is a figure of this name asked for? Others need not be prepared. */
  wanted: ({ name }) => !names.length || names.some(part => name.includes(part)),
}
const { engine, wanted } = context

// A processor does as many 128-bit operations in a second as 256-bit ones: half the flop.
const peak = await peakFlops(), peak128 = engine.simd === 256 ? peak / 2 : peak
const limits = { flops: peak, copy: await copyRate(2), 'copy-memory': await copyRate(64) }
const machine = `${cpus()[0].model.trim()}, ${cpus().length} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`
const mode = `${engine.simd}-bit, ${engine.relaxed ? 'relaxed SIMD' : 'no relaxed SIMD'}, tiles ${engine.tiles.strict} ${engine.tiles.fused ?? ''}`.trim()
console.log(`${machine}
${engine.runtime} (V8 ${engine.v8}), ${mode}
256-bit mode: ${engine.wide ?? 'not asked for'}
limits of one thread: ${(peak / 1e9).toFixed(1)} GFLOP/s in registers, ${(peak128 / 1e9).toFixed(1)} with 128-bit operations; memory.copy ${(limits.copy / 1e9).toFixed(1)} GB/s of 2 MiB, ${(limits['copy-memory'] / 1e9).toFixed(1)} GB/s of 64 MiB
best of ${options.rounds} rounds of ${options.ms} ms, ${new Date().toISOString().slice(0, 10)}
`)

const old = new Map(before?.map(row => [row.name, row]))
const rows = []
for (const family of readdirSync(import.meta.dirname ?? new URL('.', import.meta.url).pathname).filter(f => f.endsWith('.mjs')).map(f => f.slice(0, -4)).sort()) {
  if (helpers.includes(family)) continue
  const { benches, summary } = await import(`./${family}.mjs`)
  const mark = inline.arena.mark()
  const figures = (await benches(context)).filter(wanted)
  if (options.peers) figures.push(...await peersOf(figures))
  // Figures of one task are sampled in turn, so that ratios between them come from the same moments.
  for (const group of groups(figures)) {
    for (const f of group) f.timer ??= local(f.run)
    await interleave(group, { rounds: Number(options.rounds), ms: Number(options.ms) })
    for (const f of group) f.value = value(f, f.least)
    for (const f of group) report(f, group)
  }
  if (summary && figures.length) {
    const { lines, rows: more } = summary(figures, context)
    for (const line of lines) console.log(line)
    rows.push(...more.map(row => ({ ...common(), ...row })))
  }
  inline.arena.release(mark)
}
if (!rows.length) { console.error(`bench: no figure's name contains ${names.join(' or ')}`); process.exitCode = 2 }
if (before) for (const line of compareRuns(rows, before, wanted)) console.log(line)
if (options.json) writeFileSync(options.json, `${JSON.stringify(rows, null, 1)}\n`)
await pool?.close()
await closePeers()

/** What every row says of the run. */
function common() { return { machine, engine: `${engine.runtime} V8 ${engine.v8}`, mode, date: new Date().toISOString() } }

function groups(figures) {
  const map = new Map()
  for (const f of figures) map.set(f.task ?? f.name, [...map.get(f.task ?? f.name) ?? [], f])
  return map.values()
}

function value({ unit, work, per = 1 }, seconds) {
  if (unit === 'ms') return seconds / per * 1e3
  if (unit === 'us') return seconds / per * 1e6
  return work / seconds / 1e9
}

function report(f, group) {
  const rate = f.work / f.least / (f.threads ?? 1)
  const share = f.limit ? rate * (f.bytes ?? 1) / limits[f.limit] : null
  const faster = (a, b) => f.unit === 'ms' || f.unit === 'us' ? b.least / a.least : a.value / b.value
  const ratios = Object.fromEntries(group.filter(other => other.peer && !f.peer && other.threads === f.threads).map(other => [other.peer, Number(faster(f, other).toFixed(3))]))
  const alone = f.threads > 1 && group.find(other => !other.threads && f.name.startsWith(`${other.name}/`))
  if (alone) ratios['one thread'] = Number(faster(f, alone).toFixed(3))
  const beside = group.find(other => other.name === f.beside)
  if (beside) ratios[f.besides ?? beside.name.split('/').at(f.threads > 1 ? -2 : -1)] = Number(faster(f, beside).toFixed(3))
  const row = { name: f.name, value: f.value, median: value(f, f.median), unit: f.unit, limit: f.limit ?? null, share, peers: ratios, ...common() }
  rows.push(row)
  const { gain, verdict } = compareRow(row, old.get(f.name))
  console.log([
    f.name.padEnd(44), f.value.toFixed(f.value < 10 ? 2 : 1).padStart(8), `(${row.median.toFixed(row.median < 10 ? 2 : 1)})`.padStart(9), f.unit.padEnd(8),
    share === null ? '' : f.limit === 'flops' ? `${(100 * share).toFixed(0)}% of peak${peak128 < peak ? `, ${(100 * rate / peak128).toFixed(0)}% of 128-bit peak` : ''}` : `${(100 * share).toFixed(0)}% of ${f.limit}`, ...Object.entries(ratios).map(([peer, r]) => `${r.toFixed(2)}x ${peer}`),
    before ? gain === null ? verdict : `${gain.toFixed(2)}x before: ${verdict}` : '',
  ].join('  ').trimEnd())
}

async function peersOf(figures) {
  const { peerFigures } = await import('./peers/peers.mjs')
  return peerFigures(figures)
}

async function closePeers() {
  if (options.peers) (await import('./peers/peers.mjs')).close()
}

/** The command line; a wrong one is told in a line, exit code 2. */
function given() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        json: { type: 'string' }, compare: { type: 'string' }, rounds: { type: 'string', default: '7' }, ms: { type: 'string', default: '40' },
        threads: { type: 'string', default: String(availableParallelism()) }, peers: { type: 'boolean', default: false }, 'no-wide': { type: 'boolean', default: false },
      },
    })
    for (const name of ['rounds', 'ms', 'threads']) if (!/^[1-9]\d*$/.test(values[name])) throw new Error(`--${name} is ${values[name]}, must be a positive integer`)
    return { values, positionals, before: values.compare === undefined ? null : JSON.parse(readFileSync(values.compare, 'utf8')) }
  } catch ({ message }) {
    console.error(`bench: ${message.split('\n')[0]}\nusage: npm run bench -- [NAME...] [--json FILE] [--compare FILE] [--rounds N] [--ms N] [--threads N] [--peers] [--no-wide]`)
    process.exit(2)
  }
}
