// Conformance in a page: inline in the page itself, and on web workers. Leaves the outcome in globalThis.outcome.
import * as edge from '../../build/edge.js'
import * as web from '../../dist/web.js'
import { conformance } from './conformance.mjs'

globalThis.outcome = (async () => {
  const hashes = {}
  for (const [name, [entry, options]] of Object.entries({ inline: [edge, {}], 'web, 2 workers': [web, { threads: 2 }], 'web, 3 workers': [web, { threads: 3 }] })) {
    try {
      const executor = await entry.open(options)
      try { hashes[name] = await conformance(executor, entry.Core) } finally { await executor.close() }
    } catch (error) {
      hashes[name] = { error: `${error.name}: ${error.message}` }
    }
  }
  return { runtime: navigator.userAgent.match(/\S*Chrome\/\S+/)[0], isolated: crossOriginIsolated, hashes }
})()
