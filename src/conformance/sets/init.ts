// Set `init`: random numbers and initialisers of torch's CPU generator. A case's numbers are drawn right after seeding, in the order of its outputs.
// What is drawn follows from the case's name and the outputs' names and shapes; the parameters of a distribution stand in the case's text.
// Rules: equal bits; trunc_normal_ within 2e-6.
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { TorchGenerator } from '../../data/torch-random.ts'
import { parseSafetensors, typed, type RawTensor } from '../../io/safetensors.ts'
import { InlineExecutor } from '../../runtime/executor.ts'
import type { SetResult } from '../types.ts'
import { firstDifference } from './microxcaling.ts'

interface Case { seed: number, name: string, what: string, out: string[] }

const TOLERANCE = 2e-6

/** Makes the next output of a case from the generator. `part`: the output's name within the case; `index`: its place. */
type Draw = (g: TorchGenerator, part: string, shape: readonly number[], index: number) => ArrayLike<number> | Uint32Array

const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)

/** The numbers in the argument list of every call of `method` in the case's text, call by call. */
function parameters(what: string, method: string): number[][] {
  return [...what.matchAll(new RegExp(`${method}\\(([^()]*)`, 'g'))].map(m => [...m[1]!.matchAll(/-?\d+(\.\d+)?(e-?\d+)?/g)].map(x => Number(x[0])))
}

/** Linear weights are [out, in]; a bias has the fan-in of the weight drawn before it. */
function linearDraw(): Draw {
  let fanIn = 0
  return (g, part, shape) => {
    if (part.endsWith('bias')) return g.linearBias(shape[0]!, fanIn)
    fanIn = shape[1]!
    return g.linearWeight(shape[0]!, fanIn)
  }
}

function drawOf({ name, what }: Case): Draw {
  const uniform = parameters(what, 'uniform_'), normal = parameters(what, 'normal_')
  if (name === 'mt19937') return (g, _, shape) => g.words(count(shape))
  if (name === 'rand64') return (g, _, shape) => g.uniform64(count(shape))
  if (name === 'rand') return (g, _, shape) => g.uniform32(count(shape))
  if (name === 'sequence') return (g, part, shape) => part.startsWith('randn') ? g.normals(count(shape)) : g.uniform32(count(shape))
  if (/^randn(\d+|_2d)$/.test(name)) return (g, _, shape) => g.normals(count(shape))
  if (name === 'uniform_') return (g, _, shape, i) => g.uniformBetween(count(shape), uniform[i]![0]!, uniform[i]![1]!)
  if (name === 'normal_') return (g, _, shape, i) => g.normals(count(shape), normal[i]![1]!, normal[i]![0]!)
  if (name.startsWith('linear_')) return linearDraw()
  if (name === 'trunc_normal_') {
    const [mean, std, low, high] = normal[0]!.slice(-4) as [number, number, number, number]
    return (g, _, shape) => g.truncatedNormal(count(shape), mean, std, low, high)
  }
  if (name === 'xavier_normal_') return (g, _, shape) => g.xavierNormal(shape[0]!, shape[1]!, normal[0]!.at(-1))
  if (name === 'randint') return (g, _, shape) => g.integers(count(shape), parameters(what, 'randint')[0]![0]!)
  if (name === 'randperm') return (g, _, shape) => g.permutation(count(shape))
  if (name === 'student_teacher_order') {
    const linear = linearDraw()
    return (g, part, shape, i) => /weight$|bias$/.test(part) ? linear(g, part, shape, i) : g.normals(count(shape))
  }
  throw new Error(`draw ${name} is not supported`)
}

/** Null if `got` equals the file's tensor, or is within the tolerance where the rule allows one. */
function difference(got: ArrayLike<number>, want: RawTensor, tolerance: number, seen: (deviation: number) => void): string | null {
  const values: ArrayLike<number> = want.dtype === 'F32' ? typed(want, Float32Array) : want.dtype === 'F64' ? typed(want, Float64Array)
    : want.dtype === 'I64' ? Array.from(typed(want, BigInt64Array), Number) : want.dtype === 'U32' ? typed(want, Uint32Array) : []
  if (got.length !== values.length) return `gives ${got.length} values, the ${want.dtype} tensor has ${values.length}`
  if (tolerance > 0) {
    const worst = Array.from(values).reduce((m, v, i) => Math.max(m, Math.abs(v - got[i]!)), 0)
    seen(worst)
    return worst <= tolerance ? null : `differs by ${worst}`
  }
  if (values instanceof Float32Array) return firstDifference(Float32Array.from(got), values)
  const i = Array.from(values).findIndex((v, i) => !Object.is(v, got[i]))
  return i < 0 ? null : `[${i}]: want ${values[i]}, got ${got[i]}`
}

export async function run(dir: string): Promise<SetResult> {
  const executor = new InlineExecutor(), failures: string[] = []
  let cases = 0, worst = 0
  for (const name of (await readdir(dir)).filter(f => f.endsWith('.safetensors')).sort()) {
    const file = parseSafetensors(await readFile(join(dir, name)))
    for (const c of JSON.parse(file.metadata['cases']!) as Case[]) {
      cases++
      try {
        const g = new TorchGenerator(executor, c.seed), draw = drawOf(c), prefix = `s${c.seed}.${c.name}.`
        c.out.forEach((out, i) => {
          const want = file.tensors.get(out)
          if (!want || !out.startsWith(prefix)) throw new Error(`tensor ${out} is missing or misnamed`)
          const problem = difference(draw(g, out.slice(prefix.length), want.shape, i), want, c.name === 'trunc_normal_' ? TOLERANCE : 0, d => { worst = Math.max(worst, d) })
          if (problem) throw new Error(`${out} ${problem}`)
        })
      } catch (error) { failures.push(`seed ${c.seed} ${c.name}: ${(error as Error).message}`) }
    }
  }
  return { cases, passed: cases - failures.length, failures, worst: [{ what: 'trunc_normal_', value: worst, limit: TOLERANCE }] }
}
