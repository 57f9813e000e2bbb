// Opt-in (npm run test:slurm): a real Slurm on this machine runs a sweep whose runs fail, are killed and run into their time limit.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseCsv, numberColumn, textColumn } from '../../src/io/csv.ts'
import { SweepFolder } from '../../src/experiments/manifest.ts'
import { Cluster, obstacle, until } from './cluster.ts'

const why = obstacle()
const main = resolve('dist/cli/main.js'), stub = resolve('test/experiments/fixtures/stub-run.mjs')

describe.skipIf(why !== '')(`Slurm${why && ` (skipped: ${why})`}`, () => {
  let cluster: Cluster, folder: string
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sweep-'))
    cluster = await Cluster.start()
  }, 60_000)
  afterAll(async () => {
    await cluster?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const blockscale = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { env: cluster.environment, encoding: 'utf8' })
    return { status, stdout, stderr }
  }
  const submit = (action: string, source: string, ...args: string[]) => {
    const { status, stdout, stderr } = blockscale('sweep', action, source, '--executor', 'slurm', '--command', `${process.execPath} ${stub}`, '--jobs', '2', '--memory', '200M', ...args)
    expect(stderr).toBe('')
    expect(status).toBe(0)
    const [, arrays, collect] = /submitted as job ([\d, ]+); job (\d+)/.exec(stdout)!
    return { arrays: arrays!.split(', '), collect: collect! }
  }
  const starts = (sweep: SweepFolder, index: number) => readFileSync(join(sweep.runFolder(sweep.entry(index)), 'starts.log'), 'utf8').trim().split('\n').map(l => JSON.parse(l))
  const states = (sweep: SweepFolder) => sweep.entries.map(e => sweep.state(e).state)

  it('runs an array with a failing and a killed task, resumes what is missing, merges', async () => {
    // Six runs, and Slurm is told to take at most four tasks per array, so that two arrays are chained.
    const file = join(folder, 'mixed.yaml'), out = join(folder, 'mixed')
    // The keys are the stub's, so the sweep is given in the form that is not checked against our schema.
    writeFileSync(file, 'steps: 6\nmsPerStep: 100\nsweep:\n- name: a\n- { name: fails, fail: once }\n- { name: b, seed: 1 }\n- { name: killed, kill: once }\n- { name: c, seed: 2 }\n- { name: d, seed: 3 }\n')
    const first = submit('run', file, '--out', out)
    expect(first.arrays).toHaveLength(2)
    const sweep = SweepFolder.open(out)
    await until('first pass', () => states(sweep).every(s => s === 'finished' || s === 'failed'), 120)
    expect(states(sweep)).toEqual(['finished', 'failed', 'finished', 'failed', 'finished', 'finished'])
    const spans = sweep.entries.filter(e => sweep.isFinished(e)).map(e => [starts(sweep, e.index)[0].at, Number(readFileSync(join(sweep.runFolder(e), 'ends.log'), 'utf8'))] as const)
    for (const [at] of spans) expect(spans.filter(([begin, end]) => begin <= at && at < end).length).toBeLessThanOrEqual(2)
    await until('the collecting job is removed, its dependency cannot be met', () => ['CANCELLED', ''].includes(cluster.jobState(first.collect)), 60)

    const second = submit('resume', out)
    expect(second.arrays).toHaveLength(1)
    await until('collected', () => cluster.jobState(second.collect) === 'COMPLETED', 120)
    expect(states(sweep)).toEqual(Array(6).fill('finished'))
    const table = parseCsv(readFileSync(join(out, 'runs.csv'), 'utf8'))
    expect(textColumn(table, 'name')).toHaveLength(6)
    expect(numberColumn(table, 'attempts')).toEqual([1, 2, 1, 2, 1, 1])
    expect(numberColumn(table, 'studied.steps')).toEqual(Array(6).fill(6))
  }, 300_000)

  it('gives a run as many threads as Slurm gave it cores', async () => {
    const file = join(folder, 'cores.yaml'), out = join(folder, 'cores')
    writeFileSync(file, 'sweep:\n- { steps: 1 }\n')
    const { collect } = submit('run', file, '--out', out, '--cpus', '2')
    await until('collected', () => cluster.jobState(collect) === 'COMPLETED', 60)
    expect(starts(SweepFolder.open(out), 0)).toMatchObject([{ threads: 2, cpus: '2' }])
  }, 90_000)

  it('a task killed with the whole job, and one that is requeued, both go on from where they were', async () => {
    const file = join(folder, 'long.yaml'), out = join(folder, 'long')
    writeFileSync(file, 'steps: 100\nmsPerStep: 200\nsweep:\n- { seed: 0 }\n- { seed: 1 }\n')
    const { arrays: [job] } = submit('run', file, '--out', out)
    const sweep = SweepFolder.open(out)
    const logs = () => [`states ${states(sweep)}, job ${cluster.jobState(`${job}_1`)}`, ...readdirSync(join(out, 'slurm')).filter(f => f.endsWith('.log')).map(f => `${f}:\n${readFileSync(join(out, 'slurm', f), 'utf8')}`)].join('\n')
    await until('both run', () => states(sweep).every(s => s === 'running') && sweep.entries.every(e => starts(sweep, e.index).length === 1), 60)
    await new Promise(wake => setTimeout(wake, 2000))
    cluster.slurm('scancel', '--signal=KILL', '--full', `${job}_0`) // the node's way of killing: no warning to anyone
    cluster.slurm('scancel', '--signal=TERM', '--batch', `${job}_1`) // the time limit's way: SIGTERM to the batch script
    await until('the second is back in the queue', () => sweep.state(sweep.entry(1)).state === 'interrupted' && cluster.jobState(`${job}_1`) === 'PENDING', 60, logs)
    expect(Number(readFileSync(join(sweep.runFolder(sweep.entry(1)), 'checkpoint'), 'utf8'))).toBeGreaterThan(0)
    await until('the first is lost', () => {
      if (sweep.state(sweep.entry(0)).state === 'lost') return true
      cluster.slurm('scancel', '--signal=KILL', '--full', `${job}_0`) // again, should Slurm not have delivered it
      return false
    }, 30, logs)
    // A requeued job waits about two minutes before it may start; its run is picked up here and now instead, and the job then finds it finished.
    for (const index of ['0', '1']) expect(blockscale('sweep', 'run', out, '--index', index, '--command', `${process.execPath} ${stub}`).status).toBe(0)
    expect(states(sweep)).toEqual(['finished', 'finished'])
    expect(starts(sweep, 1)).toMatchObject([{ resume: false }, { resume: true }])
    cluster.slurm('scancel', job!)
  }, 180_000)

  it('says what Slurm refuses', () => {
    const file = join(folder, 'refused.yaml')
    writeFileSync(file, 'sweep:\n- { seed: 0 }\n')
    expect(blockscale('sweep', 'run', file, '--out', join(folder, 'refused'), '--executor', 'slurm', '--partition', 'nowhere')).toMatchObject({ status: 1, stderr: expect.stringMatching(/sbatch: .*partition/i) })
  })
})
