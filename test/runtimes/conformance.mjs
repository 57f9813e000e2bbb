// One program for every runtime and executor: whatever runs it must find the same bits (expected.json). Imports nothing of node.
import { blockProfileNotes, blockQuantizer, bf16Away, bf16Even, bfloat, fp } from '../../dist/numerics/profiles.js'
import { codeBits, mmaConfig, mmaModels } from '../../dist/numerics/mma.js'
import { nvfp4Profiles } from '../../dist/numerics/nvfp4.js'
import { schemes } from '../../dist/numerics/scheme.js'
import { codesTensor, quantizeCodes, scaleShape } from '../../dist/ops/codes.js'
import { gemm } from '../../dist/ops/gemm.js'
import { decodeOperand, mma } from '../../dist/ops/mma.js'
import { nvfp4ScaleShape, nvfp4TensorScale, quantizeNvfp4 } from '../../dist/ops/nvfp4.js'
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

/** Codes as a tensor of words: `shape` holds a multiple of four bytes. */
const asWords = ({ ptr, shape }) => ({ ptr, shape: [shape.reduce((n, d) => n * d, 1) / 4], codes: true })

/** Name of each part: what it emits, and the tensors it leaves. */
const parts = {
  profiles(p) {
    const out = []
    for (const [profile, { formats }] of Object.entries(blockProfileNotes)) for (const format of FORMATS.filter(f => formats?.includes(f) ?? true)) for (const axis of [0, 1]) {
      const x = tensor(p.arena, out.length, 41, 48, 72), y = p.arena.tensor(48, 72), q = blockQuantizer(profile, format)
      const codes = codesTensor(p.arena, x.shape), scales = codesTensor(p.arena, scaleShape(x.shape, axis, 32))
      fakeQuantize(p, x, y, axis, q)
      quantizeCodes(p, x, codes, scales, axis, q)
      out.push(y, asWords(codes), asWords(scales))
    }
    return out
  },
  nvfp4(p) {
    const out = [], step = p.arena.from([0, 0])
    for (const profile of Object.values(nvfp4Profiles)) for (const axis of [0, 1, [0, 1]]) for (const special of [0, 41]) for (const rounding of ['nearest-even', 'stochastic']) {
      const x = tensor(p.arena, out.length, special, 64, 80), values = p.arena.tensor(64, 80), scale = p.arena.tensor(1)
      const codes = codesTensor(p.arena, x.shape), scales = codesTensor(p.arena, nvfp4ScaleShape(x.shape, axis))
      nvfp4TensorScale(p, x, scale, profile.recipe)
      quantizeNvfp4(p, x, { values, codes, scales }, axis, { ...profile, rounding }, scale, { seed: 1n, stream: 2, stepPtr: step.ptr })
      out.push(values, scale, asWords(codes), asWords(scales))
    }
    return out
  },
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

/** The numeric API: products of numbers and of scaled codes in several accumulators and output types. Returns what it is given, word for word. */
async function numericApi(core) {
  const words = [], keep = array => words.push(...array instanceof Float32Array ? canonical(new Uint32Array(array.buffer, array.byteOffset, array.length)) : array)
  const matrix = (seed, special, M, N, emin = 117, range = 21) => {
    const next = generator(seed)
    const bits = Uint32Array.from({ length: M * N }, (_, i) => { const x = next(); return special && i % special === special - 1 ? SPECIALS[x % SPECIALS.length] : (x & 0x807fffff) + (emin + (x >>> 23) % range << 23) })
    return { shape: [M, N], data: new Float32Array(bits.buffer) }
  }
  const [M, N, K] = [19, 23, 160], c = matrix(3, 0, M, N)
  for (const accumulate of ['f32', 'exact']) for (const special of [0, 53]) for (const out of ['f32', 'bf16', 'f16']) {
    keep((await core.matmul(matrix(1, special, M, K), matrix(2, special, N, K), { accumulate, transB: true, out, alpha: 0.37, beta: -1.25, c, ...accumulate === 'f32' && { splitK: 3 } })).codes)
  }
  for (const accumulate of ['volta-f16', 'ampere-tf32', 'hopper-fp8', 'blackwell-f8f6f4-f16acc', 'cdna3-fp8']) {
    const format = mmaConfig(accumulate).a
    const operand = (seed, rows) => {
      const next = generator(seed), Type = { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array }[codeBits(format)]
      return { shape: [rows, K], format, codes: Type.from({ length: rows * K }, () => format === 'tf32' ? next() & 0xbfffe000 : next()) }
    }
    keep((await core.matmul(operand(4, M), operand(5, N), { accumulate, transB: true })).codes)
  }
  for (const [profile, format] of [['ocp', 'e4m3'], ['torchao-rceil', 'e5m2'], ['ocp', 'e2m1']]) for (const special of [0, 997]) {
    const [a, b] = [await core.quantize(matrix(6, special, M, K), profile, { format }), await core.quantize(matrix(7, special, N, K), profile, { format })]
    for (const x of [a, b]) { keep(x.codes); keep(x.scales); keep((await core.dequantize(x)).data) }
    for (const accumulate of ['f32', 'exact', 'blackwell']) keep((await core.scaledMatmul(a, b, { accumulate, out: accumulate === 'exact' ? 'bf16' : 'f32' })).codes)
  }
  return words
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

/** f32 words, every NaN alike. */
const canonical = words => Array.from(words, u => (u & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : u)

const sha256 = async words => hex(await crypto.subtle.digest('SHA-256', Uint32Array.from(words)))

/** Run all parts. `Core` is the numeric API of the entry that is tested. Returns the hash of each part and, under `all`, that of them together. */
export async function conformance(executor, Core) {
  const { arena } = executor, hashes = {}
  for (const [name, emit] of Object.entries(parts)) {
    const mark = arena.mark(), p = new Program(arena), results = emit(p)
    await executor.run(p)
    hashes[name] = await sha256(results.flatMap(t => t.codes ? [...arena.u32(t)] : canonical(arena.u32(t))))
    arena.release(mark)
  }
  hashes['numeric API'] = await sha256(await numericApi(new Core(executor)))
  for (const precision of Object.keys(schemes)) {
    const mark = arena.mark()
    hashes[`train ${precision}`] = await train(executor, precision)
    arena.release(mark)
  }
  return { ...hashes, all: hex(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(hashes)))) }
}
