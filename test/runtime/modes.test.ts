// The kernels give the same bits in every mode of the engine that is available: the kernel tests run again in child processes.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const cache = mkdtempSync(join(tmpdir(), 'blockscale-modes-'))

const run = (node: string, ...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(node, args, { encoding: 'utf8', env: { ...process.env, NO_COLOR: '1' } })
  return { status, output: `${stdout}\n${stderr}` }
}
const vitest = (node: string, ...args: string[]) => run(node, 'node_modules/vitest/vitest.mjs', 'run', ...args)
const script = (node: string, code: string) => run(node, '--input-type=module', '-e', code)

/** Another Node to test under: a path in BLOCKSCALE_NODE (Node 26, where the everyday tests run on Node 20, or the reverse). */
const other = process.env.BLOCKSCALE_NODE
if (!other) console.log('not tested under a second version of Node: BLOCKSCALE_NODE does not name one')

for (const node of [process.execPath, ...other ? [other] : []]) {
  describe(`under ${run(node, '--version').output.trim()}`, () => {
    it('the kernel tests pass with the 256-bit mode asked for', () => {
      const { status, output } = vitest(node, '--config', 'vitest.wide.config.ts')
      expect(status, output).toBe(0)
    })

    if (node !== process.execPath) {
      it('the kernel tests pass', () => {
        const { status, output } = vitest(node, 'test/ops', 'test/kernels', 'test/runtime/selftest.test.ts')
        expect(status, output).toBe(0)
      })
    }

    it('a failed self-test takes the mode back', () => {
      const { status, output } = script(node, `
        const { enableWide } = await import('./dist/runtime/wide.js')
        const { open } = await import('./dist/runtime/open.js')
        const { describeEngine } = await import('./dist/runtime/engine.js')
        enableWide({ test: () => 'a kernel', cache: null })
        await (await open({ threads: 1 })).close()
        const { wide, simd } = describeEngine()
        console.log(simd, wide)
      `)
      expect(status, output).toBe(0)
      expect(output).toMatch(/^128 off: .* failed the self-test at a kernel$/m)
    })

    it('a self-test passed is remembered', () => {
      const folder = mkdtempSync(join(cache, 'home-'))
      const start = () => script(node, `
        const { enableWide } = await import('./dist/runtime/wide.js')
        const { loadModules } = await import('./dist/runtime/module.js')
        enableWide({ cache: ${JSON.stringify(folder)} })
        console.log(loadModules().wide)
      `)
      expect(start().output).toMatch(/^on: .* passed in \d+ ms$/m)
      const [file] = readdirSync(folder)
      // The tile that was timed fastest is part of what is remembered, so another start may test again.
      for (let i = 0, output = ''; !output.includes('at an earlier start'); i++) {
        output = start().output
        expect(output).toMatch(/^on: /m)
        expect(i).toBeLessThan(10)
      }
      expect(file).toMatch(/^self-test-[0-9a-f]{32}$/)
    })

    it('open({ wide: true }) works with threads, and is refused once the core is compiled', () => {
      const { status, output } = script(node, `
        const { open } = await import('./dist/runtime/open.js')
        const ex = await open({ threads: 2, wide: true })
        const again = await open({ threads: 1, wide: true })
        await ex.close()
        await again.close()
        const { loadSharedModules } = await import('./dist/runtime/shared-module.js')
        console.log(loadSharedModules().wide)
      `)
      expect(status, output).toBe(0)
      expect(output).toMatch(/^(on|off): /m)
      const late = script(node, `
        const { open } = await import('./dist/runtime/open.js')
        await open({ threads: 1 })
        await open({ threads: 1, wide: true }).catch(e => console.log(e.name, e.message))
      `)
      expect(late.output).toMatch(/^UsageError the core is compiled already/m)
    })
  })
}
