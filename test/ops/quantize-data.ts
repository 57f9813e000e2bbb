// What the quantizer tests share: one executor, runs in several cuts, quantizers and random bits drawn from a seed.
import { formats, type FormatName } from '../../src/numerics/formats.ts'
import { bitEmulation, blockProfiles, exact, torchEmulation } from '../../src/numerics/profiles.ts'
import type { Arithmetic, BlockQuantizer, Rounding } from '../../src/numerics/quantizer.ts'
import { philox4x32 } from '../../src/oracle/philox.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import type { Tensor } from '../../src/runtime/memory.ts'
import { Program } from '../../src/runtime/program.ts'

export const ex = new InlineExecutor()
export const stepPtr = ex.arena.allocBytes(8)

/** Execute the program's calls, each in `cut` pieces, last piece first. */
export function execute(p: Program, cut = 1): void {
  for (const { kernel, args, items } of p.calls) {
    const cuts = Array.from({ length: cut + 1 }, (_, i) => Math.floor(items * i / cut))
    for (let i = cut - 1; i >= 0; i--) (ex.kernels[kernel] as (...a: number[]) => void)(...args, cuts[i]!, cuts[i + 1]!)
  }
}

/** Run `emit` on a copy of x over planned memory, in up to three cuts of each call, and return dst. */
export function run(x: Float32Array, shape: readonly number[], emit: (p: Program, src: Tensor, dst: Tensor) => void, cut = 1, inPlace = false): Float32Array {
  const mark = ex.arena.mark()
  const src = ex.arena.tensor(...shape), dst = inPlace ? src : ex.arena.tensor(...shape)
  ex.arena.u32(src).set(new Uint32Array(x.buffer, x.byteOffset, x.length))
  const p = new Program(ex.arena)
  emit(p, src, dst)
  execute(p, cut)
  const out = ex.arena.f32(dst).slice()
  ex.arena.release(mark)
  return out
}

export const pick = <T>(random: () => number, ...choices: readonly T[]): T => choices[random() % choices.length]!
export const names = Object.keys(formats) as FormatName[]
const roundings: readonly Rounding[] = ['nearest-even', 'nearest-away', 'nearest-zero', 'toward-zero', 'stochastic']
/** The three emulated arithmetics, and now and then any mixture of their parts. */
export const arithmetic = (random: () => number): Arithmetic => random() % 4 ? pick(random, exact, torchEmulation, bitEmulation)
  : { exponent: pick(random, 'bits', 'torch-log2'), half: pick(random, 'exact', 'add-half'), zeroSign: pick(random, 'preserve', 'torch', 'positive'), nan: pick(random, 'propagate', 'as-number') }

export function anyQuantizer(random: () => number, format: FormatName): BlockQuantizer {
  const scaleRule = pick(random, 'floor', 'floor', 'floor', 'ceil', 'even', 'even-1', 'rceil', 'rceil-divide')
  const q: BlockQuantizer = {
    ...blockProfiles.ocp, ...arithmetic(random), format, scaleRule, rounding: pick(random, ...roundings), blockSize: pick(random, 32, 32, 16, 64, 8, 5, 1, 12, 33, 0),
    bump: scaleRule === 'floor' ? pick(random, 'none', 'none', 'intended', 'as-released') : 'none', scaleBits: pick(random, 8, 8, 8, 5, 4, 2), flushSubnormals: random() % 4 === 0,
    randomBits: pick(random, 8, 16),
  }
  return random() % 3 || q.bump === 'as-released' ? q : { ...q, nonFinite: 'element' }
}

/** The source of random bits: seed, stream, and the step counter in core memory. */
export const seed = 0x0123456789abcdefn, stream = 5, step = [0xfedcba98, 7] as const
new Uint32Array(ex.arena.memory.buffer, stepPtr, 2).set(step)
/** The random bits that the kernels take: element i has bytes [i b, (i + 1) b) of the Philox stream, little-endian. */
export function randomBits(bits: 8 | 16): (i: number) => number {
  const bytes = new Map<number, Uint8Array>()
  return i => {
    const at = i * bits / 8, block = at >>> 4
    if (!bytes.has(block)) bytes.set(block, new Uint8Array(Uint32Array.from(philox4x32([block, stream, ...step], [Number(seed & 0xffffffffn), Number(seed >> 32n)])).buffer))
    const b = bytes.get(block)!, k = at & 15
    return bits === 8 ? b[k]! : b[k]! + 256 * b[k + 1]!
  }
}

