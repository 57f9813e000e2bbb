// Which layer runs under what: every site by itself, blocks kept high, norms, roundings, and every named scheme.
import { describe, expect, it } from 'vitest'
import { emitEvaluation, emitLossAndGradient } from '../../src/model/language-model.ts'
import { initializeTransformer } from '../../src/model/initialize.ts'
import { ParameterVector } from '../../src/model/parameters.ts'
import { ropeTable } from '../../src/model/rope.ts'
import { paperSites, resolveTransformerPrecision, type TransformerSites } from '../../src/model/transformer-precision.ts'
import { headDim, transformerLayout, type TransformerShape } from '../../src/model/transformer-shape.ts'
import { schemes, type PrecisionScheme } from '../../src/numerics/scheme.ts'
import { copy } from '../../src/ops/elementwise.ts'
import { readF64 } from '../../src/ops/reduce.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { Program } from '../../src/runtime/program.ts'

const shape: TransformerShape = { width: 64, depth: 3, heads: 2, vocabulary: 64, mlpRatio: 4, activation: 'gelu', norm: 'layernorm', qkNorm: true, tied: false, theta: 10000 }
const none: TransformerSites = { ...paperSites, qkv: false, attentionOut: false, mlp: false, head: false }

/** Loss and gradient of a small transformer, and what stands at the taps, under a scheme. */
function gradient(scheme: PrecisionScheme, sites: TransformerSites = paperSites, changes: Partial<TransformerShape> = {}) {
  const s = { ...shape, ...changes }, ex = new InlineExecutor(), { arena } = ex, layout = transformerLayout(s), batch = 2, context = 32
  const params = new ParameterVector(arena, layout), grads = new ParameterVector(arena, layout), tokens = arena.tensor(batch, context), loss = arena.tensor(4)
  initializeTransformer(ex, params, 7)
  for (const { name, shape } of layout.slots) if (shape.length === 1) arena.f32(params.get(name)).forEach((_, i, gamma) => { gamma[i] = 0.9 + (i % 7) * 0.031 })
  arena.u32(tokens).set(Uint32Array.from({ length: batch * context }, (_, i) => (i * i + 3 * i) % s.vocabulary))
  const input = { tokens, ropeTable: arena.from(ropeTable(context, headDim(s), s.theta), context, 2, headDim(s) / 2) }
  const random = { seed: 5n, stepPtr: arena.allocBytes(8), stream: 0, signs: arena.from(Array.from({ length: 64 }, (_, i) => i % 3 ? 1 : -1), 64) }
  const precision = () => resolveTransformerPrecision(scheme, sites, s, { random: { ...random } })
  const outputs = Array.from({ length: s.depth + 2 }, () => arena.tensor(batch, context, s.width)), p = new Program(arena), seen = new Program(arena)
  emitLossAndGradient(p, s, params, grads, input, precision(), { loss })
  let taps = 0
  emitEvaluation(seen, s, params, input, precision(), { loss: arena.tensor(4), tap: ({ output }) => copy(seen, output, outputs[taps++]!) })
  ex.runSync(p)
  ex.runSync(seen)
  return { loss: readF64(arena, loss)[0]!, grads: arena.f32(grads.flat).slice(), outputs: outputs.map(t => arena.f32(t).slice()), precision: precision() }
}

/** Layers with a block quantizer somewhere, as `block.layer`. */
const quantized = ({ precision }: ReturnType<typeof gradient>): string[] => {
  const layers = [0, 1, 2].flatMap(i => { const { attProj, attnOut, ffProj, ffOut, attention } = precision.block(i); return Object.entries({ attProj, attnOut, ffProj, ffOut, attention }).map(([name, l]) => [`${i}.${name}`, l] as const) })
  const uses = (q: unknown): boolean => typeof q === 'object' && q !== null && ('blockSize' in q || Object.values(q).some(uses))
  return [...layers, ['head', precision.head] as const].filter(([, l]) => l && uses([l.forward, 'dgrad' in l ? [l.dgrad, l.wgrad] : [l.backward, l.gradient]])).map(([name]) => name)
}
const blocks = (...names: string[]) => [0, 1, 2].flatMap(i => names.map(n => `${i}.${n}`))

describe('sites', () => {
  const bf16 = gradient(schemes.bf16!)

  it('without any, a block format is bf16', () => {
    const off = gradient(schemes['e4m3/e4m3']!, none)
    expect(quantized(off)).toEqual([])
    expect(off.grads).toEqual(bf16.grads)
  })

  it.each<[string, Partial<TransformerSites>, string[], number]>([
    ['qkv', { qkv: true }, blocks('attProj'), 1], ['attentionOut', { attentionOut: true }, blocks('attnOut'), 1], ['mlp', { mlp: true }, blocks('ffProj', 'ffOut'), 1],
    ['head', { head: true }, ['head'], 5], ['attentionProducts', { attentionProducts: true }, blocks('attention'), 1],
  ])('%s alone', (_, site, layers, firstChange) => {
    const on = gradient(schemes['e4m3/e4m3']!, { ...none, ...site })
    expect(quantized(on)).toEqual(layers)
    expect(on.loss).not.toBe(bf16.loss)
    // Taps: embedding, three blocks, final norm. All before the first quantized layer is untouched.
    expect(on.outputs.findIndex((o, i) => o.some((x, j) => x !== bf16.outputs[i]![j]))).toBe(firstChange === 5 ? -1 : firstChange)
  })

  it('blocks kept high at either end', () => {
    const high = gradient({ ...schemes['e4m3/e4m3']!, highFirst: 1, highLast: 1 })
    expect(quantized(high)).toEqual(['1.attProj', '1.attnOut', '1.ffProj', '1.ffOut', 'head'])
    expect(high.outputs[1]).toEqual(bf16.outputs[1])
    expect(high.outputs[2]).not.toEqual(bf16.outputs[2])
    expect(gradient({ ...schemes['e4m3/e4m3']!, highFirst: 3 }, { ...paperSites, head: false }).grads).toEqual(bf16.grads)
  })

  it('embedding and residual stream in bf16', () => {
    const isBf16 = (x: Float32Array) => new Uint32Array(x.buffer).every(w => (w & 0xffff) === 0), plain = gradient(schemes.fp32!)
    expect(isBf16(plain.outputs[0]!) || isBf16(plain.outputs[2]!)).toBe(false)
    const rounded = gradient(schemes.fp32!, { ...paperSites, embedding: 'bf16', residual: 'bf16' })
    for (const i of [0, 1, 2, 3]) expect(isBf16(rounded.outputs[i]!), `tap ${i}`).toBe(true)
    expect(Math.abs(rounded.loss - plain.loss)).toBeLessThan(0.01)
  })
})

describe('schemes', () => {
  const exact = gradient(schemes.fp32!), length = (x: Float32Array) => Math.sqrt(x.reduce((s, v) => s + v * v, 0)), norm = length(exact.grads)
  /** Relative error of a gradient. */
  const error = ({ grads }: { grads: Float32Array }) => length(grads.map((g, i) => g - exact.grads[i]!)) / norm

  it.each(Object.keys(schemes).filter(name => name !== 'fp32' && !name.startsWith('paper-code')))('%s gives a gradient near the exact one, and not it', name => {
    const g = gradient(schemes[name]!)
    expect(error(g)).toBeGreaterThan(1e-3)
    // Rounding E2M1's two significant bits at random errs by up to half of each number, in both operands.
    expect(error(g)).toBeLessThan(/e2m1|nvfp4|mxfp4|int/.test(name) || schemes[name]!.forward.weight === 'e2m1' ? 0.9 : 0.3)
    expect(Math.abs(g.loss - exact.loss)).toBeLessThan(0.1)
  })

  it('no two of them are the same', () => {
    // In a model as small as this, rounding to bf16 hides how a product was summed.
    const names = Object.keys(schemes).filter(name => !name.startsWith('paper-code') && !name.endsWith('/blackwell')), seen = new Map<string, string>()
    for (const name of names) {
      const { grads } = gradient(schemes[name]!), key = [...new Uint32Array(grads.buffer)].join()
      expect(seen.get(key), name).toBeUndefined()
      seen.set(key, name)
    }
  })

  it('what sums the products shows in f32 results', () => {
    const seen = ['f32', 'exact', 'blackwell', 'blackwell-mxf8f6f4', 'hopper'].map(accumulator => gradient({ ...schemes['mxfp8-rceil']!, vector: 'fp32', layerNorm: 'fp32', accumulator }).grads.join())
    expect(seen[2]).toBe(seen[3])
    expect(new Set(seen).size).toBe(4)
  })

  it('bf16 activations err less than E4M3 ones, these less than E5M2, these less than E2M1', () => {
    const errors = ['bf16', 'e4m3/bf16', 'e4m3/e4m3', 'e5m2/e5m2', 'e2m1/e2m1'].map(name => error(gradient(schemes[name]!)))
    expect(errors).toEqual([...errors].sort((a, b) => a - b))
  })

  it('an f32 backward of quantized operands is finer than a quantized one; attention products may be forward-only too', () => {
    const only = gradient(schemes['e4m3/e4m3/forward-only']!), everywhere = gradient(schemes['e4m3/e4m3']!)
    expect(error(only)).toBeLessThan(error(everywhere))
    const products = gradient(schemes['e4m3/e4m3/forward-only']!, { ...paperSites, attentionProducts: true })
    expect(products.precision.block(0).attention).toMatchObject({ backward: null, gradient: null, roundBackward: null })
    expect(products.grads).not.toEqual(only.grads)
  })

  it.each(['layernorm', 'rmsnorm'] as const)('%s in fp32, bf16 and MX', norm => {
    const [a, b, c] = (['fp32', 'bf16', 'mx'] as const).map(layerNorm => gradient({ ...schemes['e4m3/e4m3']!, layerNorm }, paperSites, { norm }))
    expect(new Set([a!.loss, b!.loss, c!.loss]).size).toBe(3)
    expect(c!.precision.finalNorm.affine).toMatchObject({ format: 'e4m3', blockSize: 32 })
  })

  it('NVFP4 of attention products is refused', () => {
    expect(() => gradient(schemes.nvfp4!, { ...paperSites, attentionProducts: true })).toThrow('sites.attentionProducts needs precision.scaling mx, which is nvfp4')
  })
})
