// Set `mxops`: forward and backward of microxcaling's operators on float32 tensors. Rules, per output tensor: `bits` equal bits (sign of zero counts, any
// NaN equals any NaN); `bf16_ulp` at most one bfloat16 ulp apart; `fp32_tol` at most 1e-5 of the tensor's largest magnitude apart.
// Every case runs through the oracle, and through the kernels where they implement its operator and options.
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { parseSafetensors, typed, type SafeTensors } from '../../io/safetensors.ts'
import * as ops from '../../oracle/mxops.ts'
import { reducedShape, type OracleTensor } from '../../oracle/tensor.ts'
import { mxSettings } from '../mx-specs.ts'
import type { SetResult } from '../types.ts'
import { firstDifference } from './microxcaling.ts'
import type { Implementation, MxopsCase } from './mxops-case.ts'
import { kernels } from './mxops-kernels.ts'

const knownFields = ['id', 'op', 'specs', 'kind', 'in', 'out', 'eps', 'dim', 'mode_config', 'no_grad', 'slope', 'spread']

const need = <T>(value: T | undefined, what: string): T => {
  if (value === undefined) throw new Error(`${what} is missing`)
  return value
}

/** Reduced axes put back as 1: the library drops them. */
const keepAxes = (t: OracleTensor, x: OracleTensor, axes: readonly number[]): OracleTensor => ({ data: t.data, shape: reducedShape(x.shape, axes) })

export const oracle: Implementation = (c, s, { x, w, b, a, gy }) => {
  const dy = need(gy, 'gy')
  switch (c.op) {
    case 'linear': {
      const y = ops.linear(s, need(x, 'x'), need(w, 'w'), b?.data ?? null), back = ops.linearBackward(s, x!, w!, dy)
      return { y: y.data, d_x: back.dx.data, d_w: back.dw.data, d_b: back.db }
    }
    case 'matmul': case 'bmm': {
      const mode = (c.mode_config ?? 'aa') as ops.MatmulMode
      if (!['aa', 'aw', 'wa'].includes(mode)) throw new Error(`mode_config ${mode} is not supported`)
      const y = ops.matmulForward(s, need(a, 'a'), need(b, 'b'), mode), back = ops.matmulBackward(s, a!, b!, dy, mode)
      return { y: y.data, d_a: back.da.data, d_b: back.db.data }
    }
    case 'layer_norm': case 'rms_norm': {
      if (s.divideByReciprocal) throw new Error('vec_use_recip breaks means in the library itself')
      const kind = c.op === 'layer_norm' ? 'layer' : 'rms', eps = c.eps ?? 1e-12
      const back = ops.normBackward(s, kind, need(x, 'x'), need(w, 'w').data, b?.data ?? null, eps, dy)
      return { y: ops.norm(s, kind, x!, w!.data, b?.data ?? null, eps).data, d_x: back.dx.data, d_w: back.dgamma, d_b: back.dbeta }
    }
    case 'softmax': {
      const axis = need(c.dim, 'dim')
      if (typeof axis !== 'number') throw new Error(`dim ${axis} is not one axis`)
      return { y: ops.softmax(s, need(x, 'x'), axis).data, d_x: ops.softmaxBackward(s, x!, dy, axis).data }
    }
    case 'simd_reduce_sum': case 'simd_reduce_mean': {
      const kind = c.op === 'simd_reduce_sum' ? 'sum' : 'mean'
      const axes = [c.dim ?? need(x, 'x').shape.map((_, i) => i)].flat()
      return { y: ops.reduce(s, kind, need(x, 'x'), axes).data, d_x: ops.reduceBackward(s, kind, x!, keepAxes(dy, x!, axes), axes).data }
    }
    default:
      if (Object.hasOwn(ops.activations, c.op)) return { y: ops.activation(s, c.op, need(x, 'x'), c.slope).data, d_x: ops.activationBackward(s, c.op, x!, dy, c.slope).data }
      if (Object.hasOwn(ops.unary, c.op)) return { y: ops.unaryForward(s, c.op, need(x, 'x')).data, d_x: ops.unaryBackward(s, c.op, x!, dy).data }
      if (Object.hasOwn(ops.binary, c.op)) {
        const back = ops.binary[c.op]!.backward(s, need(a, 'a'), need(b, 'b'), dy)
        return { y: ops.binary[c.op]!.forward(s, a!, b!).data, d_a: back.da.data, d_b: back.db.data }
      }
      throw new Error(`op ${c.op} is not supported`)
  }
}

/** bf16 ulps between two values on bf16's grid extended to all of f32: the distance in units of the last of 8 significant bits of the larger. */
function bf16Ulps(got: number, want: number): number {
  if (Object.is(got, want) || got === want || Number.isNaN(got) && Number.isNaN(want)) return 0
  const top = Math.max(Math.abs(got), Math.abs(want))
  if (!Number.isFinite(top)) return Infinity
  return Math.abs(got - want) / 2 ** Math.max(Math.floor(Math.log2(top)) - 7, -133)
}

/** Null if `got` obeys the rule; else what is wrong. Deviations of the tolerant rules are recorded in `worst`. */
function violation(rule: string, got: Float32Array, want: Float32Array, worst: Map<string, number>): string | null {
  if (got.length !== want.length) return `gives ${got.length} values, want ${want.length}`
  if (rule === 'bits') return firstDifference(got, want)
  let deviation = 0, limit: number
  if (rule === 'bf16_ulp') {
    limit = 1
    want.forEach((v, i) => { deviation = Math.max(deviation, bf16Ulps(got[i]!, v)) })
  } else if (rule === 'fp32_tol') {
    limit = 1e-5
    const top = want.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
    want.forEach((v, i) => { deviation = Math.max(deviation, got[i] === v ? 0 : Math.abs(got[i]! - v) / top) })
  } else return `rule ${rule} is not supported`
  worst.set(rule, Math.max(worst.get(rule) ?? 0, deviation))
  return deviation <= limit ? null : `${rule} ${deviation}`
}

function runCase(c: MxopsCase, file: SafeTensors, implementations: Readonly<Record<string, Implementation>>, worst: Map<string, number>, required: readonly string[]): string[] {
  const failures: string[] = []
  const foreign = Object.keys(c).filter(key => !knownFields.includes(key))
  if (foreign.length) throw new Error(`field ${foreign.join(', ')} is not supported`)
  const read = (name: string): OracleTensor => {
    const raw = file.tensors.get(name)
    if (!raw) throw new Error(`tensor ${name} is missing`)
    return { data: typed(raw, Float32Array), shape: raw.shape }
  }
  const short = (name: string) => name.slice(name.indexOf('.') + 1)
  const inputs = Object.fromEntries(c.in.map(name => [short(name), read(name)]))
  const settings = mxSettings(c.specs)
  for (const [who, compute] of Object.entries(implementations)) {
    const results = compute(c, settings, inputs)
    if (!results && !required.includes(who)) continue
    for (const [name, rule] of Object.entries(c.out)) {
      const got = results?.[short(name)]
      if (!got && !required.includes(who)) continue
      const problem = got ? violation(rule, got, read(name).data, worst) : 'is not computed'
      if (problem) failures.push(`${who} ${short(name)} ${problem}`)
    }
  }
  return failures
}

/** `required`: the implementations that must compute every output of every case; what the others do compute must be right. */
export async function runMxops(dir: string, implementations: Readonly<Record<string, Implementation>>, required = Object.keys(implementations).slice(0, 1)): Promise<SetResult> {
  const failures: string[] = [], worst = new Map<string, number>()
  let cases = 0
  for (const name of (await readdir(dir)).filter(f => f.endsWith('.safetensors')).sort()) {
    const file = parseSafetensors(await readFile(join(dir, name)))
    for (const c of JSON.parse(file.metadata['cases']!) as MxopsCase[]) {
      cases++
      let problems: string[]
      try { problems = runCase(c, file, implementations, worst, required) } catch (error) { problems = [(error as Error).message] }
      if (problems.length) failures.push(`${name} case ${c.id} (${c.op} ${c.kind}): ${problems.join('; ')}`)
    }
  }
  const limits: Record<string, number> = { bf16_ulp: 1, fp32_tol: 1e-5 }
  return { cases, passed: cases - failures.length, failures, worst: [...worst].map(([what, value]) => ({ what, value, limit: limits[what]! })) }
}

export const run = (dir: string): Promise<SetResult> => runMxops(dir, { oracle, kernels: kernels() })
