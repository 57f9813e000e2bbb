// blockscale info: what runs the kernels here, and whether it computes the right bits.
import { parse } from './arguments.ts'

export const help = `usage: blockscale info [--narrow] [--test] [--json]

Engine, SIMD width, threads, hashes of the Wasm modules, and the self-test: fixed inputs through every kernel against pinned hashes. Exit code 1 if it fails.
A test once passed on this machine, engine and core is remembered.

  --narrow    do not try the engine's 256-bit mode
  --test      run the self-test now, whatever is remembered

examples:
  blockscale info
  blockscale info --test
  blockscale info --json
`

export async function run(args: string[]): Promise<number> {
  const { values } = parse('info', args, { narrow: { type: 'boolean' }, test: { type: 'boolean' }, json: { type: 'boolean' } })
  const [{ hashes: modules }, { describeEngine }, { loadModules }, { testRecord }, { availableThreads }, { VERSION }] = await Promise.all([
    import('../../build/hashes.js'), import('../runtime/engine.ts'), import('../runtime/module.ts'), import('../runtime/test-record.ts'), import('../runtime/open.ts'), import('../version.ts'),
  ])
  if (!values.narrow) { const { enableWide, wideAllowed } = await import('../runtime/wide.ts'); if (wideAllowed()) enableWide() }
  const core = loadModules(), engine = describeEngine(core)
  const record = testRecord('info', core, [engine.wide?.split(':')[0] ?? 'narrow'])
  let wrong: string[] = [], selfTest = 'passed at an earlier start'
  if (values.test || !record.passed) {
    const { failures, count } = await import('../runtime/selftest.ts')
    wrong = failures(core)
    selfTest = wrong.length ? `FAILED: ${wrong.join(', ')}` : `passed, ${count} groups of kernels`
    if (!wrong.length) record.note()
  }
  const facts = { version: VERSION, ...engine, platform: `${process.platform} ${process.arch}`, threads: availableThreads(), modules, selfTest }
  if (values.json) process.stdout.write(`${JSON.stringify(facts)}\n`)
  else {
    const lines: [string, string | number][] = [
      ['blockscale', facts.version], ['engine', `${engine.runtime}${engine.v8 ? `, V8 ${engine.v8}` : ''}`], ['platform', facts.platform], ['threads', facts.threads],
      ['SIMD', `${engine.simd} bits${engine.relaxed ? ', relaxed' : ''}`], ['register tiles', `${engine.tiles.strict}${engine.tiles.fused ? `, fused ${engine.tiles.fused}` : ''}`], ['256-bit mode', engine.wide ?? 'not asked for'],
      ['self-test', facts.selfTest], ...Object.entries(facts.modules).map(([name, hash]): [string, string] => [`${name}.wasm`, hash]),
    ]
    process.stdout.write(lines.map(([name, value]) => `${name.padEnd(20)}${value}\n`).join(''))
  }
  return wrong.length ? 1 : 0
}
