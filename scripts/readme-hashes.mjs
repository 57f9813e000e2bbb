// Writes the SHA-256 of the Wasm modules, as built, into README.md (npm run docs): the lines that `blockscale info` prints.
import { readFileSync, writeFileSync } from 'node:fs'
import { hashes } from '../build/hashes.js'

const readme = readFileSync('README.md', 'utf8')
writeFileSync('README.md', readme.replace(/^([\w.]+)\.wasm( +)[0-9a-f]{64}$/gm, (_, name, gap) => `${name}.wasm${gap}${hashes[name]}`))
