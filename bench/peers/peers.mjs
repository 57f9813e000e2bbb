// The same work through other libraries, each in a process of its own, sampled in turn with ours. A peer that is not installed is skipped with a line.
// Python (torch, numpy, microxcaling): BLOCKSCALE_PYTHON, else python3. npm packages (onnxruntime-node, @jax-js/jax, @tensorflow/tfjs-backend-wasm): looked up from the
// folder BLOCKSCALE_PEERS, else from here. A peer does what a figure's task says on as many threads: `gemm/N`, an f32 product of N x N matrices; `lm`, a language
// model's training step; `step/...`, the student's.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { few } from '../measure.mjs'

const at = file => fileURLToPath(new URL(file, import.meta.url))
const python = process.env.BLOCKSCALE_PYTHON ?? 'python3'
const onOne = library => threads => threads === 1 ? [process.execPath, at('npm.mjs'), library, threads] : null

/** Per task, the command of each peer for a number of threads; null where it has only one thread. */
const languageModels = { torch: threads => [python, at('lm.py'), threads] }
const students = Object.fromEntries(['torch', 'microxcaling'].map(library => [library, threads => [python, at('step.py'), library, threads]]))
const matrixProducts = {
  torch: threads => [python, at('gemm.py'), 'torch', threads],
  numpy: threads => [python, at('gemm.py'), 'numpy', threads],
  'onnxruntime-node': threads => [process.execPath, at('npm.mjs'), 'onnxruntime-node', threads],
  'jax-js': onOne('jax-js'),
  'tfjs-wasm': onOne('tfjs-wasm'),
  'plain-js': onOne('plain-js'),
}

const running = new Map()

/** A process that answers one line of JSON for each line it is given; its first line says what it is, or why it cannot run. */
async function start([command, ...args]) {
  const child = spawn(command, args.map(String), { stdio: ['pipe', 'pipe', 'ignore'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => { const { value, done } = await lines.next(); return done ? { error: 'the process ended' } : JSON.parse(value) }
  const failed = new Promise(resolve => child.on('error', e => resolve({ error: e.message })))
  const hello = await Promise.race([next(), failed])
  return { child, hello, async ask(question) { child.stdin.write(`${JSON.stringify(question)}\n`); return next() } }
}

/** What a figure asks of which peers; null where no peer does its task. */
function asked({ task, size, question }) {
  if (question) return { peers: students, question }
  if (size !== undefined && task === `gemm/${size}`) return { peers: matrixProducts, question: { n: size }, work: 2 * size ** 3 }
  return task === 'lm' ? { peers: languageModels, question: {} } : null
}

/** One figure for each task and number of threads among `figures`, and each peer that can do it. */
export async function peerFigures(figures) {
  const works = new Map(figures.filter(asked).map(f => [`${f.task}/${f.threads ?? 1}`, f]))
  const found = []
  for (const [name, figure] of works) {
    const { task, unit, limit, threads } = figure, { peers, question, work = figure.work } = asked(figure), count = threads ?? 1
    for (const [peer, commandOf] of Object.entries(peers)) {
      const command = commandOf(count)
      if (!command || (peer === 'plain-js' && question.n > 512)) continue
      const key = command.join(' ')
      if (!running.has(key)) {
        running.set(key, await start(command))
        const { hello } = running.get(key)
        console.log(hello.error ? `peer ${peer} skipped: ${hello.error}` : `peer ${peer}: ${hello.version}, ${count} thread${count > 1 ? 's' : ''}`)
      }
      const { hello, ask } = running.get(key)
      if (hello.error) continue
      const timer = { sample: ms => ask({ ...question, ms }) }
      // microxcaling takes 14 s for the large step: once is enough.
      found.push({ name: `${name}/${peer}`, peer, unit, work, limit, threads, task, timer: figure.runs ? few(timer, peer === 'microxcaling' ? 1 : figure.runs) : timer })
    }
  }
  return found
}

export function close() {
  for (const { child } of running.values()) child.kill()
}
