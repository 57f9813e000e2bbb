// The operators of set `mxops` through the kernels: quantize, GEMM, norm, activation and elementwise ops in a Program, as a model runs them.
// Null where the kernels have no such operator or option (softmax, powers of two for e^x, roundings other than bf16 to nearest in fused chains).
import { allSequential } from '../../numerics/accumulation.ts'
import type { ElementRounding } from '../../numerics/quantizer.ts'
import { linearBackward, linearForward } from '../../model/linear.ts'
import { activationBackward, activationForward, type ActivationMode, type ActivationName } from '../../ops/activation.ts'
import { add, mul, sub } from '../../ops/elementwise.ts'
import { gemmStrided } from '../../ops/gemm.ts'
import { layerNormBackward, layerNormForward, rmsNormBackward, rmsNormForward, type NormMode } from '../../ops/norm.ts'
import { fakeQuantize, roundElements } from '../../ops/quantize.ts'
import { columnSum } from '../../ops/reduce.ts'
import { chainCode, fusedCode, type ChainRounding } from '../../ops/rounding.ts'
import type { BlockQuantizer } from '../../numerics/quantizer.ts'
import type { MxSettings } from '../../oracle/mxops.ts'
import type { OracleTensor } from '../../oracle/tensor.ts'
import { InlineExecutor } from '../../runtime/executor.ts'
import { size, type Tensor } from '../../runtime/memory.ts'
import { Program } from '../../runtime/program.ts'
import type { Implementation, MxopsCase } from './mxops-case.ts'

type Inputs = Readonly<Record<string, Tensor>>
type Outputs = Record<string, Tensor>

/** Emits a case's calls and names its results, or null. */
type Emit = (p: Program, c: MxopsCase, s: MxSettings, io: Inputs) => Outputs | null

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

/** Rounding and backward precision of the fused chains, or null if these settings have none. */
function chainMode(s: MxSettings): { kind: 'bf16', rounding: ChainRounding, backward: 'bf16' | 'fp32' } | null {
  if (!s.round.vector || s.expByExp2 || s.divideByReciprocal) return null
  const code = fusedCode(s.round.vector)
  if (code === null) return null
  return { kind: 'bf16', rounding: code === chainCode['nearest-away'] ? 'nearest-away' : 'nearest-even', backward: s.quantizeBackward ? 'bf16' : 'fp32' }
}

const linear: Emit = (p, _, s, { x, w, b, gy }) => {
  const { output, weight, gradInput, gradWeight } = s.round
  if (!same(output, weight) || !same(gradInput, gradWeight)) return null
  const precision = { forward: s.forward, dgrad: s.dgrad, wgrad: s.wgrad, round: output, roundBackward: s.quantizeBackward ? gradInput : null, hadamard: { dgrad: null, wgrad: null }, tiles: false, accumulation: allSequential, random: null }
  const y = p.temp(...gy!.shape), d_x = p.temp(...x!.shape), d_w = p.temp(...w!.shape), d_b = b ? p.temp(...b.shape) : null
  const saved = linearForward(p, { x: x!, weight: w!, bias: b ?? null, y }, precision)
  linearBackward(p, { dy: gy!, saved, weight: w!, dx: d_x, dWeight: d_w, dBias: d_b }, precision)
  return { y, d_x, d_w, ...(d_b && { d_b }) }
}

/** MX(Q(t)) in a new tensor. */
function operand(p: Program, t: Tensor, round: ElementRounding | null, q: BlockQuantizer | null, axis: number): Tensor {
  const out = p.temp(...t.shape)
  roundElements(p, t, out, round ?? { expBits: 8, manBits: 23 } as ElementRounding)
  if (q) fakeQuantize(p, out, out, axis, q)
  return out
}

const matmul: Emit = (p, c, s, { a, b, gy }) => {
  const mode = c.mode_config ?? 'aa'
  if (a!.shape.length > 3 || b!.shape.length > a!.shape.length) return null
  const [M, K] = a!.shape.slice(-2) as [number, number], N = b!.shape.at(-1)!, count = size(a!.shape) / (M * K), shared = b!.shape.length < a!.shape.length
  const { output, gradInput } = s.round, back = s.quantizeBackward
  const forward = { a: mode === 'wa' ? s.forward.weight : s.forward.activation, b: mode === 'aw' ? s.forward.weight : s.forward.activation }
  const backward = { a: mode === 'wa' ? s.matmulBackward.weight : s.matmulBackward.activation, b: mode === 'aw' ? s.matmulBackward.weight : s.matmulBackward.activation }
  const bStep = shared ? 0 : K * N

  const y = p.temp(...gy!.shape)
  const fa = operand(p, a!, output, forward.a, -1), fb = operand(p, b!, output, forward.b, -2)
  gemmStrided(p, {
    a: { ptr: fa.ptr, rowStride: K, colStride: 1 }, b: { ptr: fb.ptr, rowStride: N, colStride: 1 }, c: { ptr: y.ptr, rowStride: N },
    M, N, K, batch: [{ count, a: M * K, b: bStep, c: M * N }],
  })
  if (output) roundElements(p, y, y, output)

  const ba = operand(p, a!, back ? output : null, backward.a, -2), bb = operand(p, b!, back ? output : null, backward.b, -1)
  const gRows = operand(p, gy!, back ? gradInput : null, s.matmulBackward.gradient, -1), gColumns = operand(p, gy!, back ? gradInput : null, s.matmulBackward.gradient, -2)
  const d_a = p.temp(...a!.shape), perMatrix = p.temp(count, K * N)
  gemmStrided(p, {
    a: { ptr: gRows.ptr, rowStride: N, colStride: 1 }, b: { ptr: bb.ptr, rowStride: 1, colStride: N }, c: { ptr: d_a.ptr, rowStride: K },
    M, N: K, K: N, batch: [{ count, a: M * N, b: bStep, c: M * K }],
  })
  gemmStrided(p, {
    a: { ptr: ba.ptr, rowStride: 1, colStride: K }, b: { ptr: gColumns.ptr, rowStride: N, colStride: 1 }, c: { ptr: perMatrix.ptr, rowStride: N },
    M: K, N, K: M, batch: [{ count, a: M * K, b: M * N, c: K * N }],
  })
  for (const t of [d_a, perMatrix]) if (back && gradInput) roundElements(p, t, t, gradInput)
  if (!shared) return { y, d_a, d_b: perMatrix }
  const d_b = p.temp(K * N)
  columnSum(p, perMatrix, d_b)
  return { y, d_a, d_b }
}

const norm = (kind: 'layer' | 'rms'): Emit => (p, c, s, { x, w, b, gy }) => {
  const chain = chainMode(s), eps = c.eps ?? 1e-12
  if (!chain) return null
  const mode: NormMode = kind === 'layer' && s.halfLayerNorm ? { kind: 'bf16-half', eps, rounding: chain.rounding } : { ...chain, eps }
  const y = p.temp(...x!.shape), stats = p.temp(size(x!.shape) / w!.shape[0]!, 2), d_x = p.temp(...x!.shape), d_w = p.temp(...w!.shape), d_b = p.temp(...w!.shape)
  const io = { x: x!, gamma: w!, stats }
  ;(kind === 'layer' ? layerNormForward : rmsNormForward)(p, { ...io, beta: b ?? null, y }, mode)
  ;(kind === 'layer' ? layerNormBackward : rmsNormBackward)(p, { ...io, dy: gy!, dx: d_x, dgamma: d_w, dbeta: d_b }, mode)
  return { y, d_x, d_w, d_b }
}

const activation = (name: ActivationName): Emit => (p, c, s, { x, gy }) => {
  const chain = chainMode(s)
  if (!chain) return null
  const mode: ActivationMode = name.startsWith('gelu') && s.plainGelu ? { kind: 'sigmoid-form' } : chain
  const y = p.temp(...x!.shape), d_x = p.temp(...x!.shape)
  activationForward(p, name, mode, { x: x!, y }, c.slope)
  activationBackward(p, name, mode, { x: x!, dy: gy!, dx: d_x }, c.slope)
  return { y, d_x }
}

/** Forward of an elementwise operator on operands of one shape. */
const elementwise = (op: typeof add): Emit => (p, _, s, { a, b }) => {
  const { vector } = s.round
  if (!vector || !same(a!.shape, b!.shape)) return null
  const A = operand(p, a!, vector, null, 0), B = operand(p, b!, vector, null, 0)
  op(p, A, B, A)
  roundElements(p, A, A, vector)
  return { y: A }
}

const emitters: Readonly<Record<string, Emit>> = {
  linear, matmul, bmm: matmul, layer_norm: norm('layer'), rms_norm: norm('rms'),
  gelu: activation('gelu'), gelu_first_order: activation('gelu-first-order'), silu: activation('silu'), sigmoid: activation('sigmoid'), tanh: activation('tanh'),
  relu: activation('relu'), relu6: activation('relu6'), leaky_relu: activation('leaky_relu'),
  simd_add: elementwise(add), simd_sub: elementwise(sub), simd_mul: elementwise(mul),
}

/** An implementation over one executor; its memory is reused from case to case. */
export function kernels(executor = new InlineExecutor()): Implementation {
  const { arena } = executor
  return (c, s, inputs) => {
    const emit = emitters[c.op], mark = arena.mark()
    if (!emit) return null
    try {
      const p = new Program(arena)
      const io = Object.fromEntries(Object.entries(inputs).map(([name, t]: [string, OracleTensor]) => [name, arena.from(t.data, ...t.shape)]))
      const outputs = emit(p, c, s, io)
      if (!outputs) return null
      executor.runSync(p)
      return Object.fromEntries(Object.entries(outputs).map(([name, t]) => [name, arena.f32(t).slice()]))
    } finally { arena.release(mark) }
  }
}
