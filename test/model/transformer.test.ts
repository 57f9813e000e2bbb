import { describe, expect, it } from 'vitest'
import { emitEvaluation, emitLossAndGradient } from '../../src/model/language-model.ts'
import { initialDeviation, initializeTransformer } from '../../src/model/initialize.ts'
import { exportNames, importNames, shapeOf } from '../../src/model/names.ts'
import { ParameterVector } from '../../src/model/parameters.ts'
import { ropeTable } from '../../src/model/rope.ts'
import { paperSites, resolveTransformerPrecision } from '../../src/model/transformer-precision.ts'
import { flopsPerToken, headDim, namedSize, parameterCount, sizes, transformerLayout, type TransformerShape } from '../../src/model/transformer-shape.ts'
import { schemes } from '../../src/numerics/scheme.ts'
import { readF64 } from '../../src/ops/reduce.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { Program } from '../../src/runtime/program.ts'

const paper: TransformerShape = { width: 64, depth: 2, heads: 2, vocabulary: 50, mlpRatio: 4, activation: 'gelu', norm: 'layernorm', qkNorm: true, tied: false, theta: 10000 }
const variants: [string, Partial<TransformerShape>][] = [
  ['the paper\'s', {}], ['tied head', { tied: true }], ['SwiGLU', { activation: 'swiglu' }], ['no QK norm', { qkNorm: false }], ['RMS norm', { norm: 'rmsnorm' }], ['ReLU, three heads of 6', { activation: 'relu', width: 18, heads: 3 }],
]

function model(changes: Partial<TransformerShape> = {}, { batch = 2, context = 9, seed = 7 } = {}) {
  const s = { ...paper, ...changes }, ex = new InlineExecutor(), { arena } = ex, layout = transformerLayout(s)
  const params = new ParameterVector(arena, layout), grads = new ParameterVector(arena, layout)
  initializeTransformer(ex, params, seed)
  const tokens = arena.tensor(batch, context), loss = arena.tensor(4)
  arena.u32(tokens).set(Uint32Array.from({ length: batch * context }, (_, i) => (i * i + 3 * i) % s.vocabulary))
  const table = arena.from(ropeTable(context, headDim(s), s.theta), context, 2, headDim(s) / 2)
  return { s, ex, arena, params, grads, loss, tokens, input: { tokens, ropeTable: table } }
}

const fp32 = (s: TransformerShape) => resolveTransformerPrecision(schemes.fp32!, paperSites, s)

describe('transformer', () => {
  it.each(variants)('has the gradient of finite differences: %s', (_, changes) => {
    const { s, ex, arena, params, grads, loss, input } = model(changes)
    const gradient = new Program(arena), evaluation = new Program(arena), value = arena.tensor(4)
    emitLossAndGradient(gradient, s, params, grads, input, fp32(s), { loss, zWeight: 0.01 })
    emitEvaluation(evaluation, s, params, input, fp32(s), { loss: value, zWeight: 0.01 })
    ex.runSync(gradient)
    ex.runSync(evaluation)
    expect([...readF64(arena, loss)]).toEqual([...readF64(arena, value)])
    // Along the gradient itself, tensor by tensor, the loss changes by |g| times the step.
    for (const { name } of params.layout.slots) {
      const g = arena.f32(grads.get(name)).slice(), saved = arena.f32(params.get(name)).slice(), norm = Math.hypot(...g), h = 2e-3
      const at = (sign: number) => {
        arena.f32(params.get(name)).set(saved.map((w, i) => w + sign * h * g[i]! / norm))
        ex.runSync(evaluation)
        const [crossEntropy, z] = readF64(arena, value) as unknown as [number, number]
        return crossEntropy + z
      }
      const slope = (at(1) - at(-1)) / (2 * h)
      arena.f32(params.get(name)).set(saved)
      expect(Math.abs(slope - norm) / norm, name).toBeLessThan(0.02)
    }
  })

  it('gives the same gradient again, and does not look ahead', () => {
    const { s, ex, arena, params, grads, loss, tokens, input } = model(), perPosition = arena.tensor(2 * 9, 4), p = new Program(arena)
    emitLossAndGradient(p, s, params, grads, input, fp32(s), { loss, perPosition })
    ex.runSync(p)
    const first = arena.f32(grads.flat).slice(), losses = readF64(arena, perPosition)
    ex.runSync(p)
    expect(arena.f32(grads.flat)).toEqual(first)
    arena.u32(tokens)[8] = 49 // the last token of the first sequence: predicted at position 7, read at position 8
    ex.runSync(p)
    const changed = readF64(arena, perPosition)
    expect([...losses.keys()].filter(i => losses[i] !== changed[i])).toEqual([2 * 7])
    expect(losses[2 * 8]).toBe(0)
  })

  it('starts near the loss of guessing', () => {
    const { s, ex, arena, params, input, loss } = model({ vocabulary: 256, width: 128, heads: 2 }), p = new Program(arena)
    emitEvaluation(p, s, params, input, fp32(s), { loss })
    ex.runSync(p)
    expect(Math.abs(readF64(arena, loss)[0]! - Math.log(256))).toBeLessThan(0.9) // logits have variance near 1, which adds about 1/2
  })
})

describe('initial weights', () => {
  it('have the stated deviation, cut at three of them', () => {
    const { params, arena } = model({ width: 128, vocabulary: 500, heads: 2 })
    for (const { name, shape } of params.layout.slots) {
      const w = arena.f32(params.get(name)), deviation = initialDeviation(name, shape)
      if (deviation === null) { expect(new Set(w)).toEqual(new Set([1])); continue }
      const std = Math.sqrt(w.reduce((a, x) => a + x * x, 0) / w.length)
      expect(Math.abs(std / deviation - 0.9866)).toBeLessThan(0.02) // the cut takes 1.3 % off
      expect(Math.max(...w.map(Math.abs)) / deviation).toBeLessThanOrEqual(3.000001)
      expect(Math.max(...w.map(Math.abs)) / deviation).toBeGreaterThan(2.8)
    }
    expect(initialDeviation('transformer.blocks.1.ff_out.weight', [64, 256])).toBe(1 / Math.sqrt(256 * 4))
    expect(initialDeviation('transformer.blocks.1.ff_proj.weight', [256, 64])).toBe(1 / 8)
  })

  it('are a function of the seed', () => {
    const weights = (seed: number) => { const m = model({}, { seed }); return m.arena.f32(m.params.flat).slice() }
    expect(weights(1)).toEqual(weights(1))
    expect(weights(1)).not.toEqual(weights(2))
  })
})

describe('sizes', () => {
  it('count parameters as the paper does', () => {
    for (const [name, size] of Object.entries(sizes)) {
      const s = { ...paper, ...size, vocabulary: 32000 }, { width: d, depth: L } = size
      expect(parameterCount(s), name).toBe(2 * 32000 * d + L * (12 * d * d + 4 * d) + d)
    }
    expect(parameterCount({ ...paper, ...namedSize('olmo-256'), vocabulary: 32000 })).toBe(19534080)
    expect(parameterCount({ ...paper, ...namedSize('olmo-2048'), vocabulary: 32000 }) / 1e9).toBeCloseTo(1.74, 2)
    expect(parameterCount({ ...paper, ...namedSize('olmo-2560'), vocabulary: 32000 }) / 1e9).toBeCloseTo(3.31, 2)
    expect(() => namedSize('olmo-7b')).toThrow(/unknown model size/)
  })

  it('count operations per token', () => {
    const s = { ...paper, ...namedSize('olmo-256'), vocabulary: 32000 }, f = flopsPerToken(s, 512)
    expect(f.budget).toBe(6 * 19534080)
    expect(f.matmul).toBe(6 * (4 * 12 * 256 ** 2 + 32000 * 256) + 6 * 4 * 256 * 512)
  })

  it('that cannot be built are refused', () => {
    expect(() => transformerLayout({ ...paper, heads: 3 })).toThrow(/not a multiple/)
    expect(() => transformerLayout({ ...paper, width: 6, heads: 2 })).toThrow(/must be even/)
  })
})

describe('names of other libraries', () => {
  it.each(variants.slice(0, 4))('go there and back: %s', (_, changes) => {
    const { s, params, arena } = model(changes), own = params.export(arena)
    for (const naming of ['olmo', 'huggingface'] as const) {
      const out = exportNames(s, own, naming)
      expect(importNames(s, out)).toEqual(own)
      expect(shapeOf(out, s)).toEqual(s)
    }
  })

  it('are those that transformers uses', () => {
    const { s, params, arena } = model(), out = exportNames(s, params.export(arena), 'huggingface')
    expect([...out.keys()].filter(n => !n.includes('layers.1'))).toEqual([
      'model.embed_tokens.weight', 'model.layers.0.input_layernorm.weight', 'model.layers.0.self_attn.q_proj.weight', 'model.layers.0.self_attn.k_proj.weight',
      'model.layers.0.self_attn.v_proj.weight', 'model.layers.0.self_attn.q_norm.weight', 'model.layers.0.self_attn.k_norm.weight', 'model.layers.0.self_attn.o_proj.weight',
      'model.layers.0.post_attention_layernorm.weight', 'model.layers.0.mlp.up_proj.weight', 'model.layers.0.mlp.down_proj.weight', 'model.norm.weight', 'lm_head.weight',
    ])
    const fused = params.export(arena).get('transformer.blocks.0.att_proj.weight')!.values
    expect(out.get('model.layers.0.self_attn.k_proj.weight')!.values).toEqual(fused.slice(64 * 64, 2 * 64 * 64))
  })

  it('name what is missing, too much or of another shape', () => {
    const { s, params, arena } = model(), own = params.export(arena), name = 'transformer.ln_f.weight'
    expect(() => importNames(s, new Map([...own].filter(([n]) => n !== name)))).toThrow(/transformer.ln_f.weight is missing/)
    expect(() => importNames(s, new Map([...own, ['extra', own.get(name)!]]))).toThrow(/extra has no place/)
    expect(() => importNames({ ...s, vocabulary: 51 }, own)).toThrow(/wte.weight has shape \[50,64\], the model needs \[51,64\]/)
    expect(() => shapeOf(new Map(), s)).toThrow(/neither/)
  })
})
