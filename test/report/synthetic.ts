// Metrics of a run that never happened, with the shapes that real ones have: for tests and for looking at the report without training.
import { configHash, loadConfig, overrideConfig } from '../../src/train/config-file.ts'
import type { RunConfig } from '../../src/train/config.ts'
import { RunDirectory } from '../../src/train/run-directory.ts'
import type { Comparison, MetricsRow } from '../../src/train/types.ts'

/** A repeatable stream in [0, 1). */
function random(seed: number): () => number {
  let s = seed >>> 0
  return () => { s = (Math.imul(s, 1664525) + 1013904223) >>> 0; return s / 2 ** 32 }
}

const engine = {
  runtime: 'node 20.0.0', v8: '11.3', threads: 2, simd: 128, relaxed: false, tiles: { strict: '4x8', fused: null }, wide: null,
  modules: { kernels: 'a'.repeat(64), relaxed: 'c'.repeat(64) },
} as const

/** Write a synthetic run. `diverge`: the step at which the studied arm's loss blows up. `overrides` as for --set; `from`: steps before it are left out. */
export function writeSyntheticRun(directory: string, { preset = 'quick', overrides = [], diverge = Infinity, from = 0, parent, seed = 1, base }: { preset?: string, overrides?: string[], diverge?: number, from?: number, parent?: { directory: string, step: number }, seed?: number, base?: RunConfig } = {}): RunConfig {
  const config = base ? overrideConfig(base, overrides) : loadConfig(preset, overrides)
  const { steps, metrics, probes, model, validation } = config
  const run = RunDirectory.open(directory, config, { engine, ...parent ? { parent } : {} })
  const r = random(seed), noise = (width: number) => 1 + width * (r() + r() + r() - 1.5)
  const armNames = config.baseline ? ['baseline', 'studied'] as const : ['studied'] as const
  const comparison = (relativeError: number, cosine: number): Comparison => ({ relativeError, cosine, zeta: relativeError ** 2, meanDifference: 1e-5 * (r() - 0.5) })
  for (let step = Math.max(1, from); step <= steps; step++) {
    const t = step / 1000, rows: MetricsRow[] = []
    const base = 1.15 * Math.exp(-step / 22) + 0.0085 + 0.03 * Math.exp(-step / 160)
    const batch = noise(0.12)
    for (const arm of armNames) {
      const worse = arm === 'studied' ? 1 + 0.012 * Math.min(1, t) : 1
      const spike = arm === 'studied' && step > diverge ? Math.exp(Math.min(5, (step - diverge) / 25)) : 1
      const loss = base * worse * batch * noise(0.01) * spike
      if (metrics.loss && step % metrics.loss === 0) rows.push({ kind: 'step', arm, step, loss: loss > 50 ? null : loss, lr: config.optimizer.lr, seconds: 0.05 })
      if (validation.every && step % validation.every === 0) rows.push({ kind: 'validation', arm, step, loss: base * worse * spike })
      if (metrics.gradient && step % metrics.gradient === 0) rows.push({ kind: 'gradient', arm, step, norm: 0.4 * Math.exp(-step / 60) + 0.02 * noise(0.3), groups: {} })
      const drift = 1 / (1 + Math.exp(-(t - 0.62) * 9))
      if (metrics.overflow && step % metrics.overflow === 0 && model.layerNorm) {
        const tensors: Record<string, number> = {}
        for (let i = 0; i < model.depth; i++) {
          tensors[`layers.${i}.ln.gamma`] = Math.min(1, Math.max(0, Math.round((drift * (1.15 - 0.12 * i) - 0.03 + 0.02 * (r() - 0.5)) * model.width) / model.width))
          tensors[`layers.${i}.ln.beta`] = 0.01 * r()
          tensors[`layers.${i}.fc1.weight`] = 0.0089 + 0.001 * r()
          tensors[`layers.${i}.fc2.weight`] = 0.0091 + 0.001 * r()
          tensors[`layers.${i}.hidden`] = 0.0065 + 0.001 * r()
          tensors[`layers.${i}.output`] = 0.0088 + 0.001 * r()
        }
        const mean = (suffix: string) => { const v = Object.entries(tensors).filter(([k]) => k.endsWith(suffix)).map(([, x]) => x); return v.reduce((a, b) => a + b, 0) / v.length }
        rows.push({ kind: 'overflow', arm, step, tensors, totals: { weights: mean('weight'), gamma: mean('gamma'), beta: mean('beta'), hidden: mean('hidden'), outputs: mean('output') } })
      }
      if (metrics.gamma && (step % metrics.gamma === 0 || step === 1) && model.layerNorm) {
        const layers = Array.from({ length: model.depth }, (_, layer) => Array.from({ length: model.width }, () =>
          1 - 0.066 * Math.min(1, t * 1.05) + (0.002 + 0.03 * Math.min(1, t)) * (r() + r() + r() - 1.5) * 1.15 + 0.004 * layer))
        rows.push({ kind: 'gamma', arm, step, layers })
      }
    }
    if (config.baseline && metrics.gradient && step % metrics.gradient === 0) {
      const e = 0.08 + 1.1 * Math.min(1, t * 1.4) * noise(0.1)
      rows.push({ kind: 'trajectory', step, upperBound: 0.1, ...comparison(e, 1 / Math.sqrt(1 + e * e)) })
    }
    if (probes.every && step % probes.every === 0) {
      for (const [probe, scheme] of Object.entries(probes.schemes)) {
        const level = scheme.layerNorm === 'mx' ? 0.07 + 0.85 * Math.min(1, Math.max(0, t - 0.15) * 1.6) : (scheme.layerNorm === 'bf16' ? 1.12 : 1) * (0.05 + 0.27 * Math.min(1, t * 1.5))
        const e = level * noise(0.12)
        rows.push({ kind: 'probe', arm: probes.weights, step, probe, ...comparison(e, scheme.layerNorm === 'mx' ? Math.max(0.2, 1 - e * 0.75) : 1 / Math.sqrt(1 + e * e)) })
      }
    }
    for (const { step: at } of config.precisionSchedule) if (step === at + 1) rows.push({ kind: 'event', step, event: 'precision', detail: '' })
    run.log(...rows)
  }
  run.finish({ directory, steps, finished: true, loss: {}, validation: {}, seconds: 71.3, weightsHash: configHash(config).replaceAll('0', '1') })
  run.close()
  return config
}
