// Conformance in workerd: a worker that answers with the outcome. It loads the edge entry when asked, so that its cold start can be timed.
export default {
  async fetch() {
    const began = performance.now()
    const { blockQuantizer, fakeQuantize, open, Program } = await import('../../dist/edge.js')
    const executor = await open()
    const x = executor.arena.from(Float32Array.from({ length: 1024 }, (_, i) => i / 7), 32, 32), p = new Program(executor.arena)
    fakeQuantize(p, x, x, 1, blockQuantizer('ocp', 'e4m3'))
    await executor.run(p)
    const coldStart = performance.now() - began
    const { conformance } = await import('./conformance.mjs')
    return Response.json({ runtime: navigator.userAgent, coldStart, hashes: { inline: await conformance(executor) } })
  },
}
