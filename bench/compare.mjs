// An earlier run against this one: a verdict per figure, and a warning where the two are not alike.

/** A change smaller than this is none: what best-of-N leaves of noise. */
const NOISE = 0.05

const isTime = unit => unit === 'ms' || unit === 'us'

/** `gain`: how many times faster `row` is than `old`, a row of the same name (null: there is none, or it has another unit); and the verdict in a word. */
export function compareRow(row, old) {
  if (!old) return { gain: null, verdict: 'new' }
  if (old.unit !== row.unit) return { gain: null, verdict: `was in ${old.unit}` }
  const gain = isTime(row.unit) ? old.value / row.value : row.value / old.value
  return { gain, verdict: gain > 1 + NOISE ? 'faster' : gain < 1 / (1 + NOISE) ? 'SLOWER' : 'same' }
}

/** Lines to print under the figures: how the two runs differ, figures that the earlier one had and `wanted` accepts, and the sum of the verdicts. */
export function compareRuns(rows, before, wanted = () => true) {
  const old = new Map(before.map(row => [row.name, row])), now = new Set(rows.map(row => row.name)), lines = []
  for (const fact of ['machine', 'engine', 'mode']) {
    const [was, is] = [before, rows].map(list => [...new Set(list.map(row => row[fact]))].join(' and '))
    if (was !== is && rows.length && before.length) lines.push(`another ${fact}: ${was} before, ${is} now`)
  }
  const gone = before.filter(row => wanted(row) && !now.has(row.name)).map(row => row.name)
  if (gone.length) lines.push(`not measured now: ${gone.join(', ')}`)
  const counts = {}
  for (const row of rows) { const { verdict } = compareRow(row, old.get(row.name)); counts[verdict] = (counts[verdict] ?? 0) + 1 }
  lines.push(Object.entries(counts).map(([verdict, n]) => `${n} ${verdict}`).join(', ') || 'nothing to compare')
  return lines
}
