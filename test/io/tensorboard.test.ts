// Read back by a second reader, written here from the format's description and sharing no code with the writer: bitwise CRC, recursive protobuf decoding.
import { mkdtempSync, readFileSync, renameSync, rmSync, appendFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { metricsTable, TensorBoardExport } from '../../src/experiments/export.ts'
import { crc32c, valuesRecord, versionRecord } from '../../src/io/tensorboard.ts'
import { JsonLinesTail } from '../../src/io/tail.ts'
import type { MetricsRow } from '../../src/train/types.ts'

/** CRC-32C by polynomial division, most significant bit first, of the bit-reversed bytes: another algorithm than the writer's table. */
function crcByDivision(bytes: Uint8Array): number {
  let remainder = 0xFFFFFFFFn
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const top = remainder >> 31n & 1n ^ BigInt(byte >> bit & 1)
      remainder = remainder << 1n & 0xFFFFFFFFn
      if (top) remainder ^= 0x1EDC6F41n
    }
  }
  const reversed = [...remainder.toString(2).padStart(32, '0')].reverse().join('')
  return (parseInt(reversed, 2) ^ 0xFFFFFFFF) >>> 0
}

type Field = { field: number, value: number | Uint8Array }
function fields(message: Uint8Array): Field[] {
  const view = new DataView(message.buffer, message.byteOffset, message.length)
  const found: Field[] = []
  let at = 0
  const varint = () => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++]!
      value |= BigInt(byte & 0x7F) << shift
      if (byte < 0x80) return Number(value)
    }
  }
  while (at < message.length) {
    const key = varint(), field = key >> 3
    switch (key & 7) {
      case 0: found.push({ field, value: varint() }); break
      case 1: found.push({ field, value: view.getFloat64(at, true) }); at += 8; break
      case 2: { const n = varint(); found.push({ field, value: message.subarray(at, at + n) }); at += n; break }
      case 5: found.push({ field, value: view.getFloat32(at, true) }); at += 4; break
      default: throw new Error(`wire type ${key & 7}`)
    }
  }
  return found
}

function events(file: Uint8Array) {
  const view = new DataView(file.buffer, file.byteOffset, file.length)
  const unmask = (masked: number) => { const rotated = masked - 0xA282EAD8 >>> 0; return (rotated >>> 17 | rotated << 15) >>> 0 }
  const list = []
  for (let at = 0; at < file.length;) {
    const length = Number(view.getBigUint64(at, true))
    expect(unmask(view.getUint32(at + 8, true))).toBe(crcByDivision(file.subarray(at, at + 8)))
    const message = file.subarray(at + 12, at + 12 + length)
    expect(unmask(view.getUint32(at + 12 + length, true))).toBe(crcByDivision(message))
    at += 16 + length
    const get = (list: Field[], field: number) => list.find(f => f.field === field)?.value
    const event = fields(message), text = (v: unknown) => new TextDecoder().decode(v as Uint8Array)
    const summary = get(event, 5) as Uint8Array | undefined
    list.push({
      wall: get(event, 1), step: get(event, 2) ?? 0, version: get(event, 3) && text(get(event, 3)),
      values: summary && Object.fromEntries(fields(summary).map(f => { const v = fields(f.value as Uint8Array); return [text(get(v, 1)), get(v, 2) ?? fields(get(v, 5) as Uint8Array)] })),
    })
  }
  return list
}

it('CRC-32C has its published check value, and that of 32 zero bytes (RFC 3720, B.4)', () => {
  expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xE3069283)
  expect(crc32c(new Uint8Array(32))).toBe(0x8A9136AA)
})

it('a second reader finds the events', () => {
  const file = Buffer.concat([versionRecord(1.5), valuesRecord(2.5, 300, { 'train/loss': 0.1, é: NaN }), valuesRecord(3, 2 ** 40, { h: [0, 1, 1, 3, Infinity] })])
  const [version, scalar, histogram] = events(file)
  expect(version).toMatchObject({ wall: 1.5, version: 'brain.Event:2' })
  expect(scalar).toMatchObject({ wall: 2.5, step: 300, values: { 'train/loss': Math.fround(0.1), é: NaN } })
  expect(histogram!.step).toBe(2 ** 40)
  const h = histogram!.values!.h as Field[]
  expect(h.slice(0, 5).map(f => f.value)).toEqual([0, 3, 4, 5, 11])
  const doubles = (i: number) => { const b = h[i]!.value as Uint8Array; return [...new Float64Array(Uint8Array.from(b).buffer)] }
  expect(doubles(5)).toHaveLength(30)
  expect(doubles(6).filter(n => n > 0)).toEqual([1, 2, 1])
})

const rows: MetricsRow[] = [
  { kind: 'step', arm: 'baseline', step: 1, loss: 2, lr: 0.5, seconds: 0.25 },
  { kind: 'step', arm: 'studied', step: 1, loss: null, lr: 0.5, seconds: 0.25 },
  { kind: 'trajectory', step: 1, relativeError: 0.5, cosine: 0.75, zeta: 0.25, meanDifference: -1, upperBound: 3 },
  { kind: 'overflow', arm: 'studied', step: 2, tensors: { 'layers.0.ln.gamma': 1, 'layers.0.fc1.weight': 0.5, 'layers.0.hidden': 0.25 }, totals: { weights: 0.5, hidden: 0.25, outputs: 0 } },
  { kind: 'moments', arm: 'baseline', step: 2, tensors: { 'layers.1.ln.output': { mean: 0, variance: 1 }, 'layers.1.ln.gamma': { mean: 2, variance: 3 }, 'layers.1.hidden': { mean: null, variance: 4 } } },
  { kind: 'gamma', arm: 'studied', step: 2, layers: [[1, 2], [3, 4]] },
  { kind: 'event', step: 2, event: 'finished', detail: '' },
]

it('metrics become columns with the paper\'s names', () => {
  const table = metricsTable(rows)
  expect(table.rows).toEqual([
    { step: 1, 'train/loss_fp32': 2, lr_fp32: 0.5, 'train/loss_mx': NaN, lr: 0.5, 'eps/mean': -1, 'eps/norm_upper_bound': 3, 'eps/relative_error': 0.5, 'stab/cos': 0.75, 'stab/zeta_norm': 0.25, 'stab/rhs_2_over_sigma2': 2 / (0.25 + 1e-12) },
    { step: 2, 'clipW/ln0_gamma_clipped_frac': 1, 'clipW/layers.0.fc1.weight': 0.5, 'ClipAct/blk0_hidden_clipped_frac': 0.25, 'clipW/total_frac': 0.5, 'ClipAct/total_frac_hidden_all_layers': 0.25, 'ClipAct/total_frac_layer_all_layers': 0,
      'act/mean_layer1_input_after_ln_fp32': 0, 'act/var_layer1_input_after_ln_fp32': 1, 'act/fp32_ln1_gamma_mean': 2, 'act/fp32_ln1_gamma_var': 3, 'act/mean_hid1_fp32': NaN, 'act/var_hid1_fp32': 4 },
  ])
})

it('an export follows a growing file, and starts over when the run goes back to a checkpoint', () => {
  const folder = mkdtempSync(join(tmpdir(), 'export-'))
  try {
    const metrics = join(folder, 'metrics.jsonl')
    const line = (row: MetricsRow) => `${JSON.stringify(row)}\n`
    writeFileSync(metrics, line(rows[0]!) + line(rows[1]!).slice(0, 10))
    const tail = new JsonLinesTail(metrics)
    const out = new TensorBoardExport(folder, join(folder, 'logs'))
    expect([out.update(), tail.read().rows.length, tail.read().rows.length]).toEqual([1, 1, 0])
    appendFileSync(metrics, line(rows[1]!).slice(10) + rows.slice(2).map(line).join(''))
    expect([out.update(), tail.read().rows.length]).toEqual([6, 6])
    const tags = (): string[][] => events(readFileSync(out.file)).map(e => Object.keys(e.values ?? {}))
    expect(tags()).toHaveLength(1 + 6)
    expect(tags().at(-1)).toEqual(['gamma/ln0', 'gamma/ln1'])
    expect(events(readFileSync(out.file))[2]!.wall as number - (events(readFileSync(out.file))[0]!.wall as number)).toBeCloseTo(0.5, 5)
    writeFileSync(join(folder, 'new'), line(rows[0]!))
    renameSync(join(folder, 'new'), metrics)
    expect(tail.read()).toEqual({ rows: [rows[0]], restarted: true })
    out.update()
    expect(tags()).toEqual([[], ['train/loss_fp32', 'lr_fp32']])
    writeFileSync(join(folder, 'logs', 'events.out.tfevents.1.other'), '')
    expect(() => new TensorBoardExport(folder, join(folder, 'logs'))).toThrow('holds the events of another run')
  } finally {
    rmSync(folder, { recursive: true })
  }
})
