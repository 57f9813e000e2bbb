// The paper's two networks. Student: L pre-norm residual blocks of width d,
//   y = x + fc2(act(fc1(LN(x)))),    fc1 [hidden or 2 hidden, d] without bias, fc2 [d, hidden] with bias
// hidden = 4d; SwiGLU: hidden = round(8d/3), fc1 gives 2 hidden values of which the first half is multiplied by SiLU(second half).
// Teacher: L blocks of fc1 [width, d], act, fc2 [d, width] without bias, norm or residual; SwiGLU: hidden = round(2 width/3).
// Neither has an embedding or a final norm. The residual stream is never rounded.
import { activationBackward, activationForward, type ActivationMode } from '../ops/activation.ts'
import { add } from '../ops/elementwise.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import { linearBackward, linearForward, type LinearSaved } from './linear.ts'
import { normBackward, normForward, type NormSaved } from './norm.ts'
import { ParameterLayout, type ParameterShape, type ParameterVector } from './parameters.ts'
import { linearOfBlock, type ModelPrecision } from './precision.ts'

export type StudentActivation = 'gelu' | 'relu' | 'swiglu' | 'linear'
export type TeacherActivation = StudentActivation | 'tanh'

export interface StudentShape {
  readonly depth: number
  readonly width: number
  readonly activation: StudentActivation
  readonly layerNorm: boolean
}

export interface TeacherShape {
  readonly depth: number
  /** Input and output width. */
  readonly width: number
  readonly hidden: number
  readonly activation: TeacherActivation
}

/** Hidden width of a student block. */
export const studentHidden = ({ width, activation }: StudentShape): number => activation === 'swiglu' ? Math.round(8 * width / 3) : 4 * width
/** Hidden width of a teacher block. */
const teacherHidden = ({ hidden, activation }: TeacherShape): number => activation === 'swiglu' ? Math.round(2 * hidden / 3) : hidden

const gated = (activation: TeacherActivation) => activation === 'swiglu' ? 2 : 1
/** SwiGLU runs in SiLU's mode. */
const mode = (precision: ModelPrecision, activation: TeacherActivation): ActivationMode => precision.activation(activation === 'swiglu' ? 'silu' : activation)

/** Student parameters in torch's order: layers.<i>.{ln.weight, ln.bias, fc1.weight, fc2.weight, fc2.bias}. */
export function studentLayout(shape: StudentShape): ParameterLayout {
  const { depth, width: d, activation, layerNorm } = shape, hidden = studentHidden(shape)
  return new ParameterLayout(Array.from({ length: depth }, (_, i): ParameterShape[] => [
    ...(layerNorm ? [{ name: `layers.${i}.ln.weight`, shape: [d], group: `layers.${i}.ln` }, { name: `layers.${i}.ln.bias`, shape: [d], group: `layers.${i}.ln` }] : []),
    { name: `layers.${i}.fc1.weight`, shape: [hidden * gated(activation), d], group: `layers.${i}.fc1` },
    { name: `layers.${i}.fc2.weight`, shape: [d, hidden], group: `layers.${i}.fc2` },
    { name: `layers.${i}.fc2.bias`, shape: [d], group: `layers.${i}.fc2` },
  ]).flat())
}

/** Teacher parameters: layers.<i>.{fc1.weight, fc2.weight}. */
export function teacherLayout(shape: TeacherShape): ParameterLayout {
  const { depth, width, activation } = shape, hidden = teacherHidden(shape)
  return new ParameterLayout(Array.from({ length: depth }, (_, i): ParameterShape[] => [
    { name: `layers.${i}.fc1.weight`, shape: [hidden * gated(activation), width], group: `layers.${i}.fc1` },
    { name: `layers.${i}.fc2.weight`, shape: [width, hidden], group: `layers.${i}.fc2` },
  ]).flat())
}

/** What an observer sees of each student block while forward is emitted: the norm's output, the activation's output, the block's output. */
export interface BlockTap { readonly block: number, readonly normed: Tensor, readonly hidden: Tensor, readonly output: Tensor }

interface BlockSaved { readonly x: Tensor, readonly norm: NormSaved | null, readonly h: Tensor, readonly fc1: LinearSaved, readonly z: Tensor, readonly a: Tensor, readonly fc2: LinearSaved }

/**
 * Emit the student's forward pass on x [batch, d]. Returns its output (a temporary) and, if `keep`, what backward needs; otherwise every
 * intermediate is freed as soon as possible. `tap` may emit calls that read a block's values.
 */
export function studentForward(p: Program, shape: StudentShape, params: ParameterVector, x: Tensor, precision: ModelPrecision, keep: boolean, tap?: (t: BlockTap) => void): { y: Tensor, saved: BlockSaved[] } {
  const { depth, width: d, activation, layerNorm } = shape, hidden = studentHidden(shape), batch = x.shape[0]!
  const saved: BlockSaved[] = []
  let input = x
  for (let i = 0; i < depth; i++) {
    p.scope(`layers.${i}`, () => {
      const get = (name: string) => params.get(`layers.${i}.${name}`), linear = linearOfBlock(precision, i, depth)
      let h = input, norm: NormSaved | null = null
      if (layerNorm) {
        h = p.temp(batch, d)
        p.scope('ln.forward', () => { norm = normForward(p, { x: input, gamma: get('ln.weight'), beta: get('ln.bias'), y: h }, precision.norm) })
      }
      const z = p.temp(batch, hidden * gated(activation)), a = p.temp(batch, hidden), y = p.temp(batch, d)
      let fc1!: LinearSaved, fc2!: LinearSaved
      p.scope('fc1.forward', () => { fc1 = linearForward(p, { x: h, weight: get('fc1.weight'), bias: null, y: z, xRounded: layerNorm && precision.norm.rounded }, linear) })
      p.scope('act.forward', () => activationForward(p, activation, mode(precision, activation), { x: z, y: a }))
      p.scope('fc2.forward', () => { fc2 = linearForward(p, { x: a, weight: get('fc2.weight'), bias: get('fc2.bias'), y }, linear) })
      p.scope('residual.forward', () => add(p, input, y, y))
      tap?.({ block: i, normed: h, hidden: a, output: y })
      const block = { x: input, norm, h, fc1, z, a, fc2 }
      if (keep) saved.push(block)
      else freeBlock(p, block, x)
      input = y
    })
  }
  return { y: input, saved }
}

function freeBlock(p: Program, s: BlockSaved, x: Tensor): void {
  if (s.norm) p.free(s.h, s.norm.stats)
  p.free(s.z, s.a)
  if (s.x !== x) p.free(s.x)
}

/** Emit the student's backward pass from dy [batch, d] (a temporary: it is freed here) into `grads`; frees what forward saved. */
export function studentBackward(p: Program, shape: StudentShape, params: ParameterVector, grads: ParameterVector, saved: BlockSaved[], dy: Tensor, precision: ModelPrecision): void {
  const { width: d, activation, layerNorm } = shape, hidden = studentHidden(shape), batch = dy.shape[0]!
  let g = dy
  for (let i = saved.length - 1; i >= 0; i--) {
    const s = saved[i]!
    p.scope(`layers.${i}`, () => {
      const get = (name: string) => params.get(`layers.${i}.${name}`), grad = (name: string) => grads.get(`layers.${i}.${name}`), linear = linearOfBlock(precision, i, shape.depth)
      const da = p.temp(batch, hidden)
      p.scope('fc2.backward', () => linearBackward(p, { dy: g, saved: s.fc2, weight: get('fc2.weight'), dx: da, dWeight: grad('fc2.weight'), dBias: grad('fc2.bias') }, linear))
      const dz = p.temp(batch, hidden * gated(activation))
      p.scope('act.backward', () => activationBackward(p, activation, mode(precision, activation), { x: s.z, dy: da, dx: dz }))
      p.free(da, s.a, s.z)
      const needInput = layerNorm || i > 0
      const dh = needInput ? p.temp(batch, d) : null
      p.scope('fc1.backward', () => linearBackward(p, { dy: dz, saved: s.fc1, weight: get('fc1.weight'), dx: dh, dWeight: grad('fc1.weight'), dBias: null }, linear))
      p.free(dz)
      if (!dh) return
      if (layerNorm) {
        const dx = i > 0 ? p.temp(batch, d) : null
        p.scope('ln.backward', () => normBackward(p, { dy: dh, saved: s.norm!, gamma: get('ln.weight'), dx, dGamma: grad('ln.weight'), dBeta: grad('ln.bias') }, precision.norm))
        p.free(dh, s.h)
        if (dx) { p.scope('residual.backward', () => add(p, g, dx, g)); p.free(dx) }
      } else {
        p.scope('residual.backward', () => add(p, g, dh, g))
        p.free(dh)
      }
      if (i > 0) p.free(s.x)
    })
  }
  p.free(g)
}

/** Emit the teacher's forward pass: y [batch, d] from x. */
export function teacherForward(p: Program, shape: TeacherShape, params: ParameterVector, x: Tensor, y: Tensor, precision: ModelPrecision): void {
  const hidden = teacherHidden(shape), batch = x.shape[0]!
  let input = x
  for (let i = 0; i < shape.depth; i++) {
    p.scope(`teacher.${i}`, () => {
      const z = p.temp(batch, hidden * gated(shape.activation)), a = p.temp(batch, hidden)
      const out = i === shape.depth - 1 ? y : p.temp(batch, shape.width)
      linearForward(p, { x: input, weight: params.get(`layers.${i}.fc1.weight`), bias: null, y: z }, precision.linear)
      activationForward(p, shape.activation, mode(precision, shape.activation), { x: z, y: a })
      linearForward(p, { x: a, weight: params.get(`layers.${i}.fc2.weight`), bias: null, y: out }, precision.linear)
      p.free(z, a)
      if (input !== x) p.free(input)
      input = out
    })
  }
}
