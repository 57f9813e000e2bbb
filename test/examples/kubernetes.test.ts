// The Kubernetes example, as far as one gets without a cluster: its YAML, and its pods' commands run here with what Kubernetes would fill in.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { expect, it } from 'vitest'
import { manifest, SweepFolder } from '../../src/experiments/manifest.ts'
import { parseSweep } from '../../src/experiments/sweep.ts'

const folder = mkdtempSync(join(tmpdir(), 'kubernetes-'))

const read = (file: string): any[] => parseAllDocuments(readFileSync(resolve('examples/kubernetes', file), 'utf8')).map(d => { expect((d as { errors: unknown[] }).errors).toEqual([]); return d.toJS() })
const [map, claim, job] = read('sweep.yaml'), [collect] = read('collect.yaml')
const pod = job.spec.template.spec, [container] = pod.containers

it('is an indexed Job with one pod per run of the sweep in its ConfigMap', () => {
  expect([map.kind, claim.kind, job.kind, job.apiVersion, job.spec.completionMode, pod.restartPolicy]).toEqual(['ConfigMap', 'PersistentVolumeClaim', 'Job', 'batch/v1', 'Indexed', 'Never'])
  const [[file, text]] = Object.entries(map.data) as [[string, string]]
  expect(container.args[2]).toBe(`${container.volumeMounts[0].mountPath}/${file}`)
  expect(job.spec.completions).toBe(manifest(parseSweep(text, file)).length)
  expect(job.spec.parallelism).toBeLessThanOrEqual(job.spec.completions)
  expect(pod.volumes.map((v: any) => v.configMap?.name ?? v.persistentVolumeClaim.claimName)).toEqual([map.metadata.name, claim.metadata.name])
  expect(pod.volumes.map((v: any) => v.name)).toEqual(container.volumeMounts.map((v: any) => v.name))
  expect(collect.spec.template.spec.volumes[0].persistentVolumeClaim.claimName).toBe(claim.metadata.name)
  // Every variable in the arguments is defined.
  expect(container.args.join(' ').match(/\$\(\w+\)/g)).toEqual(container.env.map((e: any) => `$(${e.name})`))
})

it('its commands do a run and collect it', () => {
  for (const [name, text] of Object.entries(map.data)) writeFileSync(join(folder, name), text as string)
  const blockscale = (args: string[], values: Record<string, string>) => spawnSync(process.execPath, [resolve('dist/cli/main.js'), ...args.map(a => a.replace(/\$\((\w+)\)/g, (_, name) => values[name]!).replace(/^\/(sweep|runs)/, folder))], { encoding: 'utf8' })
  const run = blockscale(container.args, { RUN: '5', CORES: container.resources.limits.cpu })
  expect(run.status, run.stderr).toBe(0)
  const sweep = SweepFolder.open(join(folder, 'learning-rates'))
  expect(sweep.entries.map(e => sweep.state(e).state)).toEqual([...Array(5).fill('pending'), 'finished', 'pending', 'pending'])
  expect(blockscale(collect.spec.template.spec.containers[0].args, {})).toMatchObject({ status: 0 })
  expect(existsSync(join(folder, 'learning-rates/runs.parquet'))).toBe(true)
})
