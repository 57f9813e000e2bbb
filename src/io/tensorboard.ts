// TensorBoard event files: scalars and histograms that `tensorboard --logdir` shows. Write only.
//
// File: TFRecord framing, one record per event: length (u64), masked CRC of those 8 bytes (u32), the event, masked CRC of the event (u32), little-endian.
// masked(c) = rotate_right(c, 15) + 0xa282ead8, c the CRC-32C (Castagnoli) of the bytes (tensorflow/core/lib/hash/crc32c.h).
// An event is a protobuf message (tensorflow/core/util/event.proto, summary.proto), of which a writer needs:
//   Event          1 wall_time double, 2 step int64, 3 file_version string, 5 summary Summary
//   Summary        1 value repeated Value       Value: 1 tag string, 2 simple_value float, 5 histo HistogramProto
//   HistogramProto 1 min, 2 max, 3 num, 4 sum, 5 sum_squares (double), 6 bucket_limit, 7 bucket (packed double)

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? n >>> 1 ^ 0x82F63B78 : n >>> 1
  return n >>> 0
})

/** CRC-32C of `bytes`. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xFFFFFFFF
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xFF]! ^ crc >>> 8
  return (crc ^ 0xFFFFFFFF) >>> 0
}

const masked = (crc: number) => ((crc >>> 15 | crc << 17) + 0xA282EAD8) >>> 0

/** One framed record. */
function record(event: Uint8Array): Uint8Array {
  const framed = new Uint8Array(16 + event.length)
  const view = new DataView(framed.buffer)
  view.setBigUint64(0, BigInt(event.length), true)
  view.setUint32(8, masked(crc32c(framed.subarray(0, 8))), true)
  framed.set(event, 12)
  view.setUint32(12 + event.length, masked(crc32c(event)), true)
  return framed
}

/** Protobuf fields, each its tag and value. Wire types: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes. */
const join = (...parts: (Uint8Array | readonly number[])[]): Uint8Array => {
  const bytes = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const part of parts) { bytes.set(part, at); at += part.length }
  return bytes
}
function varint(value: number): number[] {
  const bytes: number[] = []
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push(value % 0x80 | 0x80)
  return [...bytes, value]
}
const tag = (field: number, wire: number) => varint(field << 3 | wire)
const integer = (field: number, value: number) => join(tag(field, 0), varint(value))
const double = (field: number, value: number) => join(tag(field, 1), new Uint8Array(Float64Array.of(value).buffer))
const float = (field: number, value: number) => join(tag(field, 5), new Uint8Array(Float32Array.of(value).buffer))
const bytes = (field: number, value: Uint8Array) => join(tag(field, 2), varint(value.length), value)
const text = (field: number, value: string) => bytes(field, new TextEncoder().encode(value))
const doubles = (field: number, values: readonly number[]) => bytes(field, new Uint8Array(Float64Array.from(values).buffer))

/** The record that starts every event file. `seconds`: wall time since 1970. */
export const versionRecord = (seconds: number): Uint8Array => record(join(double(1, seconds), text(3, 'brain.Event:2')))

/** One event with a value per tag: a number is a scalar (f32 in the file), a list of numbers a histogram of 30 equal bins. Not finite: left out of a histogram. */
export function valuesRecord(seconds: number, step: number, values: Readonly<Record<string, number | readonly number[]>>): Uint8Array {
  const summary = Object.entries(values).map(([name, value]) => bytes(1, join(text(1, name), typeof value === 'number' ? float(2, value) : bytes(5, histogram(value)))))
  return record(join(double(1, seconds), integer(2, step), bytes(5, join(...summary))))
}

const BINS = 30

function histogram(all: readonly number[]): Uint8Array {
  const values = all.filter(Number.isFinite)
  const low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity)
  const width = high > low ? (high - low) / BINS : 1
  const counts: number[] = Array(BINS).fill(0)
  for (const v of values) counts[Math.min(BINS - 1, Math.floor((v - low) / width))]! += 1
  const sum = values.reduce((a, b) => a + b, 0), squares = values.reduce((a, b) => a + b * b, 0)
  if (!values.length) return join(double(3, 0))
  return join(double(1, low), double(2, high), double(3, values.length), double(4, sum), double(5, squares), doubles(6, counts.map((_, i) => low + width * (i + 1))), doubles(7, counts))
}

/** Name that TensorBoard recognises as an event file. */
export const eventFileName = (seconds: number, host: string): string => `events.out.tfevents.${Math.floor(seconds).toString().padStart(10, '0')}.${host}`
