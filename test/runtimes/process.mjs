// Conformance in a process: Node, Deno or Bun. Prints one line of JSON: the runtime, for each executor the hashes, and the cold start of the edge entry.
const began = performance.now()
const edge = await import('../../dist/edge.js')
const first = await edge.open()
const { arena } = first
const x = arena.from(Float32Array.from({ length: 1024 }, (_, i) => i / 7), 32, 32), p = new edge.Program(arena)
edge.fakeQuantize(p, x, x, 1, edge.blockQuantizer('ocp', 'e4m3'))
await first.run(p)
const coldStart = performance.now() - began

const { conformance } = await import('./conformance.mjs')
const index = await import('../../dist/index.js')
const web = await import('../../dist/web.js')
const runs = { inline: () => index.open({ threads: 1 }), 'pool of 2': () => index.open({ threads: 2 }), 'pool of 3': () => index.open({ threads: 3 }) }
if (typeof Worker === 'function' && globalThis.Deno) runs['web, 2 workers'] = () => web.open({ threads: 2 })
const hashes = {}
for (const [name, open] of Object.entries(runs)) {
  const executor = await open()
  try { hashes[name] = await conformance(executor) } finally { await executor.close() }
}
console.log(JSON.stringify({ runtime: index.describeEngine().runtime, coldStart, hashes }))
