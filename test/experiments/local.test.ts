import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { parquetReadObjects } from 'hyparquet'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { attempts, claim, Claim } from '../../src/experiments/claim.ts'
import { collect, tableCsv, tableParquet } from '../../src/experiments/collect.ts'
import { divideCores, runLocally } from '../../src/experiments/executors/local.ts'
import { runOne, trainCommand } from '../../src/experiments/executors/run.ts'
import { arrayScript, missingPrograms, submitToSlurm } from '../../src/experiments/executors/slurm.ts'
import { manifest, SweepFolder, type Resolve } from '../../src/experiments/manifest.ts'
import { parseSweep } from '../../src/experiments/sweep.ts'
import { processLives, processStart } from '../../src/io/process.ts'
import { merge } from '../../src/train/config.ts'

const stub = resolve('test/experiments/fixtures/stub-run.mjs')
const command: ReturnType<typeof trainCommand> = ({ configFile, directory, threads, resume }) =>
  [process.execPath, stub, configFile, '--out', directory, '--threads', String(threads), ...resume ? ['--resume'] : []]
const plain: Resolve = (_, patches) => patches.reduce(merge, {} as unknown) as Record<string, unknown>

let folder: string
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'sweep-')) })
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const make = (text: string) => SweepFolder.create(join(folder, 's'), text, manifest(parseSweep(text, 's.yaml'), plain))
const starts = (sweep: SweepFolder, index: number) => readFileSync(join(sweep.runFolder(sweep.entry(index)), 'starts.log'), 'utf8').trim().split('\n').map(line => JSON.parse(line))
const states = (sweep: SweepFolder) => sweep.entries.map(e => sweep.state(e).state)

describe('local executor', () => {
  it('divides the cores and never starts more threads than there are', async () => {
    expect(divideCores(8, 3)).toEqual([3, 3, 2])
    expect(() => divideCores(2, 3)).toThrow('--jobs 3: this machine gives 2 cores, and each job needs one')
    const sweep = make('msPerStep: 20\nseeds: 6')
    await runLocally(sweep, sweep.entries, { command, jobs: 3, cores: 4 })
    const runs = sweep.entries.map(e => ({ ...starts(sweep, e.index)[0], end: Number(readFileSync(join(sweep.runFolder(e), 'ends.log'), 'utf8')) }))
    for (const { at } of runs) expect(runs.filter(r => r.at <= at && at < r.end).reduce((n, r) => n + r.threads, 0)).toBeLessThanOrEqual(4)
    expect(states(sweep)).toEqual(Array(6).fill('finished'))
  })

  it('goes on after a failed and a killed run, reports them, and completes them later', async () => {
    const sweep = make('entries: { good: {}, bad: { fail: once }, killed: { kill: once } }')
    const results = [...(await runLocally(sweep, sweep.entries, { command, jobs: 1 })).values()]
    expect(results.map(r => [r.result, r.detail])).toEqual([['finished', ''], ['failed', 'exit code 3: stub: told to fail'], ['failed', 'killed by SIGKILL']])
    expect(states(sweep)).toEqual(['finished', 'failed', 'failed'])
    expect(collect(sweep)).toMatchObject({ missing: 2, rows: [{ name: 'good' }] })
    await runLocally(sweep, sweep.entries, { command, jobs: 1 })
    expect(states(sweep)).toEqual(['finished', 'finished', 'finished'])
    expect(sweep.entries.map(e => starts(sweep, e.index).length)).toEqual([1, 2, 2])
    expect(starts(sweep, 1)[1].resume).toBe(true)
    expect(collect(sweep)).toMatchObject({ missing: 0, rows: [{ attempts: 1 }, { attempts: 2 }, { attempts: 2 }] })
  })

  it('stops with a checkpoint when asked, and goes on from it', async () => {
    const sweep = make('msPerStep: 50\nsteps: 20\nseeds: 2')
    const stop = new AbortController()
    const metrics = join(sweep.runFolder(sweep.entry(0)), 'metrics.jsonl')
    const look = setInterval(() => { if (existsSync(metrics) && readFileSync(metrics, 'utf8').split('\n').length > 3) stop.abort() }, 10)
    const results = await runLocally(sweep, sweep.entries, { command, jobs: 1, signal: stop.signal })
    clearInterval(look)
    expect([...results.values()].map(r => r.result)).toEqual(['interrupted'])
    expect(states(sweep)).toEqual(['interrupted', 'pending'])
    const reached = Number(readFileSync(join(sweep.runFolder(sweep.entry(0)), 'checkpoint'), 'utf8'))
    expect(reached).toBeGreaterThan(0)
    await runOne(sweep, sweep.entry(0), { command, threads: 1 })
    const steps = readFileSync(join(sweep.runFolder(sweep.entry(0)), 'metrics.jsonl'), 'utf8').trim().split('\n').map(l => JSON.parse(l)).filter(r => r.kind === 'step')
    expect(steps.map(r => r.step)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
  })

  it('says when the program cannot be started', async () => {
    const sweep = make('seeds: 1')
    expect(await runOne(sweep, sweep.entry(0), { command: () => ['no-such-program'], threads: 1 })).toMatchObject({ result: 'failed', detail: expect.stringContaining('could not start no-such-program') })
  })
})

describe('slurm executor', () => {
  it('names the programs that are missing', () => {
    expect(missingPrograms(['node', 'no-such-program', 'sh'], '/usr/bin:/bin:' + dirname(process.execPath))).toEqual(['no-such-program'])
    const path = process.env.PATH
    process.env.PATH = folder
    try { expect(() => submitToSlurm(make('seeds: 1'), [], { blockscale: [] })).toThrow('--executor slurm: sbatch, scontrol, squeue not found in PATH') } finally { process.env.PATH = path }
  })
  it('quotes what it puts into the batch script', () => {
    expect(arrayScript("/it's here", '/t', { blockscale: ['node', 'a b'], cpusPerTask: 3, time: '1:00' })).toMatch(/--cpus-per-task=3\n(.*\n)*#SBATCH --time=1:00\n(.*\n)*'node' 'a b' 'sweep' 'run' '\/it'\\''s here' --index/)
  })
})

describe('claims', () => {
  it('a run scheduled twice at once runs once', async () => {
    const sweep = make('msPerStep: 30\nseeds: 1')
    const results = await Promise.all([0, 1, 2].map(() => runOne(sweep, sweep.entry(0), { command, threads: 1 })))
    expect(results.map(r => r.result).sort()).toEqual(['busy', 'busy', 'finished'])
    expect(await runOne(sweep, sweep.entry(0), { command, threads: 1 })).toMatchObject({ result: 'already finished' })
    expect(starts(sweep, 0)).toHaveLength(1)
  })

  it('one of many processes gets each attempt', async () => {
    const script = `import { claim, Claim } from ${JSON.stringify(resolve('dist/experiments/claim.js'))}
      const c = claim(${JSON.stringify(join(folder, 'state'))}); console.log(c instanceof Claim ? 'got ' + c.attempt.number : 'busy'); process.stdin.resume()`
    const processes = Array.from({ length: 6 }, () => spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] }))
    const outputs = await Promise.all(processes.map(async p => String((await once(p.stdout!, 'data'))[0]).trim()))
    for (const p of processes) p.stdin!.end()
    await Promise.all(processes.map(p => once(p, 'exit')))
    expect(outputs.sort()).toEqual(['busy', 'busy', 'busy', 'busy', 'busy', 'got 0'])
    expect(claim(join(folder, 'state'))).toMatchObject({ attempt: { number: 1 } })
  })

  it('a dead process is succeeded; a child that outlives its parent keeps the claim', async () => {
    const state = join(folder, 'state')
    const first = claim(state) as Claim
    const survivor = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)'])
    first.setChild(survivor.pid!)
    // As if this process had been killed without a word: the attempt names one that does not exist.
    const record = { ...first.attempt, pid: 2 ** 22 + 1, pidStart: '1' }
    writeFileSync(join(state, 'attempt-0.json'), JSON.stringify(record))
    expect(claim(state)).toMatchObject({ number: 0 })
    survivor.kill('SIGKILL')
    await once(survivor, 'exit')
    const second = claim(state)
    expect(second).toBeInstanceOf(Claim)
    expect(first.holds()).toBe(false)
    expect(attempts(state).map(a => a.number)).toEqual([0, 1])
    ;(second as Claim).release('finished', '')
  })

  it.skipIf(!existsSync('/proc/self/stat'))(`a process that nobody waits for counts as dead${existsSync('/proc/self/stat') ? '' : ' (skipped: the system has no /proc)'}`, async () => {
    // A shell that never waits for its child: it is dead and still has a process id.
    const shell = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] })
    const pid = Number(String((await once(shell.stdout!, 'data'))[0]))
    for (let i = 0; i < 500 && processStart(pid) !== ''; i++) await new Promise(wake => setTimeout(wake, 10))
    process.kill(pid, 0) // throws if there were none
    expect(processStart(pid)).toBe('')
    expect(processLives(pid, '')).toBe(false)
    expect(processLives(shell.pid!, processStart(shell.pid!)!)).toBe(true)
    expect(processLives(shell.pid!, '1')).toBe(false)
    shell.kill('SIGKILL')
  })

  it('another machine counts as dead after a minute of silence', () => {
    const state = join(folder, 'state')
    const first = claim(state) as Claim
    first.release('failed', '')
    writeFileSync(join(state, 'attempt-0.json'), JSON.stringify({ ...first.attempt, ended: undefined, host: 'elsewhere' }))
    expect(claim(state)).toMatchObject({ host: 'elsewhere' })
    const past = new Date(Date.now() - 61_000)
    utimesSync(join(state, 'attempt-0.json'), past, past)
    expect(claim(state)).toBeInstanceOf(Claim)
    expect(readdirSync(state).filter(f => f.startsWith('.'))).toEqual([])
  })
})

describe('sweep folder', () => {
  it('opens again, refuses another sweep, another layout, and what is no sweep', () => {
    const sweep = make('seeds: 2')
    expect(SweepFolder.open(sweep.folder).entries).toEqual(sweep.entries)
    expect(make('seeds: 2').entries).toHaveLength(2)
    expect(() => make('seeds: 3')).toThrow('holds another sweep (2 runs, this one has 3)')
    expect(() => sweep.entry(2)).toThrow('index 2: the sweep has runs 0 to 1')
    writeFileSync(join(sweep.folder, 'sweep.json'), '{"layout":99}')
    expect(() => SweepFolder.open(sweep.folder)).toThrow('made by another version of blockscale: layout 99')
    writeFileSync(join(sweep.folder, 'sweep.json'), '{"layout"')
    expect(() => SweepFolder.open(sweep.folder)).toThrow(/sweep\.json is damaged: /)
    expect(() => SweepFolder.open(folder)).toThrow('is not a sweep')
  })

  it('collects finished runs as CSV and Parquet with the same content', async () => {
    const sweep = make('note: "a, b"\nlist: [1, 2]\nentries: { a: { flag: true }, b: { width: 3 } }')
    await runLocally(sweep, sweep.entries, { command, jobs: 2, cores: 2 })
    const table = collect(sweep)
    expect(table.rows[0]).toMatchObject({ index: 0, name: 'a', note: 'a, b', list: '[1,2]', flag: true, 'studied.train_loss': 0.25, 'studied.min_val_loss': 0.25, 'studied.diverged': false })
    const bytes = tableParquet(table)
    const back = await parquetReadObjects({ file: bytes.buffer as ArrayBuffer })
    expect(back.map(r => Object.fromEntries(Object.entries(r).map(([k, v]) => [k, v ?? null])))).toEqual(table.rows.map(r => Object.fromEntries(table.columns.map(c => [c, r[c] ?? null]))))
    expect(tableCsv(table).split('\n')[1]).toContain('"a, b","[1,2]",true,')
    expect(existsSync(join(sweep.runFolder(sweep.entry(0)), 'metrics.jsonl'))).toBe(true)
  })
})
