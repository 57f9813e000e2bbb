// The safetensors container: 8-byte little-endian header length, JSON header, raw little-endian data.
import { UsageError } from '../errors.ts'

export interface RawTensor { readonly dtype: string, readonly shape: readonly number[], readonly bytes: Uint8Array }
export interface SafeTensors { readonly metadata: Readonly<Record<string, string>>, readonly tensors: ReadonlyMap<string, RawTensor> }

/** Parse a safetensors file. Tensors are views into `file`. Throws UsageError on a malformed one. */
export function parseSafetensors(file: Uint8Array): SafeTensors {
  if (file.length < 8) throw new UsageError('safetensors: file is shorter than its 8-byte header length')
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const headerBytes = Number(view.getBigUint64(0, true))
  if (headerBytes > file.length - 8) throw new UsageError(`safetensors: header length ${headerBytes} exceeds the file (${file.length} bytes)`)
  const { __metadata__ = {}, ...entries } = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + headerBytes)))
  const data = file.subarray(8 + headerBytes)
  const tensors = new Map<string, RawTensor>()
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries<any>(entries)) {
    tensors.set(name, { dtype, shape, bytes: data.subarray(begin, end) })
  }
  return { metadata: __metadata__, tensors }
}

/** The bytes of a tensor as a typed array (copied, so alignment does not matter). */
export function typed<T extends Float32Array | Float64Array | Uint32Array | Int32Array | Uint16Array | Uint8Array | BigInt64Array>(t: RawTensor, Type: new (b: ArrayBuffer) => T): T {
  return new Type(t.bytes.slice().buffer as ArrayBuffer)
}
