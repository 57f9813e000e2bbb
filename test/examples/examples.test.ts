// The examples, run as a reader would. The page needs a browser: `npm run test:runtimes -- chromium`.
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, describe, it } from 'vitest'
import { formatSafetensors, parseSafetensors, raw } from '../../src/io/safetensors.ts'
import { formats } from '../../src/numerics/formats.ts'
import { blockQuantizer } from '../../src/numerics/profiles.ts'
import { decode } from '../../src/oracle/codec.ts'
import { quantize } from '../../src/oracle/quantize.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

describe('edge worker', async () => {
  // @ts-expect-error: plain JavaScript
  const { default: worker } = await import('../../examples/edge-worker/worker.js') as { default: { fetch(request: Request): Promise<Response> } }
  const post = (body: Uint8Array, query = '') => worker.fetch(new Request(`http://localhost/${query}`, { method: 'POST', body: body as BodyInit }))

  it('answers with codes and scales', async () => {
    const values = Float32Array.from({ length: 3 * 70 }, (_, i) => Math.fround(Math.sin(i) * 2 ** (i % 9)))
    const response = await post(formatSafetensors([['w', raw(values, [3, 70])]]), '?format=e2m1')
    expect(response.status).toBe(200)
    const { tensors, metadata } = parseSafetensors(new Uint8Array(await response.arrayBuffer()))
    expect(metadata).toEqual({ profile: 'ocp', format: 'e2m1' })
    const codes = tensors.get('w.codes')!, scales = tensors.get('w.scales')!
    expect([codes.shape, scales.shape, scales.dtype]).toEqual([[3, 70], [3, 3], 'F8_E8M0'])
    const got = Array.from(codes.bytes, (code, i) => decode(formats.e2m1, code) * 2 ** (scales.bytes[Math.floor(i / 70) * 3 + Math.floor(i % 70 / 32)]! - 127))
    expect(got).toEqual([...quantize(values, [3, 70], 1, blockQuantizer('ocp', 'e2m1')).values])
  })

  it('refuses what it cannot read, in one line', async () => {
    for (const [body, query, message] of [[new Uint8Array(3), '', /^safetensors: .*\n$/], [formatSafetensors([['w', raw(new Float32Array(4), [4])]]), '?format=e9m9', /^unknown format "e9m9": .*\n$/], [formatSafetensors([['w', raw(new Uint8Array(4), [4])]]), '', /^w is U8.*\n$/]] as const) {
      const response = await post(body, query)
      expect([response.status, await response.text()]).toEqual([400, expect.stringMatching(message)])
    }
  })
})

describe('sharded product', () => {
  it('has the same bits on one thread and several', () => {
    const lines = execFileSync(process.execPath, ['examples/sharded-matmul.mjs', '200'], { cwd: root, encoding: 'utf8' }).trim().split('\n')
    expect(lines.length).toBeGreaterThanOrEqual(2)
    for (const line of lines) expect(line).toMatch(/^\d+ threads?: \d+\.\d GFLOP\/s, the same bits$/)
  })
})
