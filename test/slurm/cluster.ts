// A Slurm cluster of one node on this machine, for tests: munged, slurmctld and slurmd in a temporary folder with ports of their own.
// No init system, no cgroups, no accounting database. Needs root, as slurmd does to start jobs.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism, freemem, hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { missingPrograms } from '../../src/experiments/executors/slurm.ts'

/** Why no cluster can be started here, or '' if one can. */
export function obstacle(): string {
  const missing = missingPrograms(['munged', 'slurmctld', 'slurmd', 'sbatch', 'squeue', 'scontrol', 'scancel'], `${process.env.PATH}:/usr/sbin`)
  if (missing.length) return `${missing.join(', ')} not installed (Debian: slurmctld slurmd slurm-client munge)`
  return process.getuid?.() === 0 ? '' : 'slurmd must be started by root'
}

export class Cluster {
  readonly folder: string
  readonly environment: NodeJS.ProcessEnv
  readonly #daemons: ChildProcess[]

  private constructor(folder: string, environment: NodeJS.ProcessEnv, daemons: ChildProcess[]) {
    this.folder = folder
    this.environment = environment
    this.#daemons = daemons
  }

  static async start(): Promise<Cluster> {
    const folder = mkdtempSync(join(tmpdir(), 'slurm-'))
    for (const name of ['state', 'spool', 'munge']) mkdirSync(join(folder, name), { mode: 0o755 })
    const socket = join(folder, 'munge', 'socket'), config = join(folder, 'slurm.conf')
    writeFileSync(join(folder, 'munge', 'key'), randomBytes(128), { mode: 0o600 })
    const [controller, node] = [await freePort(), await freePort()]
    const name = hostname().split('.')[0]!
    writeFileSync(config, [
      'ClusterName=test', `SlurmctldHost=${name}(127.0.0.1)`, `SlurmctldPort=${controller}`, `SlurmdPort=${node}`, 'SlurmUser=root',
      `AuthInfo=socket=${socket}`, 'AuthType=auth/munge', `StateSaveLocation=${folder}/state`, `SlurmdSpoolDir=${folder}/spool`,
      `SlurmctldPidFile=${folder}/slurmctld.pid`, `SlurmdPidFile=${folder}/slurmd.pid`, `SlurmctldLogFile=${folder}/slurmctld.log`, `SlurmdLogFile=${folder}/slurmd.log`,
      'ProctrackType=proctrack/linuxproc', 'TaskPlugin=task/none', 'SelectType=select/cons_tres', 'SelectTypeParameters=CR_Core_Memory', 'DefMemPerCPU=200',
      'SchedulerParameters=sched_interval=2,batch_sched_delay=0', 'MinJobAge=300', 'KillWait=5', 'ReturnToService=2', 'MpiDefault=none', 'MaxArraySize=5',
      'AccountingStorageType=accounting_storage/none', 'JobCompType=jobcomp/none', 'JobAcctGatherType=jobacct_gather/none',
      `NodeName=${name} NodeAddr=127.0.0.1 CPUs=${availableParallelism()} RealMemory=${Math.floor(freemem() / 2 ** 20 / 2)} State=UNKNOWN`,
      `PartitionName=all Nodes=${name} Default=YES MaxTime=INFINITE State=UP`, '',
    ].join('\n'))
    const environment = { ...process.env, SLURM_CONF: config, PATH: `${process.env.PATH}:/usr/sbin` }
    const daemons: ChildProcess[] = []
    const start = (program: string, ...args: string[]) => daemons.push(spawn(program, args, { env: environment, stdio: 'ignore' }))
    const cluster = new Cluster(folder, environment, daemons)
    try {
      const munge = (file: string) => join(folder, 'munge', file)
      start('munged', '--foreground', '--force', `--socket=${socket}`, `--key-file=${munge('key')}`, `--pid-file=${munge('pid')}`, `--log-file=${munge('log')}`, `--seed-file=${munge('seed')}`)
      await until('munged', () => existsSync(socket))
      start('slurmctld', '-D', '-f', config)
      start('slurmd', '-D', '-f', config)
      await until('node', () => cluster.slurm('sinfo', '--noheader', '--format=%T') === 'idle')
    } catch (error) {
      const logs = ['slurmctld.log', 'slurmd.log', 'munge/log'].map(f => join(folder, f)).filter(existsSync).map(f => `${f}:\n${readFileSync(f, 'utf8').slice(-2000)}`)
      await cluster.stop()
      throw new Error(`${(error as Error).message}\n${logs.join('\n')}`)
    }
    return cluster
  }

  /** Output of a Slurm client program. */
  slurm(program: string, ...args: string[]): string {
    return execFileSync(program, args, { env: this.environment, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  }

  /** State of a job or array task, '' once Slurm has forgotten it. */
  jobState(job: string): string {
    try { return this.slurm('squeue', '--noheader', '--states=all', `--jobs=${job}`, '--format=%T') } catch { return '' }
  }

  /** Stop the daemons that this object started, munged last: slurmctld needs it to end cleanly. */
  async stop(): Promise<void> {
    for (const daemon of this.#daemons.reverse()) {
      if (daemon.exitCode !== null || daemon.signalCode !== null || daemon.pid === undefined) continue
      const exit = once(daemon, 'exit')
      daemon.kill('SIGTERM')
      const kill = setTimeout(() => daemon.kill('SIGKILL'), 10_000)
      await exit
      clearTimeout(kill)
    }
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Wait until `holds` returns true without throwing. `detail`: what to say if it never does. */
export async function until(what: string, holds: () => boolean, seconds = 30, detail = () => ''): Promise<void> {
  const end = Date.now() + seconds * 1000
  for (;;) {
    try { if (holds()) return } catch { /* not yet */ }
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s\n${detail()}`)
    await new Promise(wake => setTimeout(wake, 250))
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
