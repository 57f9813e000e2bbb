// A training step of the language model, one arm: forward, loss, backward, clipping, AdamW. d=256, L=4, 4 heads, context 256, 8 sequences, bytes as tokens.
// FP32, MX (E4M3 everywhere with the head, norms and GELU as bf16 chains), and MX weights with bf16 activations. Peer: the same model in torch, eager f32.
import { loadConfig } from '../dist/train/config-file.js'
import { LanguageModel } from '../dist/train/language-model.js'

const variants = { fp32: ['precision=fp32'], 'e4m3-e4m3': ['precision=e4m3/e4m3', 'precision.activation=bf16'], 'e4m3-bf16': ['precision=e4m3/bf16', 'precision.activation=bf16'] }

async function stepper(executor, set) {
  const task = await LanguageModel.create(executor, loadConfig('lm-quick', [
    'model.size=olmo-256', 'model.context=256', 'batch=8', 'baseline=null', 'metrics.gradient=0', 'metrics.overflow=0', 'validation.every=0', 'samples.every=0', ...set,
  ]))
  task.build(0)
  let done = 0
  return {
    flops: task.flops,
    async step() {
      await task.prepare(done++)
      await task.gradients()
      await task.update()
    },
  }
}

export async function benches({ inline, pool, threads, wanted }) {
  const figures = []
  for (const count of threads > 1 ? [1, threads] : [1]) {
    for (const [variant, set] of Object.entries(variants)) {
      const suffix = count > 1 ? `/${count} threads` : '', common = 'lm/d256 L4 context 256 batch 8', name = `${common}/${variant}${suffix}`
      if (!wanted({ name })) continue
      const { step, flops } = await stepper(count === 1 ? inline : await pool(), set)
      figures.push({
        name, unit: 'ms', work: flops, limit: 'flops', task: 'lm', run: step,
        ...variant !== 'fp32' && { beside: `${common}/fp32${suffix}` }, ...count > 1 && { threads: count },
      })
    }
  }
  return figures
}
