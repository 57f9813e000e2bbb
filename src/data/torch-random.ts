// torch's CPU generator: the numbers that torch.manual_seed(seed) gives, and torch's initialisers on top of them, for reproducing torch's weights and data.
// Words, uniforms and large normals are bit-equal to torch 2.13 on a machine with AVX2; how each is made from words stands at each method.
import { UsageError } from '../errors.ts'
import type { Executor } from '../runtime/executor.ts'
import { size, type Tensor } from '../runtime/memory.ts'
import { cosine, fma32, log1p, sine } from '../numerics/exact-math.ts'

const STATE_WORDS = 625

export class TorchGenerator {
  readonly #executor: Executor
  readonly #state: number
  /** Second normal of a scalar pair, kept for the next scalar draw. */
  #spare: number | null = null

  /** torch.manual_seed(seed): the low 32 bits count. Reserves the state in the executor's memory. */
  constructor(executor: Executor, seed: number | bigint) {
    this.#executor = executor
    this.#state = executor.arena.allocBytes(STATE_WORDS * 4)
    executor.call('mt19937_seed', [this.#state, Number(BigInt.asUintN(32, BigInt(seed)))], 1)
  }

  /** An independent generator at the same place in the stream. */
  clone(): TorchGenerator {
    const copy = new TorchGenerator(this.#executor, 0)
    copy.restore(this.state())
    return copy
  }

  /** The state, for a checkpoint: 624 words, index, 1 if a spare normal is kept, and its two halves. */
  state(): Uint32Array {
    const spare = new Uint32Array(Float64Array.of(this.#spare ?? 0).buffer)
    return Uint32Array.of(...new Uint32Array(this.#executor.arena.memory.buffer, this.#state, STATE_WORDS), this.#spare === null ? 0 : 1, ...spare)
  }

  restore(state: Uint32Array): void {
    if (state.length !== STATE_WORDS + 3) throw new UsageError(`random state has ${state.length} words, must have ${STATE_WORDS + 3}`)
    new Uint32Array(this.#executor.arena.memory.buffer, this.#state, STATE_WORDS).set(state.subarray(0, STATE_WORDS))
    this.#spare = state[STATE_WORDS] ? new Float64Array(state.slice(STATE_WORDS + 1).buffer)[0]! : null
  }

  /** The next n 32-bit words. */
  words(n: number): Uint32Array {
    const { arena } = this.#executor, mark = arena.mark(), out = arena.tensor(n)
    this.#executor.call('mt19937_words', [this.#state, out.ptr, n], 1)
    const words = arena.u32(out).slice()
    arena.release(mark)
    return words
  }

  /** torch.rand in float32: one word each, its low 24 bits times 2^-24. */
  uniform32(n: number): Float32Array { return Float32Array.from(this.words(n), w => (w & 0xffffff) * 2 ** -24) }

  /** torch.rand in float64: two words each, high then low, 53 bits. */
  uniform64(n: number): Float64Array {
    const w = this.words(2 * n)
    return Float64Array.from({ length: n }, (_, i) => ((w[2 * i]! & 0x1fffff) * 2 ** 32 + w[2 * i + 1]!) * 2 ** -53)
  }

  /** Tensor.uniform_(low, high) in float32: fma(u, high - low, low). */
  uniformBetween(n: number, low: number, high: number): Float32Array {
    const a = Math.fround(low), range = Math.fround(Math.fround(high) - a)
    return this.uniform32(n).map(u => fma32(u, range, a))
  }

  /** Fill a tensor in core memory as Tensor.normal_(mean, std) does a contiguous float32 tensor. */
  normal(t: Tensor, std = 1, mean = 0): void {
    const n = size(t.shape)
    if (n < 16) this.#executor.arena.f32(t).set(this.#scalarNormals(n, std, mean))
    else this.#executor.call('mt19937_normal_f32', [this.#state, t.ptr, n, std, mean], 1)
  }

  /** Tensor.normal_(mean, std) of n contiguous float32 elements. */
  normals(n: number, std = 1, mean = 0): Float32Array {
    const { arena } = this.#executor, mark = arena.mark(), t = arena.tensor(n)
    this.normal(t, std, mean)
    const values = arena.f32(t).slice()
    arena.release(mark)
    return values
  }

  /** Pass over what normal() of n elements would draw. */
  skipNormal(n: number): void {
    if (n < 16) this.#scalarNormals(n, 1, 0)
    else this.#executor.call('mt19937_skip', [this.#state, n + (n % 16 ? 16 : 0)], 1)
  }

  /** Box and Muller in double, one pair of float64 uniforms for two draws: what torch does for fewer than 16 elements. */
  #scalarNormals(n: number, std: number, mean: number): Float32Array {
    return Float32Array.from({ length: n }, () => {
      if (this.#spare !== null) {
        const value = this.#spare
        this.#spare = null
        return value * std + mean
      }
      const [u1, u2] = this.uniform64(2) as unknown as [number, number]
      const r = Math.sqrt(-2 * log1p(-u2)), angle = 2 * Math.PI * u1
      this.#spare = r * sine(angle)
      return r * cosine(angle) * std + mean
    })
  }

  /** Weight of nn.Linear(fanIn, out): kaiming_uniform_(a = sqrt 5), that is U(-B, B) with B = sqrt 3 (sqrt(2 / 6) / sqrt fanIn). */
  linearWeight(out: number, fanIn: number): Float32Array {
    const bound = Math.sqrt(3) * (Math.sqrt(2 / 6) / Math.sqrt(fanIn))
    return this.uniformBetween(out * fanIn, -bound, bound)
  }

  /** Bias of nn.Linear(fanIn, n): U(-1 / sqrt fanIn, 1 / sqrt fanIn). */
  linearBias(n: number, fanIn: number): Float32Array {
    const bound = 1 / Math.sqrt(fanIn)
    return this.uniformBetween(n, -bound, bound)
  }

  /** xavier_normal_ of a weight [out, fanIn]: N(0, gain sqrt(2 / (fanIn + out))). */
  xavierNormal(out: number, fanIn: number, gain = 1): Float32Array { return this.normals(out * fanIn, gain * Math.sqrt(2 / (fanIn + out))) }

  /**
   * nn.init.trunc_normal_ of torch 2.12 and later (pull request 174997): normal_(mean, std), and as long as an element lies outside [low, high] the whole
   * tensor is drawn again, of which only those elements are taken. Earlier versions went through erfinv.
   */
  truncatedNormal(n: number, mean: number, std: number, low: number, high: number): Float32Array {
    const values = this.normals(n, std, mean), outside = (v: number) => v < low || v > high
    while (values.some(outside)) {
      const again = this.normals(n, std, mean)
      values.forEach((v, i) => { if (outside(v)) values[i] = again[i]! })
    }
    return values
  }

  /** torch.randint(high, (n,)), high <= 2^32: one word each, modulo high. */
  integers(n: number, high: number): number[] { return Array.from(this.words(n), w => w % high) }

  /** torch.randperm(n): at place i, exchanged with place i + word mod (n - i). */
  permutation(n: number): number[] {
    const p = Array.from({ length: n }, (_, i) => i)
    this.words(Math.max(n - 1, 0)).forEach((w, i) => {
      const j = i + w % (n - i)
      const value = p[i]!
      p[i] = p[j]!
      p[j] = value
    })
    return p
  }
}
