// One program for every runtime and executor: whatever runs it must find the same bits (expected.json). Imports nothing of node.
import { blockQuantizer, bf16Away, bf16Even, bfloat, fp } from '../../dist/numerics/profiles.js'
import { codeBits, mmaConfig, mmaModels } from '../../dist/numerics/mma.js'
import { schemes } from '../../dist/numerics/scheme.js'
import { gemm } from '../../dist/ops/gemm.js'
import { decodeOperand, mma } from '../../dist/ops/mma.js'
import { fakeQuantize, roundElements } from '../../dist/ops/quantize.js'
import { Program } from '../../dist/runtime/program.js'
import { parseConfig } from '../../dist/train/config.js'
import { StudentTeacher } from '../../dist/train/student-teacher.js'

/** 32 random bits a call (Mulberry32). */
function generator(seed) {
  let state = seed
  return () => {
    state = state + 0x6d2b79f5 | 0
    let x = Math.imul(state ^ state >>> 15, state | 1)
    x ^= x + Math.imul(x ^ x >>> 7, x | 61)
    return (x ^ x >>> 14) >>> 0
  }
}

const SPECIALS = [0, 0x80000000, 1, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000]

/** A tensor of values spread over some exponents; every `special`-th is zero, subnormal, the largest, infinite or NaN (never if 0). */
function tensor(arena, seed, special, ...shape) {
  const t = arena.tensor(...shape), words = arena.u32(t), next = generator(seed)
  for (let i = 0; i < words.length; i++) {
    const x = next()
    words[i] = special && i % special === special - 1 ? SPECIALS[x % SPECIALS.length] : (x & 0x807fffff) + (117 + (x >>> 23) % 21 << 23)
  }
  return t
}

const FORMATS = ['e4m3', 'e5m2', 'e3m2', 'e2m3', 'e2m1', 'int8', 'int4', 'int2']

/** Name of each part: what it emits, and the tensors it leaves. */
const parts = {
  quantizers(p) {
    const out = []
    for (const profile of ['ocp', 'microxcaling', 'microxcaling-cuda']) for (const format of FORMATS) for (const axis of [0, 1]) for (const changes of [{}, { blockSize: 16, scaleRule: 'ceil' }, { rounding: 'toward-zero', scaleBits: 5 }]) {
      const x = tensor(p.arena, out.length, 41, 37, 70), y = p.arena.tensor(37, 70)
      fakeQuantize(p, x, y, axis, blockQuantizer(profile, format, changes))
      out.push(y)
    }
    return out
  },
  rounding: p => [bf16Away, bf16Even, bfloat(12), fp(16), fp(9)].map((rounding, i) => {
    const x = tensor(p.arena, i, 7, 999), y = p.arena.tensor(999)
    roundElements(p, x, y, rounding)
    return y
  }),
  gemm(p) {
    const out = []
    for (const special of [0, 29]) for (const products of ['rounded', 'exact']) for (const transA of [false, true]) for (const transB of [false, true]) {
      const [M, N, K] = [37, 51, 43], a = tensor(p.arena, 1, special, ...(transA ? [K, M] : [M, K])), b = tensor(p.arena, 2, special, ...(transB ? [N, K] : [K, N])), c = p.arena.tensor(M, N)
      for (const t of products === 'exact' ? [a, b] : []) roundElements(p, t, t, bf16Even)
      gemm(p, { a, b, c, transA, transB, products })
      out.push(c)
    }
    return out
  },
  mma: p => Object.keys(mmaModels).map((name, seed) => {
    const [M, N, K] = [5, 7, 128], config = mmaConfig(name), next = generator(seed)
    const operand = (side, rows) => {
      const bits = codeBits(config[side]), n = rows * K, ptr = p.arena.allocBytes(n * bits / 8), limit = config[side] === 'e2m1' ? 16 : 2 ** bits
      const codes = new { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array }[bits](p.arena.memory.buffer, ptr, n)
      for (let i = 0; i < n; i++) codes[i] = config[side] === 'tf32' ? next() & 0xbfffe000 : next() % limit
      const scales = config.scale ? p.arena.allocBytes(rows * K / config.scale.block) : undefined
      if (config.scale) for (let i = 0, s = p.arena.u8(scales, rows * K / config.scale.block); i < s.length; i++) s[i] = config.scale.format === 'e8m0' ? 120 + next() % 16 : next() % 127
      return decodeOperand(p, config, side, { ptr, rows, K, scales })
    }
    const d = p.arena.tensor(M, N)
    mma(p, config, operand('a', M), operand('b', N), d)
    return d
  }),
}

/** 20 steps of a small student under a precision scheme: the hash of its weights at the end. */
async function train(executor, precision) {
  const task = new StudentTeacher(executor, parseConfig({ model: { depth: 2, width: 32 }, batch: 64, steps: 20, precision, baseline: null, validation: { every: 0, batches: 1, batchSize: 1 } }))
  task.build(0)
  for (let step = 0; step < 20; step++) {
    await task.prepare(step)
    await task.gradients()
    await task.update()
  }
  return task.weightsHash()
}

const hex = bytes => Array.from(new Uint8Array(bytes), b => b.toString(16).padStart(2, '0')).join('')

/** SHA-256 of f32 tensors, every NaN alike; words of other tensors that look like one lose nothing but their sign and payload. */
async function sha256(arena, tensors) {
  const words = tensors.flatMap(t => Array.from(arena.u32(t), u => (u & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : u))
  return hex(await crypto.subtle.digest('SHA-256', Uint32Array.from(words)))
}

/** Run all parts. Returns the hash of each and, under `all`, that of them together. */
export async function conformance(executor) {
  const { arena } = executor, hashes = {}
  for (const [name, emit] of Object.entries(parts)) {
    const mark = arena.mark(), p = new Program(arena), results = emit(p)
    await executor.run(p)
    hashes[name] = await sha256(arena, results)
    arena.release(mark)
  }
  for (const precision of Object.keys(schemes)) {
    const mark = arena.mark()
    hashes[`train ${precision}`] = await train(executor, precision)
    arena.release(mark)
  }
  return { ...hashes, all: hex(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(hashes)))) }
}
