// Conformance in workerd: a worker that answers with the outcome. At /cold it answers with its cold start alone.
import { coldStart as start } from './cold-start.mjs'

export default {
  async fetch({ url }) {
    const { coldStart, edge, executor } = await start()
    if (url.endsWith('/cold')) return Response.json({ coldStart })
    const { conformance } = await import('./conformance.mjs')
    return Response.json({ runtime: navigator.userAgent, coldStart, hashes: { 'edge entry': await conformance(executor, edge.Core) } })
  },
}
