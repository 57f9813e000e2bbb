// Conformance in a process: Node, Deno or Bun. Prints one line of JSON: the runtime, for each executor the hashes, and the cold start of the edge entry.
import { coldStart as start } from './cold-start.mjs'

const { coldStart, edge, executor: first } = await start()
const { conformance } = await import('./conformance.mjs')
const index = await import('../../dist/index.js')
const web = await import('../../dist/web.js')
const runs = { 'edge entry': [edge, first], inline: [index, { threads: 1 }], 'pool of 2': [index, { threads: 2 }], 'pool of 3': [index, { threads: 3 }] }
if (typeof Worker === 'function' && globalThis.Deno) runs['web, 2 workers'] = [web, { threads: 2 }]
const hashes = {}
for (const [name, [entry, how]] of Object.entries(runs)) {
  const executor = how === first ? first : await entry.open(how)
  try { hashes[name] = await conformance(executor, entry.Core) } finally { await executor.close() }
}
console.log(JSON.stringify({ runtime: index.describeEngine().runtime, coldStart, hashes }))
