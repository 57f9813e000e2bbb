// Sets `student_teacher` and `student_teacher_mx`: training runs of the residual MLP in PyTorch, float32 and with microxcaling's operators injected,
// repeated here by the same programs that the trainer runs. Rules (README of each set): losses relative, gradients and final weights relative L2 per
// tensor; first gradients of the mx set bit equal where another summation order changed nothing in the original either.
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { parseSafetensors, typed, type SafeTensors } from '../../io/safetensors.ts'
import { studentLayout, type StudentShape } from '../../model/mlp.ts'
import { ParameterVector, type ParameterLayout } from '../../model/parameters.ts'
import { resolvePrecision, type ModelPrecision } from '../../model/precision.ts'
import { schemes } from '../../numerics/scheme.ts'
import { adam, adamStep } from '../../ops/optimizer.ts'
import { readF64 } from '../../ops/reduce.ts'
import { InlineExecutor } from '../../runtime/executor.ts'
import { Program } from '../../runtime/program.ts'
import { emitGradient } from '../../train/arm.ts'
import { modelPrecision, type MxSpecs } from '../mx-specs.ts'
import type { Deviation, SetResult } from '../types.ts'

interface Case {
  id: number, label?: string, d: number, L: number, layer_norm: boolean, ln_eps: number, act: string, batch: number, steps: number
  optimizer: string, lr: number, betas: [number, number], eps: number, data: string, stored_batches: number, init: string
  grad0: string[], no_grad?: string[], specs?: MxSpecs, spread: { grad0_rel_l2: number }
}

type Named = Map<string, { shape: readonly number[], values: Float32Array }>

/** What one run gives. */
interface Run { losses: number[], grad0: Named, final: Named }

function training(c: Case, file: SafeTensors): Run {
  if (c.optimizer !== 'Adam') throw new Error(`optimizer ${c.optimizer} is not supported`)
  if (!['gelu', 'relu', 'swiglu', 'linear'].includes(c.act)) throw new Error(`activation ${c.act} is not supported`)
  if (c.ln_eps !== 1e-5) throw new Error(`ln_eps ${c.ln_eps} is not supported`)
  const shape: StudentShape = { depth: c.L, width: c.d, activation: c.act as StudentShape['activation'], layerNorm: c.layer_norm }
  const precision: ModelPrecision = c.specs ? modelPrecision(c.specs, { layerNormEps: c.ln_eps, betaGradient: 'dropped', studentGelu: 'exact' }) : resolvePrecision(schemes.fp32!)
  const executor = new InlineExecutor(), { arena } = executor
  const layout = studentLayout(shape), params = new ParameterVector(arena, layout), grads = new ParameterVector(arena, layout)
  const m = new ParameterVector(arena, layout), v = new ParameterVector(arena, layout)
  params.import(arena, named(file, `init.${c.init}.`, layout))
  const x = arena.tensor(c.batch, c.d), target = arena.tensor(c.batch, c.d), loss = arena.tensor(2), step = arena.tensor(4)
  const settings = { beta1: c.betas[0], beta2: c.betas[1], eps: c.eps }
  const gradient = new Program(arena), update = new Program(arena)
  emitGradient(gradient, shape, params, grads, { x, target }, loss, precision)
  adam(update, { value: params.flat, gradient: grads.flat, m: m.flat, v: v.flat, step }, settings)

  const [xs, ys] = ['x', 'y'].map(part => typed(file.tensors.get(`data.${c.data}.${part}`)!, Float32Array)) as [Float32Array, Float32Array]
  const losses: number[] = [], size = c.batch * c.d
  let grad0!: Named
  for (let s = 0; s < c.steps; s++) {
    const at = s % c.stored_batches * size
    arena.f32(x).set(xs.subarray(at, at + size))
    arena.f32(target).set(ys.subarray(at, at + size))
    arena.f32(step).set(adamStep(c.lr, s + 1, settings))
    executor.runSync(gradient)
    losses.push(readF64(arena, loss)[0]!)
    grad0 ??= grads.export(arena)
    executor.runSync(update)
  }
  return { losses, grad0, final: params.export(arena) }
}

function named(file: SafeTensors, prefix: string, layout: ParameterLayout): Named {
  return new Map(layout.slots.map(({ name }) => {
    const t = file.tensors.get(prefix + name)
    if (!t) throw new Error(`tensor ${prefix}${name} is missing`)
    return [name, { shape: t.shape, values: typed(t, Float32Array) }]
  }))
}

/** ||a - b|| / ||b||, in double. */
function relativeL2(a: Float32Array, b: Float32Array): number {
  let difference = 0, norm = 0
  for (let i = 0; i < b.length; i++) { difference += (a[i]! - b[i]!) ** 2; norm += b[i]! ** 2 }
  return norm === 0 ? Math.sqrt(difference) : Math.sqrt(difference / norm)
}

/** The limits of a set: see its README. */
interface Rule { readonly loss0: number, readonly loss: number, readonly grad0: (spread: number) => number, readonly final: number }
const float32Rule: Rule = { loss0: 1e-4, loss: 1e-4, grad0: () => 1e-3, final: 1e-3 }
const mxRule: Rule = { loss0: 1e-6, loss: 5e-4, grad0: spread => spread === 0 ? 0 : Math.max(1e-6, 10 * spread), final: 5e-4 }

export async function run(dir: string): Promise<SetResult> {
  const failures: string[] = [], worst = new Map<string, Deviation>()
  let cases = 0
  for (const name of (await readdir(dir)).filter(f => f.endsWith('.safetensors')).sort()) {
    const file = parseSafetensors(await readFile(join(dir, name)))
    for (const c of JSON.parse(file.metadata['cases']!) as Case[]) {
      cases++
      const rule = c.specs ? mxRule : float32Rule
      const check = (what: string, value: number, limit: number) => {
        const before = worst.get(what)
        if (limit > 0 && (!before || value / limit > before.value / before.limit)) worst.set(what, { what, value, limit })
        if (!(value <= limit)) throw new Error(`${what}: deviates by ${value.toExponential(2)}, limit ${limit}`)
      }
      try {
        const got = training(c, file)
        const losses = typed(file.tensors.get(`${c.id}.loss`)!, Float64Array)
        losses.forEach((want, s) => check(s === 0 ? 'first loss (relative)' : 'loss (relative)', Math.abs(got.losses[s]! - want) / Math.abs(want), s === 0 ? rule.loss0 : rule.loss))
        for (const parameter of c.grad0) {
          const values = got.grad0.get(parameter)!.values, want = typed(file.tensors.get(`${c.id}.grad0.${parameter}`)!, Float32Array)
          const limit = rule.grad0(c.spread.grad0_rel_l2)
          if (limit > 0) check('first gradient (relative L2)', relativeL2(values, want), limit)
          else if (!sameBits(values, want)) throw new Error(`first gradient of ${parameter} must be bit equal; relative L2 ${relativeL2(values, want).toExponential(2)}`)
        }
        for (const parameter of c.no_grad ?? []) if (got.grad0.get(parameter)!.values.some(g => g !== 0)) throw new Error(`${parameter} has a gradient, the original gives none`)
        for (const [parameter, { values }] of got.final) check('final weights (relative L2)', relativeL2(values, typed(file.tensors.get(`${c.id}.final.${parameter}`)!, Float32Array)), rule.final)
      } catch (error) { failures.push(`${name} case ${c.id} (${c.label ?? `${c.act} d=${c.d} L=${c.L}`}): ${(error as Error).message}`) }
    }
  }
  return { cases, passed: cases - failures.length, failures, worst: [...worst.values()] }
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  const x = new Uint32Array(a.buffer, a.byteOffset, a.length), y = new Uint32Array(b.buffer, b.byteOffset, b.length)
  return x.every((word, i) => word === y[i])
}
