// Tensors in files. `weights.safetensors:layers.0.fc1.weight` addresses one tensor of a safetensors file, `x.npy` the array of an .npy file; a safetensors
// file that holds exactly one tensor needs no name. Only the header and the addressed bytes are read.
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs'
import { UsageError } from '../errors.ts'
import { writeFileAtomic } from './atomic.ts'
import { formatNpy, parseNpy } from './npy.ts'
import { headerLength, parseHeader, parseSafetensors, safetensorsParts, type RawTensor, type SafeTensors, type SafeTensorsHeader } from './safetensors.ts'

export interface Address { readonly file: string, readonly kind: 'safetensors' | 'npy', readonly name?: string }

/** Split `file.safetensors:name` or `file.npy`. Throws UsageError if it is neither. */
export function parseAddress(address: string): Address {
  const named = /^(.*?\.safetensors)(?::(.+))?$/s.exec(address)
  if (named) return { file: named[1]!, kind: 'safetensors', ...named[2] === undefined ? {} : { name: named[2] } }
  if (address.endsWith('.npy')) return { file: address, kind: 'npy' }
  throw new UsageError(`tensor ${JSON.stringify(address)}: must be FILE.npy, FILE.safetensors:NAME, or FILE.safetensors with a single tensor`)
}

/** Run `body` on an open file. Throws UsageError that names the file. */
function withFile<T>(file: string, body: (fd: number, bytes: number) => T): T {
  let fd: number
  try { fd = openSync(file, 'r') } catch (error) { throw new UsageError(`cannot read ${file}: ${(error as Error).message}`) }
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) throw new UsageError('not a regular file')
    return body(fd, stat.size)
  } catch (error) {
    throw error instanceof UsageError ? new UsageError(`${file}: ${error.message}`) : error
  } finally { closeSync(fd) }
}

function readRange(fd: number, begin: number, end: number): Uint8Array {
  const bytes = new Uint8Array(end - begin)
  for (let at = 0; at < bytes.length;) {
    const got = readSync(fd, bytes, at, Math.min(bytes.length - at, 2 ** 30), begin + at)
    if (got === 0) throw new UsageError(`file ended at byte ${begin + at}, ${end} expected`)
    at += got
  }
  return bytes
}

/** Names, dtypes, shapes and metadata of a safetensors file, without its data; `dataStart` is the byte where the data begin. Throws UsageError. */
export function readSafetensorsHeader(file: string): SafeTensorsHeader & { dataStart: number } {
  return withFile(file, (fd, bytes) => {
    const dataStart = 8 + headerLength(readRange(fd, 0, Math.min(8, bytes)), bytes)
    return { ...parseHeader(readRange(fd, 8, dataStart), bytes - dataStart), dataStart }
  })
}

/** A whole safetensors file. Throws UsageError. */
export const readSafetensors = (file: string): SafeTensors => withFile(file, (fd, bytes) => parseSafetensors(readRange(fd, 0, bytes)))

/** The tensor at `address`. Throws UsageError that lists the names when the one asked for is not there. */
export function readTensor(address: string): RawTensor {
  const { file, kind, name } = parseAddress(address)
  if (kind === 'npy') return withFile(file, (fd, bytes) => parseNpy(readRange(fd, 0, bytes)))
  const { extents, dataStart } = readSafetensorsHeader(file)
  const names = [...extents.keys()]
  const listed = `${names.slice(0, 20).join(', ')}${names.length > 20 ? `, and ${names.length - 20} more` : ''}`
  const found = name ?? (names.length === 1 ? names[0]! : undefined)
  if (found === undefined) throw new UsageError(`${file} holds ${names.length} tensors: address one as ${file}:NAME, with NAME one of ${listed}`)
  const extent = extents.get(found)
  if (!extent) throw new UsageError(`${file} holds no tensor ${JSON.stringify(found)}: use one of ${listed}`)
  const { dtype, shape, begin, end } = extent
  return withFile(file, fd => ({ dtype, shape, bytes: readRange(fd, dataStart + begin, dataStart + end) }))
}

/** Write one tensor to `address` (a name is required for safetensors; `tensor` if none is given), whole or not at all. Throws UsageError, RunError. */
export function writeTensor(address: string, tensor: RawTensor): void {
  const { file, kind, name = 'tensor' } = parseAddress(address)
  writeFileAtomic(file, kind === 'npy' ? formatNpy(tensor) : safetensorsParts([[name, tensor]]))
}

/** Write a safetensors file, whole or not at all. Throws RunError. */
export function writeSafetensors(file: string, tensors: Iterable<readonly [string, RawTensor]>, metadata?: Readonly<Record<string, string>>): void {
  writeFileAtomic(file, safetensorsParts(tensors, metadata))
}

/** Text of a file. Throws UsageError if it cannot be read. */
export function readText(file: string): string {
  try { return readFileSync(file, 'utf8') } catch (error) { throw new UsageError(`cannot read ${file}: ${(error as Error).message}`) }
}
