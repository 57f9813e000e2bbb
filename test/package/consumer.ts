// A program of somebody who has installed the package: package.test.ts compiles it there, under both ways in which TypeScript finds an entry's types.
import { blockQuantizer, Core, fakeQuantize, open, Program, RunError, UsageError, type Executor, type OpenOptions, type ProductResult } from 'blockscale'
import { compare, identifyProduct, identifyQuantizer, makeVectors, type Comparison, type ProductFindings, type QuantizerFindings } from 'blockscale/conformance'
import * as edge from 'blockscale/edge'
import { parseConfig, StudentTeacher, type RunConfig, type Task } from 'blockscale/training'
import * as web from 'blockscale/web'

const options: OpenOptions = { threads: 2 }
const executor: Executor = await open(options), program = new Program(executor.arena), x = executor.arena.from([1, 2], 1, 2)
fakeQuantize(program, x, x, 1, blockQuantizer('ocp', 'e4m3'))
export const product: ProductResult = await new Core(executor).matmul({ shape: [1, 1], data: Float32Array.of(1) }, { shape: [1, 1], data: Float32Array.of(1) })

const one: edge.Executor = await edge.open({ module: new WebAssembly.Module(new Uint8Array()) })
export const many: web.Executor = await web.open({ threads: 2 })
const config: RunConfig = parseConfig({ steps: 1 })
export const task: Task = new StudentTeacher(one, config)
const core = new edge.Core(one), shape = [1, 1]
export const product1: ProductFindings = await identifyProduct(core, { a: { shape, data: Float32Array.of(1) }, b: { shape, data: Float32Array.of(1) }, out: { format: 'f32', codes: Uint32Array.of(0x3f800000) } })
export const quantizer: QuantizerFindings = await identifyQuantizer(one, { shape, x: Float32Array.of(1), output: { kind: 'values', values: Float32Array.of(1) } })
export const same: Comparison = compare(edge.raw(Float32Array.of(1), shape), edge.raw(Float32Array.of(1), shape))
export const count: number = makeVectors(edge.mmaConfig('hopper-fp8'), { count: 1, seed: 0 }).length
export const errors: readonly (new (message: string) => Error)[] = [RunError, UsageError, edge.UsageError]

// @ts-expect-error: not a profile
blockQuantizer('none', 'e4m3')
// @ts-expect-error: not an option of this entry
await edge.open({ threads: 2 })
