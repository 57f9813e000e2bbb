// The examples, run as a reader would. The page needs a browser: `npm run test:runtimes -- chromium`.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

/** A Python that has these modules: BLOCKSCALE_PYTHON, else python3. */
const python = process.env.BLOCKSCALE_PYTHON ?? 'python3'
const has = (...modules: string[]) => spawnSync(python, ['-c', `import ${modules.join(', ')}`], { stdio: 'ignore' }).status === 0
const numpy = has('numpy')
if (!numpy) console.log(`Python examples skipped: ${python} has no numpy (set BLOCKSCALE_PYTHON to one that has)`)

describe.skipIf(!numpy)('Python', () => {
  const folder = mkdtempSync(join(tmpdir(), 'blockscale-python-')), examples = join(root, 'examples')
  // A module named torch that cannot be imported stands for a Python without it.
  writeFileSync(join(folder, 'torch.py'), 'raise ImportError("no torch here")\n')
  const main = join(root, 'dist/cli/main.js'), env = { ...process.env, BLOCKSCALE: `"${process.execPath}" "${main}"`, BLOCKSCALE_WIDE: '0', PYTHONDONTWRITEBYTECODE: '1' }
  const run = (args: string[], paths: string[]) => {
    const { status, stdout, stderr } = spawnSync(python, args, { cwd: folder, encoding: 'utf8', env: { ...env, PYTHONPATH: paths.join(':') } })
    return { status, stdout, stderr }
  }
  const vectors = (model: string) => execFileSync(process.execPath, [main, 'vectors', '--model', model, '--count', '128', '--steps', '2', '--start', 'zero', '--out', join(folder, 'v.safetensors')], { stdio: 'ignore' })

  it.each(['blackwell-mxf4nvf4', 'hopper-bf16'])('check_kernel.py, numpy alone: a float32 product is not %s, and it says so', model => {
    vectors(model)
    const { status, stdout } = run([join(examples, 'check_kernel.py'), 'v.safetensors'], [folder, examples])
    expect(stdout).toMatch(new RegExp(`^${model} \\(confidence of the model: (hardware|simulator)\\): .*; checking numpy_kernel\nF32 \\[128\\], 128 elements: \\d+ mismatches`))
    const wrong = Number(/(\d+) mismatches/.exec(stdout)![1])
    expect([status, wrong > 0, wrong < 128]).toEqual([1, true, true])
  })
  it('check_kernel.py: a kernel that is right passes', () => {
    vectors('blackwell-mxf8f6f4')
    writeFileSync(join(folder, 'right.py'), `import check_kernel
from tensors import blockscale, load, save
def kernel(a, b, scale_a, scale_b, formats, scale):
    save("t.safetensors", {"a": a, "b": b, "sa": scale_a, "sb": scale_b}, {"a": "F8_E4M3", "b": "F8_E4M3", "sa": "F8_E8M0", "sb": "F8_E8M0"})
    blockscale("matmul", "t.safetensors:a", "t.safetensors:b", "t.d.safetensors", "--a-scales", "t.safetensors:sa", "--b-scales", "t.safetensors:sb", "--accumulate", "blackwell-mxf8f6f4")
    return load("t.d.safetensors")[0]["tensor"]
check_kernel.numpy_kernel = kernel
check_kernel.main("v.safetensors", "numpy")
`)
    const { status, stdout } = run(['right.py'], [folder, examples])
    expect([status, stdout]).toEqual([0, expect.stringContaining('equal, bit for bit')])
  })
  it('quantize_and_multiply.py, numpy alone', () => {
    const { status, stdout } = run([join(examples, 'quantize_and_multiply.py')], [folder, examples])
    expect(status).toBe(0)
    expect(stdout).toMatch(/^a: e4m3 with 384 e8m0 scales, .* verified against its output\nb: .*\nproduct: blackwell-mxf8f6f4, confidence of the model: simulator\n/)
    expect(Number(/quantized values: (\S+);/.exec(stdout)![1])).toBeLessThan(1e-5)
    expect(stdout).toMatch(/identify: blackwell-mxf8f6f4, exit code 0\n$/)
  })
  const torch = numpy && has('torch')
  if (numpy && !torch) console.log(`quantize_and_multiply.py with torch skipped: ${python} has none`)
  it.skipIf(!torch)('quantize_and_multiply.py, with torch', () => {
    rmSync(join(folder, 'torch.py'))
    expect(run([join(examples, 'quantize_and_multiply.py')], [examples])).toMatchObject({ status: 0, stdout: expect.stringMatching(/exit code 0\n$/) })
  }, 60_000)
})
