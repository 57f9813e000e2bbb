// The Wasm modules that this clone has built are the ones that the README lists: the same source gives the same bytes. `npm run docs` lists them anew. (That
// `blockscale info` prints them is the README's own test.)
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const names = ['kernels', 'kernels.shared', 'relaxed', 'relaxed.shared']
const built = names.map(name => `${name}.wasm ${createHash('sha256').update(readFileSync(`build/${name}.wasm`)).digest('hex')}`)

test('README.md lists the modules as built', () => {
  const lines = readFileSync('README.md', 'utf8').matchAll(/^([\w.]+\.wasm) +([0-9a-f]{64})$/gm)
  expect([...lines].map(([, name, hash]) => `${name} ${hash}`)).toEqual(built)
})

test('they differ by their memory alone: the same code for one thread and for several', () => {
  for (const name of ['kernels', 'relaxed']) {
    const [one, many] = [name, `${name}.shared`].map(file => sections(readFileSync(`build/${file}.wasm`)))
    expect([...one!.keys()]).toEqual([...many!.keys()])
    for (const [id, bytes] of one!) expect(bytes === many!.get(id), `section ${id} of ${name}`).toBe(id !== 'import' && id !== 'blockscale')
  }
})

/** The sections of a module (in hexadecimal) by name of those that differ, others by number. */
function sections(wasm: Buffer): Map<string, string> {
  const found = new Map<string, string>()
  for (let at = 8; at < wasm.length;) {
    const id = wasm[at++]!
    let length = 0, shift = 0, byte
    do { byte = wasm[at++]!; length += (byte & 127) * 2 ** shift; shift += 7 } while (byte > 127)
    const body = wasm.subarray(at, at += length)
    found.set(id === 2 ? 'import' : id === 0 ? body.subarray(1, 1 + body[0]!).toString() : String(id), body.toString('hex'))
  }
  return found
}
