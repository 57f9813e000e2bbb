// The .npy format (NumPy's NEP 1, versions 1 to 3): magic, version, header length, a Python dict literal, raw data. Bytes in, bytes out.
//
// The header is matched against the one shape that numpy writes, never evaluated. Only little-endian, non-object types are read. Column-major arrays are
// reordered to row-major. ml_dtypes arrays (bfloat16, float8) arrive as opaque `V2` / `V1` and are given as U16 / U8 codes.
import { UsageError } from '../errors.ts'
import { concat, dtypeBits, tensorBytes, type Dtype, type RawTensor } from './safetensors.ts'

const fromDescr: Record<string, Dtype> = {
  f8: 'F64', f4: 'F32', f2: 'F16', i8: 'I64', i4: 'I32', i2: 'I16', i1: 'I8', u8: 'U64', u4: 'U32', u2: 'U16', u1: 'U8', b1: 'BOOL', V2: 'U16', V1: 'U8',
}
/** 8- and 16-bit formats that numpy does not know travel as their codes. FP6 and FP4 do not fill bytes and are refused. */
const toDescr: Partial<Record<Dtype, string>> = {
  F64: '<f8', F32: '<f4', F16: '<f2', BF16: '<u2', I64: '<i8', I32: '<i4', I16: '<i2', I8: '|i1', U64: '<u8', U32: '<u4', U16: '<u2', U8: '|u1', BOOL: '|b1',
  F8_E4M3: '|u1', F8_E5M2: '|u1', F8_E8M0: '|u1',
}
const MAX_HEADER = 65536

const refuse = (message: string): never => { throw new UsageError(`npy: ${message}`) }

/** Parse an .npy file. The bytes are a view into `file` unless the array was column-major. Throws UsageError on a malformed or unsupported one. */
export function parseNpy(file: Uint8Array): RawTensor {
  if (file.length < 10 || String.fromCharCode(...file.subarray(1, 6)) !== 'NUMPY' || file[0] !== 0x93) refuse('the file does not start with \\x93NUMPY')
  const version = file[6]!
  if (version < 1 || version > 3) refuse(`version ${version} is not 1, 2 or 3`)
  const start = version === 1 ? 10 : 12
  if (file.length < start) refuse('file ends within its header')
  const view = new DataView(file.buffer, file.byteOffset)
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true)
  if (length > MAX_HEADER || length > file.length - start) refuse(`header length ${length} exceeds the file (${file.length} bytes) or the limit of ${MAX_HEADER}`)
  const text = new TextDecoder('latin1').decode(file.subarray(start, start + length))

  // Keys in numpy's own (alphabetical) order; a structured dtype has a list as descr and does not match.
  const match = /^\{\s*'descr'\s*:\s*'([^']*)'\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,\s*'shape'\s*:\s*\(([\d,\sL]*)\)\s*,?\s*\}\s*$/.exec(text)
  if (!match) return refuse(`header is not the dict of descr, fortran_order and shape that numpy writes: ${JSON.stringify(text.slice(0, 80))}`)
  const [, descr, order, sizes] = match as unknown as [string, string, string, string]
  const dtype = Object.hasOwn(fromDescr, descr.slice(1)) ? fromDescr[descr.slice(1)]! : undefined
  if (!dtype || !'<|'.includes(descr[0]!)) return refuse(`type ${JSON.stringify(descr.slice(0, 40))} is not supported: use little-endian ${Object.keys(fromDescr).join(', ')}`)
  const shape = sizes.split(',').map(s => s.trim()).filter(s => s !== '').map(s => Number(s.replace(/L$/, '')))
  if (!shape.every(Number.isSafeInteger)) refuse(`shape (${sizes.slice(0, 60)}) must hold whole numbers`)
  const bytes = file.subarray(start + length)
  const needed = tensorBytes(dtype, shape)
  if (needed !== bytes.length) refuse(`${descr} of shape (${sizes.trim().slice(0, 60)}) takes ${needed} bytes, the file holds ${bytes.length}`)
  return { dtype, shape, bytes: order === 'True' && shape.length > 1 ? toRowMajor(bytes, shape, dtypeBits[dtype] / 8) : bytes }
}

/** Column-major elements of `width` bytes as row-major ones. */
function toRowMajor(bytes: Uint8Array, shape: readonly number[], width: number): Uint8Array {
  const out = new Uint8Array(bytes.length)
  const index = shape.map(() => 0)
  const stride = shape.map((_, axis) => shape.slice(0, axis).reduce((n, d) => n * d, width))
  for (let to = 0; to < out.length; to += width) {
    let from = 0
    for (let axis = 0; axis < shape.length; axis++) from += index[axis]! * stride[axis]!
    for (let b = 0; b < width; b++) out[to + b] = bytes[from + b]!
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis]! === shape[axis]; axis--) index[axis] = 0
  }
  return out
}

/** A tensor as an .npy file, version 1. BF16 and FP8 are written as unsigned codes. Throws UsageError for packed dtypes. */
export function formatNpy({ dtype, shape, bytes }: RawTensor): Uint8Array {
  const descr = toDescr[dtype]
  if (!descr) refuse(`${dtype} is packed below a byte and cannot be stored; use safetensors`)
  if (tensorBytes(dtype, shape) !== bytes.length) refuse(`${dtype} of shape [${shape}] does not take ${bytes.length} bytes`)
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`
  const length = Math.ceil((10 + dict.length + 1) / 64) * 64 - 10 // the data start at a multiple of 64
  const head = new Uint8Array(10 + length).fill(0x20)
  head.set([0x93, ...new TextEncoder().encode('NUMPY'), 1, 0, length & 255, length >> 8])
  head.set(new TextEncoder().encode(dict), 10)
  head[head.length - 1] = 0x0a
  return concat([head, bytes])
}
