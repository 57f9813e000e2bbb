// A training step of the student-teacher model, one arm: batch, labels, forward, backward, Adam. Twice the size: as in `train quick`, and as in the paper
// (d=512, L=4, batch 2048). FP32, MX (E4M3 everywhere, layer norm in bf16), and MX with rounding to nearest even and scales rounded up. Peers: the same model
// in torch, eager f32, and quantized by microxcaling; they train on one batch with fixed labels, as the figures `on one batch` do.
import { loadConfig } from '../dist/train/config-file.js'
import { StudentTeacher } from '../dist/train/student-teacher.js'
import { few, local } from './measure.mjs'

const arms = ['fp32', 'e4m3/e4m3', 'mxfp8-rceil']
const sizes = [{ width: 128, depth: 4, batch: 256 }, { width: 512, depth: 4, batch: 2048, runs: 7 }]

/** A step that only trains, as a function: it measures nothing. `again` trains on the batch there is, which is drawn here first. */
export async function stepper(executor, precision, set) {
  const config = loadConfig(null, [...set, `precision=${precision}`, 'baseline=null', 'validation.every=0', 'metrics.gradient=0', 'metrics.overflow=0', 'metrics.activations=0', 'metrics.gamma=0'])
  const task = new StudentTeacher(executor, config)
  task.build(0)
  await task.prepare(0)
  let done = 0
  const again = async () => {
    await task.gradients()
    await task.update()
  }
  const step = async () => {
    await task.prepare(done++)
    await again()
  }
  return { step, again, flops: task.flops }
}

export async function benches({ inline, pool, threads, wanted }) {
  const figures = []
  for (const { runs, ...question } of sizes) {
    const { width, depth, batch } = question, name = `d${width} L${depth} batch ${batch}`, set = [`model.width=${width}`, `model.depth=${depth}`, `batch=${batch}`]
    for (const precision of arms.slice(0, runs ? 2 : 3)) {
      for (const count of threads > 1 ? [1, threads] : [1]) {
        const named = (scheme, variant) => `step/${name}/${scheme.replace('/', '-')}${variant}${count > 1 ? `/${count} threads` : ''}`
        const variants = ['', ' on one batch'].filter(variant => wanted({ name: named(precision, variant) }))
        if (!variants.length) continue
        const { step, again, flops } = await stepper(count === 1 ? inline : await pool(), precision, set)
        for (const variant of variants) {
          const run = variant ? again : step
          figures.push({
            name: named(precision, variant), unit: 'ms', work: flops, limit: 'flops', task: `step/${name}`, beside: precision === 'fp32' ? undefined : named('fp32', variant), besides: 'fp32',
            ...count > 1 && { threads: count }, question, runs, run, ...runs && { timer: few(local(run), runs) },
          })
        }
      }
    }
  }
  return figures
}
