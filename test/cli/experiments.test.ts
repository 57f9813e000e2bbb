// fit, sweep and export on the command line. The sweep trains for real, with the smallest preset.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { dispatch, explain } from '../../src/cli/commands.ts'
import { predict } from '../../src/experiments/fit.ts'
import { SweepFolder, type ManifestEntry } from '../../src/experiments/manifest.ts'
import { formatCsv, numberColumn, parseCsv, textColumn } from '../../src/io/csv.ts'
import { listCheckpoints, readSummary } from '../../src/train/run-directory.ts'

let folder: string
beforeAll(() => { folder = mkdtempSync(join(tmpdir(), 'blockscale-')) })

const main = resolve('dist/cli/main.js')
const environment = { ...process.env, BLOCKSCALE_WIDE: '0' }
/** A command in a process of its own: what trains, and what is stopped. */
function program(...args: string[]): { code: number | null, out: string, err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', cwd: folder, env: environment })
  return { code: status, out: stdout, err: stderr }
}
/** A command in this process, which saves the time to start one. */
async function blockscale(...args: string[]): Promise<{ code: number, out: string, err: string }> {
  const text = { out: '', err: '' }
  const spies = [vi.spyOn(process.stdout, 'write').mockImplementation(t => { text.out += t; return true }), vi.spyOn(process.stderr, 'write').mockImplementation(t => { text.err += t; return true })]
  try {
    return { code: await dispatch(args), ...text }
  } catch (error) {
    const { text: message, code } = explain(error as Error)
    return { code, out: text.out, err: text.err + message }
  } finally { for (const spy of spies) spy.mockRestore() }
}
const write = (name: string, text: string) => { writeFileSync(join(folder, name), text); return join(folder, name) }

describe('fit', () => {
  const law = { A: 2500, B: 7200, E: 2, alpha: 0.45, beta: 0.45 }
  const rows = [2e7, 6e7, 2e8, 6e8].flatMap(n => [5, 20, 80].map(r => [r === 5 ? 'a' : 'b', n, n * r, predict('chinchilla', law, n, n * r)]))
  it('prints the law, the rows left out, and as JSON', async () => {
    const runs = write('runs.csv', formatCsv(['config', 'params', 'tokens', 'loss'], [...rows, ['b', 1e8, 1e9, 'NaN']]))
    const { code, out } = await blockscale('fit', runs, '--contours', join(folder, 'contours.csv'), '--bootstrap', '20')
    expect(code).toBe(0)
    expect(out).toMatch(/loss of 12 runs, L\(N, D\) = A \/ N\^alpha \+ B \/ D\^beta \+ E\n {2}A {6}2500\.\d .*95 % interval/)
    expect(out).toContain('left out: line 14, loss is NaN')
    expect(parseCsv(readFileSync(join(folder, 'contours.csv'), 'utf8')).records).toHaveLength(2500)
    expect(await blockscale('fit', runs, '--report', join(folder, 'fit.html'))).toMatchObject({ code: 0 })
    expect(readFileSync(join(folder, 'fit.html'), 'utf8')).toContain('id="contours"')
    const [json] = JSON.parse((await blockscale('fit', runs, '--json', '--freeze', 'E=2')).out)
    expect(json).toMatchObject({ form: 'chinchilla', rows: 12, frozen: { E: 2 }, excluded: [{ line: 14 }] })
    expect(json.coefficients.alpha).toBeCloseTo(0.45, 4)
  })
  it.each([
    [['--form', 'cubic'], '--form cubic: must be one of chinchilla, kaplan'],
    [['--freeze', 'E=-1'], '--freeze E=-1: must be a positive number'],
    [['--loss', 'lss'], 'no column "lss"; it has config, params'],
    [['--where', 'config=c'], 'no row has config=c'],
    [['--by', 'config'], 'a: rows: 4 usable, a fit of 5 coefficients needs at least 6'],
    [['--params', 'loss', '--tokens', 'loss'], 'runs.csv:14: loss NaN and loss NaN must be positive'],
    [['--baseline', 'a'], '--baseline a: needs --by and --report'],
    [['--bootstrap', '1'], '--bootstrap 1: must be a whole number of at least 2'],
  ])('%j: %s', async (args, message) => {
    const { code, err } = await blockscale('fit', join(folder, 'runs.csv'), ...args)
    expect(err).toContain(message)
    expect(code).toBe(2)
  })
})

describe('sweep', () => {
  const text = 'extends: tiny\nsteps: 20\nprobes: { every: 0 }\ngrid: { optimizer.lr: [1e-3, 1e-2] }\n'
  it('trains every run, collects, fits nothing without parameters, exports one', async () => {
    const file = write('lr.yaml', text), sweep = join(folder, 'runs/lr')
    const expanded = (await blockscale('sweep', 'expand', file)).out.trim().split('\n').map(l => JSON.parse(l))
    expect(expanded.map(e => e.name)).toEqual(['optimizer.lr=0.001', 'optimizer.lr=0.01'])
    const { code, out, err } = program('sweep', 'run', 'lr.yaml', '--jobs', '1')
    expect(code, err).toBe(0)
    expect(out).toBe('runs/lr: 2 runs, 2 finished\n')
    expect((await blockscale('sweep', 'collect', sweep)).out).toBe(`${sweep}/runs.csv, ${sweep}/runs.parquet: 2 runs\n`)
    const table = parseCsv(readFileSync(join(sweep, 'runs.csv'), 'utf8'))
    expect(numberColumn(table, 'optimizer.lr')).toEqual([1e-3, 1e-2])
    expect(numberColumn(table, 'studied.steps')).toEqual([20, 20])
    expect(new Set(textColumn(table, 'weightsHash')).size).toBe(2)
    expect(await blockscale('fit', sweep)).toMatchObject({ code: 2, err: expect.stringContaining('no column "params"') })
    const run = join(sweep, 'runs', `run-${expanded[0].hash}`)
    expect((await blockscale('export', run, '--csv', join(folder, 'm.csv'), '--tensorboard', join(folder, 'tb'))).out).toMatch(/m\.csv\n.*tb\/events\.out\.tfevents\./)
    const metrics = parseCsv(readFileSync(join(folder, 'm.csv'), 'utf8'))
    expect(numberColumn(metrics, 'step').filter(s => s > 0)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
    expect(metrics.header).toEqual(expect.arrayContaining(['train/loss_fp32', 'train/loss_mx', 'clipW/ln0_gamma_clipped_frac', 'stab/cos']))
    expect(await blockscale('export', run)).toMatchObject({ code: 2 })
    expect((await blockscale('export', sweep, '--tensorboard', join(folder, 'tbs'))).out.trim().split('\n')).toHaveLength(2)
    expect(readdirSync(join(folder, 'tbs')).sort()).toEqual(expanded.map(e => `${e.name}-${e.hash}`).sort())
    expect(await blockscale('export', sweep, '--csv', join(folder, 'x.csv'))).toMatchObject({ code: 2, err: expect.stringContaining('is a sweep: --tensorboard exports its runs') })
    expect(program('train', 'tiny', '--set', 'steps=5', '--tensorboard', 'logs', '--no-report', '--quiet').code).toBe(0)
    const [name] = readdirSync(join(folder, 'logs'))
    expect(name).toMatch(/^tiny-[0-9a-f]{12}$/)
    const [events] = readdirSync(join(folder, 'logs', name!))
    expect(readFileSync(join(folder, 'logs', name!, events!)).toString('latin1').split('train/loss_mx')).toHaveLength(6)
  })

  it('a run that is stopped goes on from its checkpoint and ends with the weights of one that was not', async () => {
    write('long.yaml', 'extends: tiny\nsteps: 120\nprobes: { every: 0 }\nseeds: 1\n')
    const out = join(folder, 'stopped')
    const runner = spawn(process.execPath, [main, 'sweep', 'run', 'long.yaml', '--out', 'stopped'], { cwd: folder, env: environment, stdio: 'ignore' })
    let sweep: SweepFolder | undefined
    const metrics = () => sweep && join(sweep.runFolder(sweep.entry(0)), 'metrics.jsonl')
    while (!(metrics() && existsSync(metrics()!) && readFileSync(metrics()!, 'utf8').split('\n').length > 60)) {
      if (!sweep && existsSync(join(out, 'sweep.json'))) sweep = SweepFolder.open(out)
      expect(runner.exitCode).toBeNull()
      await new Promise(wake => setTimeout(wake, 20))
    }
    runner.kill('SIGTERM')
    expect((await once(runner, 'exit'))[0]).toBe(130)
    expect(sweep!.entries.map(e => sweep!.state(e).state)).toEqual(['interrupted'])
    expect((await blockscale('sweep', 'status', out)).out).toMatch(/interrupted.*\n.*1 runs, 1 interrupted/)
    expect(program('sweep', 'resume', 'stopped')).toMatchObject({ code: 0 })
    expect(program('sweep', 'run', 'long.yaml', '--out', 'straight')).toMatchObject({ code: 0 })
    const hashes = (folderName: string) => { const s = SweepFolder.open(join(folder, folderName)); return s.entries.map(e => readSummary(s.runFolder(e))!.weightsHash) }
    expect(hashes('stopped')).toEqual(hashes('straight'))
  })

  it('a run that is killed without a word goes on; two processes that take it up do it once; what diverged is a result', async () => {
    write('kill.yaml', 'extends: tiny\nsteps: 300\nprobes: { every: 0 }\nmetrics: { gradient: 0, overflow: 0, activations: 0, gamma: 0 }\ncheckpoints: { every: 20 }\nentries: { calm: {}, hot: { optimizer.lr: 1e38 } }\n')
    const sweep = SweepFolder.create(join(folder, 'killed'), '', (await blockscale('sweep', 'expand', join(folder, 'kill.yaml'))).out.trim().split('\n').map(l => JSON.parse(l)))
    const [calm, hot] = sweep.entries as [ManifestEntry, ManifestEntry]
    const runner = spawn(process.execPath, [main, 'sweep', 'run', 'killed', '--index', '0'], { cwd: folder, env: environment, stdio: 'ignore' })
    const gone = once(runner, 'exit')
    while (!listCheckpoints(sweep.runFolder(calm)).length) { expect(runner.exitCode).toBeNull(); await new Promise(wake => setTimeout(wake, 5)) }
    process.kill(sweep.state(calm).attempts[0]!.child!.pid, 'SIGKILL')
    runner.kill('SIGKILL')
    await gone
    await vi.waitFor(() => expect(sweep.state(calm).state).toMatch(/^(lost|failed)$/), 20_000) // a killed process still has to be scheduled to die
    const both = [0, 1].map(() => spawn(process.execPath, [main, 'sweep', 'run', 'killed', '--index', '0'], { cwd: folder, env: environment, stdio: 'ignore' }))
    expect((await Promise.all(both.map(p => once(p, 'exit')))).map(([code]) => code)).toEqual([0, 0])
    expect(sweep.state(calm)).toMatchObject({ state: 'finished', attempts: [{ number: 0 }, { number: 1, outcome: 'finished' }] })
    const straight = program('train', join(sweep.stateFolder(calm), 'run.json'), '--out', 'straight-kill', '--quiet', '--no-report')
    expect(straight.out).toContain(readSummary(sweep.runFolder(calm))!.weightsHash)

    expect(program('sweep', 'run', 'killed', '--index', '1')).toMatchObject({ code: 0, err: expect.stringMatching(/finished after .* \(diverged at step 2: studied loss is NaN/) })
    expect(sweep.state(hot).state).toBe('finished')
    expect((await blockscale('sweep', 'status', sweep.folder)).out).toBe(`${sweep.folder}: 2 runs, 2 finished, of which 1 diverged\n`)
    expect((await blockscale('sweep', 'collect', sweep.folder)).out).toContain('2 runs')
    const table = parseCsv(readFileSync(join(sweep.folder, 'runs.csv'), 'utf8'))
    expect(['baseline.diverged', 'studied.diverged', 'studied.val_loss', 'precision'].map(c => textColumn(table, c)[1])).toEqual(['true', 'true', '', 'e4m3/e4m3'])
    expect((await blockscale('report', sweep.folder)).out).toBe(`${sweep.folder}/report.html\n`)
    expect(readFileSync(join(sweep.folder, 'report.html'), 'utf8')).toContain('1 of 2')
  }, 400_000)

  it('takes one of the paper\'s files over one of its configurations, changed for a small machine', async () => {
    const base = write('base.yaml', 'max_duration: 48000\nmodel: { d_model: 1024, n_heads: 16, n_layers: 6, vocab_size: 32000, w_mx_format: fp8_e5m2, a_mx_format: bfloat16 }\noptimizer: { name: adamw, learning_rate: 2.0e-4, betas: [0.9, 0.95] }\n')
    const file = write('scale.yaml', 'training: { batch_size: 512 }\nsweep:\n- { max_duration: 6509, model: { d_model: 256, n_heads: 4, n_layers: 4 }, params: 1 }\n- { max_duration: 4774, model: { d_model: 320, n_heads: 5, n_layers: 5 } }\n')
    const { out, err } = await blockscale('sweep', 'expand', file, '--config', base, '--set', 'steps=3', '--set', 'model.vocabulary=null')
    expect(err).toBe('keys without a meaning here: params\n')
    expect(out.trim().split('\n').map(l => JSON.parse(l).config)).toMatchObject([
      { steps: 3, batch: 512, model: { width: 256, depth: 4, vocabulary: null }, optimizer: { betas: [0.9, 0.95] }, precision: { forward: { weight: 'e5m2', activation: 'bf16' } } }, { steps: 3, model: { width: 320, heads: 5 } },
    ])
  })

  it.each([
    [['run', 'nothing.yaml'], 'nothing.yaml: no such file or folder'],
    [['status', ''], 'is not a sweep: it has no sweep.json'],
    [['walk', 'lr.yaml'], 'sweep walk: must be one of expand, run, resume, status, collect'],
    [['run', 'lr.yaml', '--jobs', '999'], '--jobs 999: this machine gives'],
    [['run', 'runs/lr', '--set', 'steps=3'], '--set steps=3: the runs of'],
    [['expand', 'lr.yaml', '--set', 'optimizer.lr=0'], 'run 0 (optimizer.lr=0.001): config: optimizer.lr = 0:'],
    [['run', 'lr.yaml', '--cpus', '0'], '--cpus 0: must be a whole number of at least 1'],
    [['run', 'lr.yaml', '--executor', 'cloud'], '--executor cloud: must be local or slurm'],
    [['run', 'lr.yaml', '--index', '7'], 'index 7: the sweep has runs 0 to 1'],
    [['expand', 'lr.yaml', '--config', 'quick'], 'names its own with extends: tiny'],
  ])('%j: %s', async ([action, file, ...rest], message) => {
    const { code, err } = await blockscale('sweep', action!, join(folder, file!), ...rest, ...action === 'run' ? ['--out', join(folder, 'runs/lr')] : [])
    expect(err).toContain(message)
    expect(code).toBe(2)
  })
})

describe('reproduce', () => {
  it('prints the verdict and writes figure, numbers and page', async () => {
    const out = join(folder, 'reproduction')
    const result = await blockscale('reproduce', 'r1-code-geometry', '--out', out)
    expect(result).toMatchObject({ code: 0, out: expect.stringMatching(/^r1-code-geometry: reproduced\n {2}claim: .*\n {2}holds {2}positive finite codes: 126 \(claimed: 126\)/) })
    expect(readdirSync(out).sort()).toEqual(['r1-code-geometry.csv', 'r1-code-geometry.json', 'r1-code-geometry.svg', 'reproduction.md'])
    expect(readFileSync(join(out, 'reproduction.md'), 'utf8')).toContain('| [Relative gaps between E4M3 codes](#r1-code-geometry) | reproduced |')
  })
  it('keeps what a folder has, if asked to, at the same scale and seed alone', async () => {
    const out = join(folder, 'resumed'), file = join(out, 'r1-code-geometry.json')
    await blockscale('reproduce', 'r1-code-geometry', '--out', out)
    writeFileSync(file, readFileSync(file, 'utf8').replace('"verdict": "reproduced"', '"verdict": "not reproduced"'))
    expect(await blockscale('reproduce', 'r1-code-geometry', 'r2-clamping', '--out', out, '--resume')).toMatchObject({ code: 0, out: expect.stringMatching(/^r1-code-geometry: not reproduced\n[^]*^r2-clamping: reproduced/m) })
    expect(readFileSync(join(out, 'reproduction.md'), 'utf8')).toMatch(/\(#r1-code-geometry\) \| not reproduced[^]*\(#r2-clamping\) \| reproduced/)
    expect((await blockscale('reproduce', 'r1-code-geometry', '--out', out, '--resume', '--seed', '2')).out).toMatch(/^r1-code-geometry: reproduced/)
    writeFileSync(file, '{')
    expect(await blockscale('reproduce', 'r1-code-geometry', '--out', out, '--resume')).toMatchObject({ code: 2, err: expect.stringContaining('r1-code-geometry.json: not a result of reproduce') })
  })
  it('lists what there is', async () => {
    expect((await blockscale('reproduce', 'list')).out).toMatch(/^r1-code-geometry\n/)
    expect(await blockscale('reproduce', 'r99')).toMatchObject({ code: 2, err: expect.stringContaining('unknown reproduction "r99": use list, all or one of r1-code-geometry') })
  })
})
