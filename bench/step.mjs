// A training step of the student-teacher model, one arm: batch, labels, forward, backward, Adam. Twice the size: as in `train quick`, and as in the paper
// (d=512, L=4, batch 2048). FP32, MX (E4M3 everywhere, layer norm in bf16), and MX with rounding to nearest even and scales rounded up.
import { loadConfig } from '../dist/train/config-file.js'
import { StudentTeacher } from '../dist/train/student-teacher.js'

const arms = ['fp32', 'e4m3/e4m3', 'mxfp8-rceil']
const sizes = [{ name: 'd128 L4 batch 256', set: ['model.width=128', 'batch=256'] }, { name: 'd512 L4 batch 2048', set: ['model.width=512', 'batch=2048'], runs: 3 }]

/** A step that alone trains, as a function; measures nothing. */
function stepper(executor, precision, set) {
  const config = loadConfig(null, ['model.depth=4', ...set, `precision=${precision}`, 'baseline=null', 'validation.every=0', 'metrics.gradient=0', 'metrics.overflow=0', 'metrics.activations=0', 'metrics.gamma=0'])
  const task = new StudentTeacher(executor, config)
  task.build(0)
  let done = 0
  const step = async () => {
    await task.prepare(done++)
    await task.gradients()
    await task.update()
  }
  return { step, flops: task.flops }
}

/** Timer of what takes seconds: `runs` runs after one to warm up, however many samples are asked for. */
function few(run, runs) {
  const seconds = []
  let samples = 0
  const timed = async () => {
    const start = performance.now()
    await run()
    return (performance.now() - start) / 1e3
  }
  return {
    async sample() {
      if (samples === 0) await run()
      if (seconds.length < runs) seconds.push(await timed())
      const least = seconds[samples++ % seconds.length]
      return { least, median: least }
    },
  }
}

export async function benches({ inline, pool, threads }) {
  const figures = []
  for (const { name, set, runs } of sizes) {
    for (const precision of arms.slice(0, runs ? 2 : 3)) {
      for (const count of threads > 1 ? [1, threads] : [1]) {
        const { step, flops } = stepper(count === 1 ? inline : await pool(), precision, set), full = `step/${name}/${precision.replace('/', '-')}`
        const suffix = count > 1 ? `/${count} threads` : ''
        figures.push({
          name: full + suffix, unit: 'ms', work: flops, limit: 'flops', task: `step/${name}`, beside: precision === 'fp32' ? undefined : `step/${name}/fp32${suffix}`,
          ...count > 1 ? { threads: count } : {}, run: step, ...runs ? { timer: few(step, runs) } : {},
        })
      }
    }
  }
  return figures
}
