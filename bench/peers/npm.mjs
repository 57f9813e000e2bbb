// f32 matrix products through an npm package (or plain JavaScript), timed here, driven by bench/peers/peers.mjs.
// usage: npm.mjs LIBRARY THREADS; then one line of JSON in, {"n": 512, "ms": 40}, one out, {"least": seconds, "median": seconds}.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [library, threads] = [process.argv[2], Number(process.argv[3])]
const require = createRequire(join(process.env.BLOCKSCALE_PEERS ?? process.cwd(), 'package.json'))
const load = name => import(pathToFileURL(require.resolve(name)))
const say = answer => process.stdout.write(`${JSON.stringify(answer)}\n`)
const values = n => Float32Array.from({ length: n * n }, (_, i) => (Math.imul(i, 2654435761) >>> 8) % 255 / 128 - 1)

/** Each returns { version, product(n): a function, perhaps async, that multiplies two n x n matrices }. */
const libraries = {
  async 'onnxruntime-node'() {
    const { default: ort } = await load('onnxruntime-node')
    return {
      version: `onnxruntime-node ${ort.env.versions.node}`,
      async product(n) {
        const session = await ort.InferenceSession.create(matmulModel(n), { intraOpNumThreads: threads, interOpNumThreads: 1 })
        const a = new ort.Tensor('float32', values(n), [n, n]), b = new ort.Tensor('float32', values(n), [n, n])
        return () => session.run({ a, b })
      },
    }
  },
  async 'jax-js'() {
    const { init, defaultDevice, numpy: np } = await load('@jax-js/jax')
    await init('wasm')
    defaultDevice('wasm')
    return {
      version: '@jax-js/jax, reading the result included',
      product(n) {
        const a = np.array(values(n), { shape: [n, n] }), b = np.array(values(n), { shape: [n, n] })
        return async () => { await np.matmul(a.ref, b.ref).data() }
      },
    }
  },
  async 'tfjs-wasm'() {
    const tf = require('@tensorflow/tfjs-core')
    const wasm = require('@tensorflow/tfjs-backend-wasm')
    wasm.setWasmPaths(join(require.resolve('@tensorflow/tfjs-backend-wasm'), '..', '/'))
    if (!await tf.setBackend('wasm')) throw new Error('its wasm backend does not start')
    return {
      version: `@tensorflow/tfjs-backend-wasm ${wasm.version_wasm}`,
      product(n) {
        const a = tf.tensor(values(n), [n, n]), b = tf.tensor(values(n), [n, n])
        return () => tf.matMul(a, b).dispose()
      },
    }
  },
  'plain-js': () => ({
    version: 'three loops over Float32Array, innermost along rows',
    product(n) {
      const a = values(n), b = values(n), c = new Float32Array(n * n)
      return () => {
        c.fill(0)
        for (let i = 0; i < n; i++) for (let k = 0; k < n; k++) {
          const x = a[i * n + k], row = k * n, out = i * n
          for (let j = 0; j < n; j++) c[out + j] += x * b[row + j]
        }
      }
    },
  }),
}

/** An ONNX model with one node, c = MatMul(a, b), as protocol buffer bytes (onnx.proto3: the fields are named beside each part). */
function matmulModel(n) {
  const varint = v => v < 128 ? [v] : [v % 128 + 128, ...varint(Math.floor(v / 128))]
  const bytes = (field, content) => [field << 3 | 2, ...varint(content.length), ...content]
  const text = (field, s) => bytes(field, [...Buffer.from(s)])
  const integer = (field, v) => [field << 3, ...varint(v)]
  const dimension = bytes(1, integer(1, n)) // TensorShapeProto.dim.dim_value
  const value = name => [...text(1, name), ...bytes(2, bytes(1, [...integer(1, 1), ...bytes(2, [...dimension, ...dimension])]))] // ValueInfoProto: name, type.tensor_type { FLOAT, shape }
  const node = [...text(1, 'a'), ...text(1, 'b'), ...text(2, 'c'), ...text(4, 'MatMul')] // NodeProto: input, input, output, op_type
  const graph = [...bytes(1, node), ...text(2, 'product'), ...bytes(11, value('a')), ...bytes(11, value('b')), ...bytes(12, value('c'))]
  return Uint8Array.from([...integer(1, 8), ...bytes(7, graph), ...bytes(8, integer(2, 13))]) // ModelProto: ir_version, graph, opset_import.version
}

let peer
try {
  peer = await libraries[library]()
  say({ version: peer.version })
} catch (error) {
  say({ error: String(error.message).split('\n')[0] })
  process.exit()
}
const made = new Map()
for await (const line of createInterface({ input: process.stdin })) {
  const { n, ms } = JSON.parse(line)
  if (!made.has(n)) {
    made.set(n, await peer.product(n))
    for (const end = performance.now() + 100; performance.now() < end;) await made.get(n)()
  }
  const times = []
  for (const end = performance.now() + ms; times.length < 2 || performance.now() < end;) {
    const start = performance.now()
    await made.get(n)()
    times.push((performance.now() - start) / 1000)
  }
  times.sort((x, y) => x - y)
  say({ least: times[0], median: times[times.length >> 1] })
}
