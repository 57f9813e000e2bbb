// Wasm that only the benchmarks need, written in AssemblyScript and compiled when first used (kept in build/bench/).
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Compile `source` as the core is compiled; null if this engine refuses the module (no relaxed SIMD). */
export async function compile(source) {
  const file = join('build/bench', `${createHash('sha256').update(source).digest('hex').slice(0, 16)}.wasm`)
  if (!existsSync(file)) {
    const { default: asc } = await import('assemblyscript/asc')
    const options = { optimizeLevel: 3, converge: true, noAssert: true, runtime: 'stub', importMemory: true, enable: ['simd', 'relaxed-simd', 'bulk-memory'] }
    const { error, binary, stderr } = await asc.compileString(source, options)
    if (error) throw new Error(stderr.toString())
    mkdirSync('build/bench', { recursive: true })
    writeFileSync(file, binary)
  }
  const bytes = readFileSync(file)
  return WebAssembly.validate(bytes) ? new WebAssembly.Module(bytes) : null
}

/** The exports of one instance with memory of its own. */
export function instantiate(module, megabytes = 1) {
  const memory = new WebAssembly.Memory({ initial: megabytes * 16 })
  return { ...new WebAssembly.Instance(module, { env: { memory, abort() { throw new Error('aborted') } } }).exports, memory }
}
