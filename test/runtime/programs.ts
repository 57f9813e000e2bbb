// Random programs for the executors' tests: chains of operations over square matrices, each of which reads one or two earlier results. Between them the
// operations reach every kernel (pool.test.ts says which not, and why).
import type { FormatName } from '../../src/numerics/formats.ts'
import { mmaConfig, mmaModels } from '../../src/numerics/mma.ts'
import { nvfp4Profiles } from '../../src/numerics/nvfp4.ts'
import { bf16Away, bf16Even, bfloat, blockQuantizer, fp } from '../../src/numerics/profiles.ts'
import { castPolicies } from '../../src/numerics/cast.ts'
import { activationBackward, activationForward, type ActivationMode, type ActivationName } from '../../src/ops/activation.ts'
import { causalSoftmax, causalSoftmaxBackward, causalSoftmaxTorch, rope, rowsOf, scaleHeads } from '../../src/ops/attention.ts'
import { repeatRows, transpose, transposeBytes } from '../../src/ops/arrange.ts'
import { blockGemm, integerBlocks } from '../../src/ops/block-gemm.ts'
import { codesTensor, decodeElements, dequantize, encodeElements, encodeScales, quantizeCodes, scaleShape } from '../../src/ops/codes.ts'
import { add, addRow, axpy, copyColumns, mul, scale, sub } from '../../src/ops/elementwise.ts'
import { embeddingBackward, embeddingForward, nextTokens } from '../../src/ops/embedding.ts'
import { gemm } from '../../src/ops/gemm.ts'
import { TE_SIGNS, hadamard, signVector } from '../../src/ops/hadamard.ts'
import { crossEntropy, mse } from '../../src/ops/loss.ts'
import { accumulate, epilogue } from '../../src/ops/matmul.ts'
import { decodeOperand, mma, type MmaOperand } from '../../src/ops/mma.ts'
import { layerNormBackward, layerNormForward, rmsNormBackward, rmsNormForward, type NormMode } from '../../src/ops/norm.ts'
import { adam, adamStep, clipByNorm, sgd, sgdStep } from '../../src/ops/optimizer.ts'
import { preparedGemm } from '../../src/ops/packed-gemm.ts'
import { fakeQuantize, roundElements } from '../../src/ops/quantize.ts'
import { dequantizeNvfp4, nvfp4TensorScale, quantizeNvfp4, rescaleNvfp4 } from '../../src/ops/nvfp4.ts'
import { normal, uniform } from '../../src/ops/random.ts'
import { columnSum, comparison, finiteCheck, moments, overflowCount } from '../../src/ops/reduce.ts'
import { size, type Arena, type Tensor } from '../../src/runtime/memory.ts'
import { Program } from '../../src/runtime/program.ts'

/** Width of the matrices: odd, so that kernels meet their tails. */
export const N = 37

/** One operation: emits calls that write `out` from `a` and `b`. `seed` chooses among its variants. */
export type Operation = (p: Program, out: Tensor, a: Tensor, b: Tensor, seed: number) => void

const pick = <T>(list: readonly T[], seed: number): T => list[seed % list.length]!
/** Part of a matrix, seen with another shape. */
const view = (t: Tensor, ...shape: number[]): Tensor => ({ ptr: t.ptr, shape })
/** The first row. */
const row = (t: Tensor): Tensor => view(t, N)
/** Constants of a program, written while it is built. */
const integers = (p: Program, values: ArrayLike<number>): Tensor => {
  const t = p.arena.tensor(values.length)
  p.arena.u32(t).set(values)
  return t
}
const step = (p: Program, seed: number): number => integers(p, [seed, 0]).ptr

const formats: readonly FormatName[] = ['e4m3', 'e5m2', 'e3m2', 'e2m3', 'e2m1', 'int8']
const profiles = ['ocp', 'microxcaling', 'microxcaling-cuda'] as const
const norms: readonly NormMode[] = [{ kind: 'fp32', eps: 1e-5 }, { kind: 'bf16', eps: 1e-5, rounding: 'nearest-away', backward: 'bf16' }]
const activations: readonly (ActivationName | 'swiglu')[] = ['gelu', 'relu', 'silu', 'tanh', 'linear', 'swiglu']
const activationModes: readonly ActivationMode[] = [{ kind: 'exact' }, { kind: 'bf16', rounding: 'nearest-even', backward: 'bf16' }, { kind: 'sigmoid-form' }]
const policies = Object.values(castPolicies).filter(policy => policy.rounding !== 'stochastic')

export const operations: Record<string, Operation> = {
  fill: (p, out, _a, _b, seed) => p.emit('fill_f32', [out.ptr, seed / 7], N * N),
  copy: (p, out, a, _b, seed) => p.emit('copy_f32', [out.ptr, a.ptr], N * N, 1 + seed % 100),
  'copy, alone': (p, out, a) => p.emit('copy_f32', [out.ptr, a.ptr], N * N, N * N),
  'two halves, no barrier between': (p, out, a, b) => p.nowait(() => {
    const half = (N * N) >> 1
    p.emit('copy_f32', [out.ptr, a.ptr], half).emit('copy_f32', [out.ptr + half * 4, b.ptr + half * 4], N * N - half, 64)
  }),
  'a chain over the same items': (p, out, a) => p.nowait(() => {
    const t = p.temp(N, N)
    p.emit('copy_f32', [t.ptr, a.ptr], N * N).emit('copy_f32', [out.ptr, t.ptr], N * N)
    p.free(t)
  }),
  elementwise(p, out, a, b, seed) {
    pick([add, sub, mul], seed)(p, a, b, out)
    scale(p, out, 0.75, out)
    axpy(p, 0.3, b, out)
    addRow(p, out, row(a), out, pick([null, bf16Away], seed))
    copyColumns(p, { x: a, fromColumn: 3, out, toColumn: 20, columns: 5 })
  },
  elementary: (p, out, a, _b, seed) => p.emit('elementary_f32', [seed % 4, a.ptr, out.ptr], N * N),
  gemm: (p, out, a, b, seed) => gemm(p, { a, b, c: out, transA: (seed & 1) === 1, transB: (seed & 2) === 2, products: seed & 4 ? 'exact' : 'rounded' }),
  'prepared gemm'(p, out, a, b, seed) {
    const operand = (src: Tensor, axis: number, format: FormatName) => ({ src, axis, quantizer: seed & 4 ? null : blockQuantizer('ocp', format, { blockSize: 8 }), round: pick([null, bfloat(16)], seed >> 3) })
    preparedGemm(p, { a: operand(a, seed & 1, pick(formats, seed)), b: operand(b, seed >> 1 & 1, 'e4m3'), c: out, bias: seed & 16 ? row(a) : null, round: pick([null, bfloat(16)], seed >> 5), turns: seed % 3 })
  },
  'block gemm'(p, out, a, b, seed) {
    const quantizer = blockQuantizer('ocp', pick(['e2m1', 'int8'], seed), { blockSize: 16 })
    const [x, y] = [a, b].map(t => { const q = p.temp(N, N); fakeQuantize(p, t, q, 1, quantizer); return integerBlocks(p, q, 16) }) as [ReturnType<typeof integerBlocks>, ReturnType<typeof integerBlocks>]
    blockGemm(p, { a: x, b: y, c: out })
  },
  'product summed at once'(p, out, a, b, seed) {
    const d = p.temp(N, N)
    accumulate(p, { accumulate: pick(['exact', 'f32-fma', 'f64'] as const, seed), a, b }, d)
    epilogue(p, d, out.ptr, { half: false, nan: 0x7fc00000, output: 'f32', alpha: 0.5, beta: 0.25, ...seed & 1 && { c: a } })
    p.free(d)
  },
  mma(p, out, a, b, seed) {
    const config = mmaConfig(pick(Object.keys(mmaModels), seed)), K = 64
    const scales = integers(p, Uint32Array.from({ length: N * 4 / 4 * 4 }, (_, i) => 0x3a3b3c3d + i * 0x01010101)).ptr
    p.emit('fill_f32', [out.ptr, 0], N * N)
    ;[true, false].forEach((plain, at) => {
      const [x, y] = [a, b].map((t, i) => decodeOperand(p, config, i ? 'b' : 'a', { ptr: t.ptr, rows: 5, K, scales }, plain)) as [MmaOperand, MmaOperand]
      mma(p, config, x, y, { ptr: out.ptr + at * 100, shape: [5, 5] })
    })
  },
  quantize: (p, out, a, _b, seed) => fakeQuantize(p, a, out, seed & 1, blockQuantizer(pick(profiles, seed >> 1), pick(formats, seed), { blockSize: pick([16, 32, 0], seed) })),
  'quantize tiles': (p, out, a, _b, seed) => fakeQuantize(p, a, out, [0, 1], blockQuantizer('ocp', pick(formats, seed), { blockSize: 8 })),
  'quantize stochastically': (p, out, a, _b, seed) =>
    fakeQuantize(p, a, out, seed & 1, blockQuantizer('ocp', pick(formats, seed), { rounding: 'stochastic' }), { seed: BigInt(seed), stream: 3, stepPtr: step(p, seed) }),
  'quantize as released': (p, out, a, _b, seed) => fakeQuantize(p, a, out, seed & 1, blockQuantizer('microxcaling', 'e4m3', { bump: 'as-released', blockSize: 8 })),
  'quantize to codes and back'(p, out, a, _b, seed) {
    const format = pick(formats, seed), axis = seed & 1, codes = codesTensor(p.arena, [N, N]), scales = codesTensor(p.arena, scaleShape([N, N], axis, 32))
    quantizeCodes(p, a, codes, scales, axis, blockQuantizer('ocp', format))
    dequantize(p, codes, scales, out, axis, format, 32)
  },
  'quantize tiles to codes'(p, out, a, _b, seed) {
    const format = pick(formats, seed), codes = codesTensor(p.arena, [N, N]), scales = codesTensor(p.arena, scaleShape([N, N], [0, 1], 8))
    quantizeCodes(p, a, codes, scales, [0, 1], blockQuantizer('ocp', format, { blockSize: 8 }))
    decodeElements(p, codes, out, format)
  },
  'cast to codes and back'(p, out, a, _b, seed) {
    const format = pick(formats, seed), codes = codesTensor(p.arena, [N, N])
    encodeElements(p, a, codes, format, pick(policies, seed))
    decodeElements(p, codes, out, format)
    encodeScales(p, out, codes, 'nearest')
    p.emit('decode_f32', [out.ptr, codes.ptr, 1, 3, -6, 8, 0, 0x7e], N)
  },
  nvfp4(p, out, a, _b, seed) {
    const q = pick(Object.values(nvfp4Profiles), seed), scale = p.temp(1), codes = codesTensor(p.arena, [N, N]), scales = codesTensor(p.arena, [N, Math.ceil(N / 16)])
    nvfp4TensorScale(p, a, scale, q.recipe)
    if (seed & 8) quantizeNvfp4(p, a, { values: out }, pick([0, [0, 1] as const], seed >> 4), q, scale)
    else {
      quantizeNvfp4(p, a, { codes, scales }, 1, q, scale)
      dequantizeNvfp4(p, codes, scales, scale, out, q.recipe)
    }
    p.free(scale)
  },
  round: (p, out, a, _b, seed) => roundElements(p, a, out, pick([bf16Away, bf16Even, fp(16)], seed)),
  arrange(p, out, a, _b, seed) {
    if (seed & 1) transpose(p, a, out)
    else if (seed & 2) transposeBytes(p, a.ptr, out.ptr, N, N, { repeat: 4, count: 4 * N })
    else repeatRows(p, a.ptr, out.ptr, N, 4, 4 * N)
  },
  'NVFP4 scales of a product': (p, out, a, b, seed) => rescaleNvfp4(p, a, out, view(b, 1), view(a, 1), pick(Object.values(nvfp4Profiles), seed).recipe),
  hadamard(p, out, a, _b, seed) {
    p.emit('fill_f32', [out.ptr, 0], N * N)
    hadamard(p, view(a, 32, 32), view(out, 32, 32), seed & 1, signVector(p.arena, TE_SIGNS))
  },
  'activation by table'(p, out, a, _b, seed) {
    // Tables are for tensors of at least 65,536 elements: many copies of `a`, the last of which is looked at.
    const copies = 2 * Math.ceil(65_536 / (N * N)), mode = activationModes[1]!, name = pick(['gelu', 'swiglu'] as const, seed)
    const x = p.temp(copies, N * N), dx = p.temp(copies, N * N), y = name === 'gelu' ? p.temp(copies, N * N) : p.temp(copies / 2, N * N)
    for (let i = 0; i < copies; i++) p.emit('copy_f32', [x.ptr + i * N * N * 4, a.ptr], N * N)
    const shaped = (t: Tensor, width: number): Tensor => view(t, size(t.shape) / width, width)
    const [input, value, gradient] = name === 'gelu' ? [x, y, dx] : [shaped(x, 2 * N), shaped(y, N), shaped(dx, 2 * N)]
    activationForward(p, name, mode, { x: input, y: value })
    activationBackward(p, name, mode, { x: input, dy: value, dx: gradient })
    p.emit('copy_f32', [out.ptr, dx.ptr + (copies - 1) * N * N * 4], N * N)
    p.free(x, dx, y)
  },
  activation(p, out, a, b, seed) {
    const name = pick(activations, seed), mode = pick(activationModes, seed >> 3)
    if (name === 'swiglu') {
      const y = p.temp(10, N), x = view(a, 10, 2 * N), dx = view(out, 10, 2 * N)
      p.emit('fill_f32', [out.ptr, 1], N * N)
      activationForward(p, name, mode, { x, y })
      activationBackward(p, name, mode, { x, dy: y, dx })
      p.free(y)
    } else {
      activationForward(p, name, mode, { x: a, y: out })
      activationBackward(p, name, mode, { x: a, dy: out, dx: out })
      add(p, out, b, out)
    }
  },
  norm(p, out, a, b, seed) {
    const mode = pick(norms, seed), stats = p.temp(N, 2), y = p.temp(N, N), [dgamma, dbeta] = [p.temp(N), p.temp(N)]
    const [forward, backward] = seed & 2 ? [layerNormForward, layerNormBackward] : [rmsNormForward, rmsNormBackward]
    forward(p, { x: a, gamma: row(b), beta: null, y, stats }, mode)
    backward(p, { x: a, gamma: row(b), stats, dy: y, dx: out, dgamma, dbeta }, mode)
    addRow(p, out, dgamma, out)
    p.free(stats, y, dgamma, dbeta)
  },
  reductions(p, out, a, b, seed) {
    p.emit('fill_f32', [out.ptr, seed], N * N)
    columnSum(p, a, row(out), pick([null, bf16Even], seed))
    const at = (i: number, words: number): Tensor => ({ ptr: out.ptr + 4 * (N + 1 + i), shape: [words] }) // f64, 8-byte aligned: N is odd
    moments(p, a, at(0, 6))
    comparison(p, a, b, at(6, 12))
    finiteCheck(p, b, at(18, 2))
    overflowCount(p, b, at(20, 4), { blockSize: 32, ratio: 1.75 })
  },
  'mean squared error': (p, out, a, b) => {
    const loss = p.temp(2)
    mse(p, { y: a, target: b, loss, gradient: out })
    p.free(loss)
  },
  'cross entropy'(p, out, a, _b, seed) {
    const tokens = integers(p, Uint32Array.from({ length: N }, (_, i) => (i * 7 + seed) % N)), targets = p.temp(1, N), loss = p.temp(4)
    nextTokens(p, view(tokens, 1, N), targets, -100)
    crossEntropy(p, { logits: a, targets: view(targets, N), loss, gradient: out, zWeight: 1e-4 })
    p.free(targets, loss)
  },
  embedding(p, out, a, b, seed) {
    const tokens = integers(p, Uint32Array.from({ length: N }, (_, i) => (i * i + seed) % N))
    embeddingForward(p, { table: a, tokens, out })
    embeddingBackward(p, { dTable: out, tokens, dOut: b })
  },
  attention(p, out, a, b, seed) {
    const rows = 32, width = 32, scores = p.temp(rows, width), gradient = p.temp(rows, width), reciprocals = p.temp(rows), shape = { batch: 1, context: 32, heads: 1, headDim: 32 }
    p.emit('copy_f32', [scores.ptr, a.ptr], size(scores.shape)).emit('copy_f32', [gradient.ptr, b.ptr], size(scores.shape)).emit('copy_f32', [out.ptr, a.ptr], N * N)
    rope(p, { src: rowsOf(scores), dst: rowsOf(scores), table: view(b, 32, 2, 16) }, shape, (seed & 1) === 1)
    const queries = { scores, count: rows, rows, first: 0, width }
    if (seed & 2) {
      causalSoftmax(p, queries, 0.2)
      causalSoftmaxBackward(p, queries, gradient, 0.2)
      p.emit('copy_f32', [out.ptr, gradient.ptr], size(gradient.shape))
    } else {
      causalSoftmaxTorch(p, queries, 0.2, reciprocals)
      p.emit('copy_f32', [out.ptr, scores.ptr], size(scores.shape))
      scaleHeads(p, view(out, 1, 32, 32), queries, reciprocals, shape)
    }
    p.free(scores, gradient, reciprocals)
  },
  optimizer(p, out, a, b, seed) {
    const m = p.arena.from(new Float32Array(N * N), N, N), v = p.arena.from(new Float32Array(N * N), N, N), statistics = p.temp(6)
    const block = p.arena.from(seed & 1 ? adamStep(1e-2, 3) : sgdStep(1e-2))
    clipByNorm(p, { gradient: b, step: block, statistics }, 1)
    p.emit('copy_f32', [out.ptr, a.ptr], N * N)
    if (seed & 1) adam(p, { value: out, gradient: b, m, v, step: block })
    else sgd(p, { value: out, gradient: b, buffer: m, step: block }, { momentum: 0.9 })
    p.free(statistics)
  },
  random(p, out, _a, _b, seed) {
    const source = { seed: BigInt(seed), stream: seed, stepPtr: step(p, seed) }
    pick([uniform, normal], seed)(p, out, source)
    p.emit('philox_words', [out.ptr, seed, 0, 1, source.stepPtr], N)
  },
}

/** One step of a random program: which operation, which earlier results it reads, a number for its details, and whether every item is worth a thread. */
export interface Step {
  operation: string
  a: number
  b: number
  seed: number
  shared: boolean
}

/** Emit the steps over fresh memory of `arena`; the program's inputs are matrices of small numbers. Returns the results of all steps. */
export function build(arena: Arena, steps: readonly Step[]): { program: Program, results: Tensor[] } {
  const values = (seed: number) => Float32Array.from({ length: N * N }, (_, i) => ((i * 2654435761 + seed * 40503) >>> 16) % 199 / 64 - 1.5)
  const results = [arena.from(values(1), N, N), arena.from(values(2), N, N)]
  const program = new Program(arena)
  steps.forEach(({ operation, a, b, seed, shared }, i) => program.scope(`${i}: ${operation}`, () => {
    const out = arena.from(new Float32Array(N * N), N, N), first = program.calls.length
    operations[operation]!(program, out, results[a % results.length]!, results[b % results.length]!, seed)
    // Operations spare threads the smallest work; kernels must not need it.
    if (shared) for (let c = first; c < program.calls.length; c++) program.calls[c] = { ...program.calls[c]!, grain: 1 }
    results.push(out)
  }))
  return { program, results }
}

/** The bits of all results, NaNs alike. */
export function bits(arena: Arena, results: readonly Tensor[]): Uint32Array {
  return Uint32Array.from(results.flatMap(t => [...arena.u32(t)]), u => (u & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : u)
}
