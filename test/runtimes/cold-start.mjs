// The cold start of the edge entry: milliseconds from its import to 1024 quantized values. To be imported, not run twice: an engine keeps what it has compiled.
export async function coldStart() {
  const began = performance.now()
  const edge = await import('../../build/edge.js')
  const executor = await edge.open(), { arena } = executor
  const x = arena.from(Float32Array.from({ length: 1024 }, (_, i) => i / 7), 32, 32), p = new edge.Program(arena)
  edge.fakeQuantize(p, x, x, 1, edge.blockQuantizer('ocp', 'e4m3'))
  await executor.run(p)
  return { coldStart: performance.now() - began, edge, executor }
}
