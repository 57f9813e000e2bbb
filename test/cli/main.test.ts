import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { dispatch, explain } from '../../src/cli/commands.ts'
import { exact } from '../../src/cli/formats.ts'
import { forkConfig } from '../../src/cli/intervene.ts'
import { formats } from '../../src/numerics/formats.ts'
import { schemes } from '../../src/numerics/scheme.ts'
import { decode } from '../../src/oracle/codec.ts'
import { writeCheckpoint } from '../../src/train/checkpoint.ts'
import { loadConfig } from '../../src/train/config-file.ts'
import { checkpointFile } from '../../src/train/run-directory.ts'
import { writeSyntheticRun } from '../report/synthetic.ts'

const folder = () => mkdtempSync(join(tmpdir(), 'blockscale-cli-'))
/** Run a command in this process, as main.ts does: a process of its own would cost a second each. */
async function blockscale(...args: string[]): Promise<{ code: number, out: string, err: string }> {
  const write = { out: '', err: '' }
  const spies = [vi.spyOn(process.stdout, 'write').mockImplementation(text => { write.out += text; return true }), vi.spyOn(process.stderr, 'write').mockImplementation(text => { write.err += text; return true })]
  try {
    return { code: await dispatch(args), ...write }
  } catch (error) {
    const { text, code } = explain(error as Error)
    return { code, out: write.out, err: write.err + text }
  } finally { for (const spy of spies) spy.mockRestore() }
}
/** The program itself. */
function program(...args: string[]): { code: number | null, out: string, err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/cli/main.js', ...args], { encoding: 'utf8', env: { ...process.env, BLOCKSCALE_WIDE: '0' } })
  return { code: status, out: stdout, err: stderr }
}

describe('exit codes and messages', () => {
  const wrong: [string[], RegExp][] = [
    [['trian'], /unknown command "trian": use one of train, intervene/],
    [['__proto__'], /unknown command "__proto__"/],
    [['train'], /train: an argument needed, see blockscale train --help/],
    [['train', 'quack'], /unknown preset "quack": use one of .*quick/],
    [['train', 'tiny', 'more'], /train: unexpected argument "more"/],
    [['train', 'tiny', '--thread', '2'], /train: unknown option '--thread'; options are --out, --threads/],
    [['train', 'tiny', '--threads', '0'], /--threads 0: must be a whole number of at least 1/],
    [['train', 'tiny', '--threads=-2'], /--threads -2: must be a whole number of at least 1/],
    [['train', 'tiny', '--threads', '1.5'], /--threads 1\.5: must be/],
    [['train', 'tiny', '--set', 'steps=many'], /config: steps = "many": expected number, received string \(from --set\)/],
    [['train', 'tiny', '--set', 'precision.forward.weight=e9m9'], /precision\.forward\.weight = "e9m9": expected one of "e4m3"/],
    [['train', 'tiny', '--set', 'optimizer.lrr=1'], /optimizer\.lrr: unknown key/],
    [['train', './missing.yaml'], /config file \.\/missing\.yaml does not exist/],
    [['intervene'], /intervene: an argument needed/],
    [['intervene', 'x'], /intervene: --at STEP is needed/],
    [['intervene', 'nowhere', '--at', '5'], /nowhere holds no run \(no config\.json\)/],
    [['report'], /report: an argument needed/],
    [['report', 'nowhere'], /nowhere holds no run/],
    [['formats', 'e9m9'], /unknown format "e9m9": use one of e4m3, .*e8m0/],
    [['info', '--loud'], /info: unknown option '--loud'/],
  ]
  test.each(wrong)('%j is refused with code 2 and one line', async (args, message) => {
    const { code, out, err } = await blockscale(...args)
    expect(err).toMatch(message)
    expect(err.trimEnd().split('\n')).toHaveLength(1)
    expect(err).toMatch(/^blockscale: /)
    expect({ code, out }).toEqual({ code: 2, out: '' })
  })

  test('help for the whole and for each command, with examples; no arguments is a usage error', async () => {
    const all = await blockscale('--help')
    expect(all).toMatchObject({ code: 0, err: '' })
    const names = [...all.out.matchAll(/^  ([a-z]+) {2,}/gm)].map(m => m[1]!)
    expect(names).toEqual(expect.arrayContaining(['train', 'intervene', 'report', 'formats', 'info']))
    for (const name of names) {
      const { code, out } = await blockscale(name, '--help')
      expect(code).toBe(0)
      expect(out).toMatch(new RegExp(`^usage: blockscale ${name}[\\s\\S]*\\nexamples:\\n  blockscale ${name}`))
      expect((await blockscale('help', name)).out).toBe(out)
    }
    expect(await blockscale()).toMatchObject({ code: 2, out: '' })
    expect((await blockscale('--version')).out).toBe(`${JSON.parse(readFileSync('package.json', 'utf8')).version}\n`)
  })

  test('the program sets the exit code and writes to the right stream', () => {
    expect(program('formats', 'e9m9')).toMatchObject({ code: 2, out: '', err: expect.stringMatching(/^blockscale: unknown format "e9m9".*\n$/) })
    expect(program('--version')).toMatchObject({ code: 0, err: '' })
  })

  test('an error that nobody expected shows its stack and asks for a report', () => {
    expect(explain(new RangeError('x'))).toEqual({ code: 1, text: expect.stringMatching(/^blockscale: unexpected error, please report it\nRangeError: x\n +at /) })
    expect(explain(Object.assign(new Error('disk full'), { name: 'RunError' }))).toEqual({ code: 1, text: 'blockscale: disk full\n' })
  })

  test('a reader that closes early is no error', () => {
    const { status, stderr } = spawnSync('sh', ['-c', `"${process.execPath}" dist/cli/main.js formats bf16 | head -2`], { encoding: 'utf8' })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  })
})

describe('formats', () => {
  test('the table has every format', async () => {
    const { out } = await blockscale('formats')
    for (const name of Object.keys(formats)) expect(out).toMatch(new RegExp(`^${name} +\\d+  1 sign`, 'm'))
    expect(out).toMatch(/^e4m3 .* 448 +0\.015625 +0\.001953125 +NaN$/m)
    expect(out).toMatch(/^e8m0 +8 .*2\^127 +2\^-127/m)
    expect(out).toMatch(/^ml_dtypes +nearest-even +overflow: .* quiet: .* 0x7f, 0x7f +0x07, 0x08$/m)
    expect(out).toMatch(/^ptx-satfinite +nearest-even +saturate: .* max: .* 0x7e, 0x7f +0x07, 0x07$/m)
  })

  test.each(['e4m3', 'e5m2', 'e2m1', 'int8'] as const)('%s: every code with its value', async name => {
    const lines = (await blockscale('formats', name)).out.trimEnd().split('\n').slice(1)
    expect(lines).toHaveLength(2 ** formats[name].bits)
    lines.forEach((line, code) => {
      const [hex, ...rest] = line.split(/\s+/)
      expect(Number(hex)).toBe(code)
      expect(rest.slice(formats[name].kind === 'int' ? 1 : 3).join(' ')).toBe(exact(decode(formats[name], code)))
    })
  })

  test('values are exact: as a decimal or as m * 2^e', () => {
    for (const [value, text] of [[0.001953125, '0.001953125'], [-0, '-0'], [2 ** -127, '2^-127'], [-(2 ** 127), '-2^127'], [1.9921875 * 2 ** 127, '1.9921875 * 2^127'], [NaN, 'NaN'], [-Infinity, '-inf'], [57344, '57344']] as const) expect(exact(value)).toBe(text)
  })

  test('as JSON', async () => {
    const codes = JSON.parse((await blockscale('formats', 'e5m2', '--json')).out)
    expect(codes[0x7c]).toEqual({ code: 124, bits: '0 11111 00', value: 'inf' })
    expect(JSON.parse((await blockscale('formats', '--json')).out).formats.e4m3.max).toBe(448)
  })
})

test('info names engine, SIMD width, threads, modules and a passed self-test', () => {
  const { code, out } = program('info', '--test')
  expect(code).toBe(0)
  expect(out).toMatch(/^engine +node \d/m)
  expect(out).toMatch(/^SIMD +(128|256) bits/m)
  expect(out).toMatch(/^threads +\d+$/m)
  expect(out).toMatch(/^self-test +passed, \d+ groups of kernels$/m)
  expect(out).toMatch(/^kernels\.wasm +[0-9a-f]{64}$/m)
  // Which tiles were timed fastest is part of what is remembered, so another start may test again.
  const facts = JSON.parse(program('info', '--json').out)
  expect(facts.selfTest).toMatch(/^passed(, \d+ groups of kernels| at an earlier start)$/)
  expect(facts.modules['kernels.shared']).toMatch(/^[0-9a-f]{64}$/)
})

describe('report', () => {
  test('one run: report.html in it; several: a comparison beside them', async () => {
    const dir = folder(), a = join(dir, 'a'), b = join(dir, 'b')
    writeSyntheticRun(a, { preset: 'tiny' })
    writeSyntheticRun(b, { preset: 'tiny', overrides: ['precision=e5m2/e5m2'] })
    expect(await blockscale('report', a)).toEqual({ code: 0, err: '', out: `${join(a, 'report.html')}\n` })
    expect(await blockscale('report', a, b)).toEqual({ code: 0, err: '', out: `${join(dir, 'comparison.html')}\n` })
    expect((await blockscale('report', a, '--out', join(dir, 'x.html'))).out).toBe(`${join(dir, 'x.html')}\n`)
    expect(readdirSync(dir).sort()).toEqual(['a', 'b', 'comparison.html', 'x.html'])
    expect(await blockscale('report', a, '--out', join(dir, 'no', 'x.html'))).toMatchObject({ code: 1, err: expect.stringMatching(/^blockscale: cannot write .*ENOENT/) })
  })
})

describe('intervene', () => {
  const config = loadConfig('quick')

  test('the fork is the parent with an entry in its precision schedule', () => {
    const fork = forkConfig(config, 600, ['precision.layerNorm=fp32'], false)
    expect(fork.precisionSchedule).toEqual([{ step: 600, precision: { ...schemes['e4m3/e4m3'], layerNorm: 'fp32' } }])
    expect(fork).toMatchObject({ precision: config.precision, baseline: null, probes: { weights: 'studied' }, steps: config.steps, seed: config.seed })
    expect(forkConfig(config, 600, [], true)).toEqual({ ...config, precisionSchedule: [{ step: 600, precision: config.precision }] })
    const again = forkConfig(fork, 800, ['precision.backward=fp32'], false)
    expect(again.precisionSchedule.map(s => [s.step, s.precision.layerNorm, s.precision.backward])).toEqual([[600, 'fp32', 'quantized'], [800, 'fp32', 'fp32']])
    expect(forkConfig(fork, 500, [], false).precisionSchedule).toEqual([{ step: 500, precision: config.precision }])
  })

  test('what would change data or updates is refused; so is a step without checkpoint', async () => {
    for (const [override, step, message] of [['seed=1', 5, /--set seed=1: an intervention can change precision, metrics/], ['optimizer.lr=1', 5, /an intervention can change/], ['precisionSchedule=[]', 5, /an intervention can change/], ['precision=fp32', 1000, /--at 1000: must lie between 1 and 999/]] as const) {
      expect(() => forkConfig(config, step, [override], false)).toThrow(message)
    }
    const run = join(folder(), 'run')
    writeSyntheticRun(run, { preset: 'tiny' })
    expect(await blockscale('intervene', run, '--at', '20')).toMatchObject({ code: 2, err: expect.stringMatching(/--at 20: .*run has no checkpoint there nor anywhere else/) })
    for (const step of [40, 60]) writeCheckpoint(checkpointFile(run, step), { step, tensors: {}, meta: {} })
    expect((await blockscale('intervene', run, '--at', '20')).err).toMatch(/has no checkpoint there, it has 40, 60/)
    expect((await blockscale('intervene', run, '--at', 'soon')).err).toMatch(/--at soon: must be a whole number/)
  })
})

test('a run directory is not a configuration unless it is to be continued; a finished run is only reported again', async () => {
  const dir = folder(), run = join(dir, 'run')
  writeSyntheticRun(run, { preset: 'tiny' })
  expect((await blockscale('train', run)).err).toMatch(/run is a run directory: add --resume/)
  expect((await blockscale('train', run, '--resume', '--set', 'steps=3')).err).toMatch(/--set steps=3: a run directory is continued as it is/)
  const again = await blockscale('train', run, '--resume', '--json')
  expect(again).toMatchObject({ code: 0, err: expect.stringMatching(/is finished already: 60 steps/) })
  expect(JSON.parse(again.out)).toMatchObject({ kind: 'summary', finished: true, report: join(run, 'report.html') })
  expect(existsSync(join(run, 'report.html'))).toBe(true)
})
