// How the cost of a training step grows with width, depth, batch and threads: steps of the student (bench/step.mjs) round one point, and power laws through them.
// Run it alone: npm run bench -- growth
import { powerLaw } from './fit.mjs'
import { stepper } from './step.mjs'

const CENTRE = { width: 128, depth: 4, batch: 256 }
const AXES = { width: [64, 128, 256, 384], depth: [2, 4, 8], batch: [64, 128, 256, 512, 1024] }
const SCHEMES = ['fp32', 'e4m3/e4m3']

const nameOf = (scheme, { width, depth, batch }, threads) => `growth/${scheme.replace('/', '-')}/d${width} L${depth} batch ${batch}${threads > 1 ? `/${threads} threads` : ''}`

export async function benches({ inline, pool, threads, wanted }) {
  const figures = []
  const add = async (scheme, point, count) => {
    const name = nameOf(scheme, point, count)
    if (!wanted({ name }) || figures.some(f => f.name === name)) return
    const { step, flops } = await stepper(count === 1 ? inline : await pool(), scheme, [`model.width=${point.width}`, `model.depth=${point.depth}`, `batch=${point.batch}`])
    figures.push({ name, unit: 'ms', work: flops, limit: 'flops', task: 'growth', run: step, ...count > 1 && { threads: count } })
  }
  for (const scheme of SCHEMES) {
    for (const [axis, values] of Object.entries(AXES)) for (const value of values) await add(scheme, { ...CENTRE, [axis]: value }, 1)
    if (threads > 1) for (const width of AXES.width) await add(scheme, { ...CENTRE, width }, threads)
  }
  return figures
}

/** The laws, as lines and as rows. */
export function summary(figures, { threads }) {
  const seconds = new Map(figures.map(f => [f.name, f.least])), lines = [], rows = []
  for (const scheme of SCHEMES) {
    const law = (axis, count = 1) => {
      const points = AXES[axis].map(value => [value, seconds.get(nameOf(scheme, { ...CENTRE, [axis]: value }, count))]).filter(([, y]) => y)
      if (points.length < 3) return null
      const { exponent, worst } = powerLaw(points)
      rows.push({ name: `growth/${scheme.replace('/', '-')}/exponent of ${axis}${count > 1 ? `/${count} threads` : ''}`, value: exponent, unit: 'exponent' })
      return `${axis}^${exponent.toFixed(2)} (off by at most ${((worst - 1) * 100).toFixed(0)}%)`
    }
    const laws = Object.keys(AXES).map(axis => law(axis)).filter(Boolean)
    if (laws.length) lines.push(`${scheme}: a step grows as ${laws.join(', ')}`)
    const wide = threads > 1 && law('width', threads)
    if (!wide) continue
    const gains = AXES.width.map(width => [width, seconds.get(nameOf(scheme, { ...CENTRE, width }, 1)) / seconds.get(nameOf(scheme, { ...CENTRE, width }, threads))]).filter(([, gain]) => gain)
    lines.push(`${scheme}, ${threads} threads: ${wide}; over one thread ${gains.map(([width, gain]) => `${gain.toFixed(2)}x at d=${width}`).join(', ')}`)
  }
  return { lines, rows }
}
