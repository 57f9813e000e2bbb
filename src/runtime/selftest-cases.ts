// The cases of the self-test (selftest.ts): every kernel that computes, along each path through it that has code of its own. Sizes are small and odd, so
// that whole vectors and remainders both occur. A new kernel needs a case here; test/runtime/selftest.test.ts names the missing ones and prints the pins.
import { castPolicies, maxCode, nanCode, overflowCode } from '../numerics/cast.ts'
import { formats, grid, type Format, type FormatName } from '../numerics/formats.ts'
import type { KernelArgs, KernelName } from './instance.ts'

/** A kernel call: name, arguments, items. */
export type Call = { [K in KernelName]: readonly [kernel: K, args: KernelArgs<K>, items: number] }[KernelName]

/** Memory of one case. Each method reserves a buffer and returns its address; the buffers are put back to their first contents before each repetition. */
export interface Stage {
  /** n f32 of both signs with full significands and exponents low..high (default -3..3). */
  numbers(n: number, low?: number, high?: number): number
  /** As numbers, of exponents -18..18, every 16th a zero, subnormal, infinity, NaN or the like. */
  specials(n: number): number
  /** n f32 of exponents low..high with 8 significant bits, as bf16. */
  coarse(n: number, low?: number, high?: number): number
  /** n u32 below `limit`. */
  words(n: number, limit: number): number
  /** n bytes below `limit`. */
  bytes(n: number, limit: number): number
  /** The given f32. */
  constants(...values: number[]): number
  /** n words that calls write, not part of the result. */
  room(n: number): number
  /** n words of zeros, part of the result. NaNs count as equal. */
  out(n: number): number
  /** As out, but no float: every bit counts. */
  outWords(n: number): number
  /** Count the n words at ptr as part of the result too (a buffer that calls change in place). Returns ptr. */
  result(ptr: number, n: number): number
}

/** Sets up inputs and says what to call. */
export type Case = (stage: Stage) => readonly Call[]

/** Elements of an elementwise case, and rows x columns of a matrix. */
const n = 67, rows = 5, columns = 37

const each = <T>(list: readonly T[], calls: (item: T) => readonly Call[]): Call[] => list.flatMap(calls)

/** A product [M, K] x [K, N] with ragged edges; transposes by exchanged strides. */
function product(s: Stage, kernel: 'gemm_f32' | 'gemm_exact_f32', fill: (count: number) => number, transA: boolean, transB: boolean): Call {
  const [M, N, K] = [37, 51, 43]
  const a = fill(M * K), b = fill(K * N), [aRow, aCol] = transA ? [1, M] : [K, 1], [bRow, bCol] = transB ? [1, K] : [N, 1]
  return [kernel, [a, aRow, aCol, b, bRow, bCol, s.out(M * N), N, M, N, K, 0, 1, 0, 0, 0, 0, 0, 0], Math.ceil(N / 16)]
}

const target = (format: FormatName) => { const { man, emin, emax, max } = grid(formats[format]); return [man, emin, emax, max] as const }

/** Quantizer choices as in assembly/quantize-modes.ts, with 8 scale bits. */
const choices = (rounding: number, more = 0) => rounding | 8 << 11 | more
const TORCH = 4 | 8 | 1 << 4, FLUSH = 64, INTENDED = 1 << 7, RELEASED = 2 << 7, POSITIVE = 2 << 4, NEAREST_ZERO = 1 << 17, EVEN_1 = 1 << 18, RCEIL_DIVIDE = 1 << 9 | 1 << 18, ELEMENT = 1 << 19, rule = (index: number) => index << 9, SIXTEEN = 1 << 16

/** Format, and choices of a quantizer that takes nearest, directed and tied roundings, every scale rule and both bumps. */
const quantizers: readonly [FormatName, number][] = [
  ['e4m3', choices(0)], ['e5m2', choices(1, TORCH)], ['e2m1', choices(2, rule(1))], ['e3m2', choices(0, rule(2))], ['int8', choices(1, rule(3))],
  ['e2m3', choices(0, FLUSH | INTENDED)], ['e4m3', choices(1)], ['e4m3', choices(0, TORCH)], ['e2m1', choices(0, NEAREST_ZERO | POSITIVE)], ['e5m2', choices(0, EVEN_1 | ELEMENT)],
  ['e4m3', choices(0, RCEIL_DIVIDE | ELEMENT)], ['int8', choices(1, TORCH)], ['e2m3', choices(2, 1 << 4)], ['int4', choices(0)],
]
/** bits, kind and largest code, as assembly/codec.ts takes them. */
const codes = (name: FormatName) => { const f: Format = formats[name]; return [f.bits, f.kind === 'int' ? 1 : f.specials === 'fnuz' ? 2 : 0, maxCode(f)] as const }

const STOCHASTIC = 3
const seed = [1, 2, 3] as const

export const cases: Readonly<Record<string, Case>> = {
  copy_f32: s => [['copy_f32', [s.out(n), s.numbers(n)], n], ['copy_rows_f32', [s.out(rows * columns), columns, s.numbers(rows * columns), columns, 33], rows], ['fill_f32', [s.out(n), 1.5], n]],
  elementwise: s => {
    const [a, b] = [s.specials(n), s.specials(n)]
    return [
      ['add_f32', [a, b, s.out(n)], n], ['sub_f32', [a, b, s.out(n)], n], ['mul_f32', [a, b, s.out(n)], n], ['scale_f32', [a, 0.3, s.out(n)], n],
      ['axpy_f32', [0.7, a, s.result(s.specials(n), n)], n],
      ...each([0, 1, 2], (r): Call[] => [['add_row_f32', [s.numbers(rows * columns), s.numbers(columns), s.out(rows * columns), columns, r], rows]]),
    ]
  },
  elementary_f32: s => each([0, 1, 2, 3], kind => [['elementary_f32', [kind, s.numbers(n, -10, 6), s.out(n)], n], ['elementary_f32', [kind, s.specials(n), s.out(n)], n]]),

  gemm_f32: s => each([false, true], a => each([false, true], b => [product(s, 'gemm_f32', count => s.numbers(count, -18, 18), a, b)])),
  'gemm_f32 of special values': s => [product(s, 'gemm_f32', s.specials, true, false)],
  gemm_exact_f32: s => each([false, true], a => each([false, true], b => [product(s, 'gemm_exact_f32', count => s.coarse(count, -18, 18), a, b)])),
  gemm_packed_f32: s => each([[1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 2, 0]] as const, ([alongA, alongB, rounding, block]) => {
    const [M, N, K] = [37, 51, 43], [a, b] = [s.room(16 + (M + 32) * K), s.room(16 + (N + 32) * K)], format = [32 * block, ...target('e4m3'), choices(rounding & 1)] as const
    return [
      ['gemm_pack_f32', [a, 0, s.numbers(M * K, -9, 9), M, K, alongA, 32, rounding, ...format], 2], ['gemm_pack_f32', [b, 1, s.numbers(N * K, -9, 9), N, K, alongB, 32, rounding, ...format], 2],
      ['gemm_packed_f32', [a, b, s.out(M * N), N, M, N, K, 32, 120, s.numbers(N), rounding], 4], ['gemm_packed_f32', [a, b, s.out(M * N), N, M, N, K, 32, 120, 0, rounding], 4],
    ]
  }),
  gemm_packed_turn_f32: s => each([[1, 0], [0, 1]] as const, ([alongA, alongB]) => {
    const [M, N, K, slot] = [37, 51, 43, 16 + 64 * 43], [a, b] = [s.room(2 * slot), s.room(16 + (N + 32) * K)], format = [32, ...target('e4m3'), choices(1)] as const, x = s.numbers(M * K, -9, 9), c = s.out(M * N), bias = s.numbers(N)
    return [
      ['gemm_pack_f32', [b, 1, s.numbers(N * K, -9, 9), N, K, alongB, 32, 0, ...format], 2],
      ...each([0, 1], turn => [['gemm_pack_turn_f32', [a, slot, x, M, K, alongA, 32, 0, ...format, turn, 2, 2], 2], ['gemm_packed_turn_f32', [a, slot, b, c, N, M, N, K, 32, bias, 0, turn, 2, 2], 2]] as const),
    ]
  }),
  'gemm_exact_f32 of inexact products': s => [product(s, 'gemm_exact_f32', s.specials, true, true)],
  gemm_block: s => {
    const [M, N, blocks, size] = [37, 51, 3, 32]
    const operand = (count: number) => {
      // Odd multiples of 1/16 up to 1: exponent 0 with the three upper fraction bits, less a common unit.
      const values = s.constants(...Array.from({ length: count * blocks * size }, (_, i) => (i * 7 % 31 - 15) / 16 * 2 ** (i / size % 5 | 0)))
      return { values, elements: s.outWords(count * blocks * size / 2), scales: s.out(count * blocks) }
    }
    const a = operand(M), b = operand(N)
    return [
      ['block_integers', [a.values, blocks * size, size, a.elements, a.scales], M * blocks],
      ['block_integers', [b.values, blocks * size, size, b.elements, b.scales], N * blocks],
      ['gemm_block', [a.elements, a.scales, b.elements, b.scales, s.out(M * N), N, M, N, blocks, size, 0], Math.ceil(N / 16)],
    ]
  },

  fake_quantize_rows: s => each(quantizers, ([format, c]) => each([s.numbers(3 * 96, -9, 9), s.specials(3 * 96)], src => [
    ['fake_quantize_rows', [s.out(3 * 71), src, 71, 32, ...target(format), c], 9],
    ['fake_quantize_rows', [s.out(3 * 96), src, 96, 32, ...target(format), c], 9], ['fake_quantize_rows', [s.out(3 * 96), src, 96, 48, ...target(format), c], 6],
  ])),
  fake_quantize_columns: s => each(quantizers, ([format, c]) => each([s.numbers(35 * 21, -9, 9), s.specials(35 * 21)], src =>
    [['fake_quantize_columns', [s.out(35 * 21), src, 35, 21, 32, 64, ...target(format), c], 2]])),
  fake_quantize_random: s => {
    const step = s.words(2, 100)
    return each([0, SIXTEEN], bits => [
      ['fake_quantize_rows_random', [s.out(3 * 71), s.numbers(3 * 71, -9, 9), 71, 32, ...target('e4m3'), choices(STOCHASTIC, bits), ...seed, step], 9],
      ['fake_quantize_columns_random', [s.out(35 * 21), s.numbers(35 * 21, -9, 9), 35, 21, 32, 64, ...target('e2m1'), choices(STOCHASTIC, bits), ...seed, step], 2],
    ])
  },
  fake_quantize_released: s => [
    ['fake_quantize_rows_released', [s.out(3 * 71), s.numbers(3 * 71, -9, 9), 71, 32, ...target('e4m3'), choices(0, RELEASED)], 3],
    ['fake_quantize_columns_released', [s.out(35 * 21), s.numbers(35 * 21, -9, 9), 35, 21, 32, 64, ...target('e4m3'), choices(1, RELEASED)], 1],
  ],
  fake_quantize_tiles: s => each([choices(0), choices(0, RELEASED), choices(STOCHASTIC)], c =>
    [['fake_quantize_tiles', [s.out(35 * 41), s.numbers(35 * 41, -9, 9), 35, 1, 41, 1, 16, 16, ...target('e4m3'), c, ...seed, s.words(2, 100)], 3]]),
  round_elements: s => each([choices(0), choices(1), choices(2), choices(1, TORCH), choices(0, FLUSH)], c =>
    each([[8, 7], [5, 10]] as const, ([exponent, man]) => [['round_elements', [s.out(n), s.specials(n), exponent, man, c], n]])),

  hadamard: s => {
    const signs = s.constants(...Array.from({ length: 16 }, (_, i) => i % 3 ? 1 : -1))
    return [['hadamard_rows', [s.out(64), s.numbers(64), 16, signs, 0.25], 4], ['hadamard_columns', [s.out(32 * 13), s.numbers(32 * 13), 16, 13, signs, 0.25], 2]]
  },
  codes: s => {
    const step = s.words(2, 100)
    return each([['e4m3', choices(0)], ['e2m1', choices(1, rule(1))], ['int8', choices(0)], ['e5m2', choices(STOCHASTIC)]] as const, ([name, c]) => {
      const { man, emin } = grid(formats[name]), [bits, kind, largest] = codes(name), nan = nanCode(formats[name], 'quiet')
      const [rowCodes, rowScales, columnCodes, columnScales] = [s.outWords(54), s.outWords(3), s.outWords(184), s.outWords(11)]
      return [
        ['quantize_codes_rows', [rowCodes, rowScales, s.specials(3 * 71), 71, 32, ...target(name), c, bits, kind, largest, nan, ...seed, step], 9],
        ['dequantize_rows', [s.out(3 * 71), rowCodes, rowScales, 0, 0, 71, 32, man, emin, bits, kind, largest], 9],
        ['quantize_codes_columns', [columnCodes, columnScales, s.numbers(35 * 21, -9, 9), 35, 21, 32, 64, ...target(name), c, bits, kind, largest, nan, ...seed, step], 2],
        ['dequantize_columns', [s.out(35 * 21), columnCodes, columnScales, 0, 0, 35, 21, 32, 64, man, emin, bits, kind, largest], 2],
      ]
    })
  },
  // Every rounding with every sign of zero, in whole blocks of 32 and in columns that fill groups of sixteen.
  'codes of whole blocks': s => each(quantizers, ([name, c]) => each([s.numbers(35 * 96, -9, 9), s.specials(35 * 96)], (src): Call[] => {
    const [bits, kind, largest] = codes(name), words = [...target(name), c, bits, kind, largest, nanCode(formats[name], 'quiet'), ...seed, s.words(2, 100)] as const
    return [
      ['quantize_codes_rows', [s.outWords(840), s.outWords(27), src, 96, 32, ...words], 105],
      ['quantize_codes_columns', [s.outWords(840), s.outWords(48), src, 35, 96, 32, 64, ...words], 4],
    ]
  })),
  'codes of tiles': s => each([...quantizers, ['e5m2', choices(STOCHASTIC)]] as const, ([name, c]) => each([s.numbers(35 * 50, -9, 9), s.specials(35 * 50)], (src): Call[] => {
    const [bits, kind, largest] = codes(name)
    return [['quantize_codes_tiles', [s.outWords(438), s.outWords(1), src, 35, 50, 32, ...target(name), c, bits, kind, largest, nanCode(formats[name], 'quiet'), ...seed, s.words(2, 100)], 2]]
  })),
  casts: s => {
    const policy = castPolicies['ptx-satfinite']
    return each(['e4m3', 'e5m2fnuz', 'int8', 'bf16'] as const, name => {
      const f: Format = formats[name], { man, emin } = grid(f), [bits, kind, largest] = codes(name), width = bits > 8 ? 2 : 1, out = s.outWords(n)
      return [
        ['encode_f32', [out, s.specials(n), width, ...target(name), choices(0), bits, kind, largest, overflowCode(f, policy), nanCode(f, policy.nan), nanCode(f, policy.nan, true)], n],
        ['decode_f32', [s.out(n), s.bytes(n * width, 256), width, man, emin, bits, kind, largest], n],
        ...each([0, 1, 2], (how): Call[] => [['encode_e8m0_f32', [s.outWords(n), s.specials(n), how], n]]),
      ]
    })
  },

  nvfp4: s => each([0, 1, 2, 3, 4], recipe => {
    const n = 35 * 48, x = s.numbers(n, -9, 9), scale = s.out(1), partials = s.out(1), step = s.words(2, 100)
    const outputs = (): [number, number, number] => [s.out(n), s.outWords(n / 4), s.outWords(36)]
    const rows = outputs(), words = [scale, recipe, choices(0), ...seed, step] as const
    return [
      ['nvfp4_amax', [partials, x, n, recipe], 1], ['nvfp4_tensor_scale', [scale, partials, 1, recipe], 1],
      ['nvfp4_rows', [...rows, x, 48, ...words], 105], ['nvfp4_rows', [s.out(n), 0, 0, x, 48, ...words], 105],
      ['dequantize_rows', [s.out(n), rows[1], rows[2], scale, recipe === 0 || recipe === 4 ? 1 : 0, 48, 16, 1, 0, 4, 0, 7], 105],
      ['nvfp4_columns', [...outputs(), x, 35, 48, 64, ...words], 3], ['nvfp4_columns', [s.out(n), 0, 0, s.specials(n), 35, 48, 64, ...words], 3],
      ['nvfp4_tiles', [...outputs(), x, 35, 48, ...words], 3], ['nvfp4_rows', [s.out(n), 0, 0, x, 48, scale, recipe, choices(STOCHASTIC), ...seed, step], 105],
      ['nvfp4_rows', [...outputs(), s.specials(n), 48, ...words], 105], ['nvfp4_columns', [...outputs(), s.specials(n), 35, 41, 64, ...words], 3],
      ['nvfp4_rescale', [s.out(67), s.numbers(67), scale, s.constants(3.7), recipe], 67],
    ]
  }),

  arrange: s => [
    ['arrange_u32', [s.out(35 * 20), s.numbers(35 * 20), 35, 1, 20, 1], 20],
    ['arrange_u8', [s.outWords(35 * 20), s.numbers(35 * 5), 35, 1, 20, 4], 80], ['arrange_u8', [s.outWords(35 * 15), s.numbers(35 * 5), 20, 20, 1, 3], 105],
  ],

  activation: s => {
    const x = s.numbers(n, -6, 3), odd = s.specials(n), dy = s.numbers(n)
    return each([0, 1, 2, 3, 4, 5, 6, 7, 8], kind => each(kind === 8 ? [0, 1, 2] : [0, 1, 2, 3], r => [
      ['activation_forward', [kind, r, 0.01, x, s.out(n)], n], ['activation_forward', [kind, r, 0.01, odd, s.out(n)], n],
      ...each(r < 2 ? [r, 2] : [2], (back): Call[] => [['activation_backward', [kind, r, back, 0.01, x, dy, s.out(n)], n]]),
    ]))
  },
  swiglu: s => {
    const x = s.numbers(2 * rows * columns, -6, 3), dy = s.numbers(rows * columns)
    return each([0, 1, 3], r => [
      ['swiglu_forward', [r, x, s.out(rows * columns), columns], rows],
      ...each(r < 2 ? [r, 2] : [2], (back): Call[] => [['swiglu_backward', [r, back, x, dy, s.out(2 * rows * columns), columns], rows]]),
    ])
  },
  activation_table: s => {
    const entries = 65536, table = s.room(entries), x = s.numbers(2 * rows * columns, -6, 3), dy = s.numbers(2 * rows * columns)
    return [
      ['bf16_values_f32', [table], entries],
      ...each([0, 1], r => [
        ['activation_table_forward', [table, r, x, s.out(n)], n], ['swiglu_table_forward', [table, r, x, s.out(rows * columns), columns], rows],
        ...each([r, 2], (back): Call[] => [
          ['activation_table_backward', [table, r, back, x, dy, s.out(n)], n], ['swiglu_table_backward', [table, table, r, back, x, dy, s.out(2 * rows * columns), columns], rows],
        ]),
      ]),
    ]
  },
  norm: s => {
    const x = s.numbers(rows * columns), dy = s.numbers(rows * columns), gamma = s.numbers(columns, -1, 1), beta = s.numbers(columns)
    const out = () => s.out(rows * columns)
    // [first, second, back]: the combinations that have code of their own.
    const layer = each([[2, 2, 2], [0, 0, 0], [0, 0, 2], [2, 0, 2], [1, 1, 1], [1, 1, 2], [2, 1, 2]] as const, ([first, second, back]): Call[] => {
      const stats = s.out(2 * rows)
      return [
        ['layer_norm_forward', [x, gamma, beta, out(), stats, columns, 1e-5, first, second], rows],
        ['norm_weight_gradients', [x, dy, stats, s.out(columns), s.out(columns), rows, columns, first, second, back], columns],
        ['layer_norm_backward', [x, dy, gamma, stats, out(), columns, first, second, back], rows],
      ]
    })
    const rms = each([[2, 2], [0, 0], [0, 2], [1, 1], [1, 2]] as const, ([r, back]): Call[] => {
      const stats = s.out(2 * rows)
      return [['rms_norm_forward', [x, gamma, 0, out(), stats, columns, 1e-5, r], rows], ['rms_norm_backward', [x, dy, gamma, stats, out(), columns, r, back], rows]]
    })
    return [...layer, ...rms]
  },
  attention: s => {
    const [heads, headDim, context, width] = [2, 10, 7, 8]
    const scores = s.result(s.numbers(rows * width), rows * width), gradient = s.result(s.numbers(rows * width), rows * width)
    const other = s.result(s.numbers(rows * width), rows * width), reciprocals = s.out(rows), o = s.result(s.numbers(context * heads * headDim), context * heads * headDim)
    return [
      ...each([0, 1], (inverse): Call[] => [['rope_f32', [s.numbers(context * heads * headDim), heads * headDim, s.out(context * heads * headDim), heads * headDim, s.numbers(context * headDim), context, heads, headDim, inverse], context]]),
      ['causal_softmax', [scores, width, rows, 1, 0.3], rows], ['causal_softmax_backward', [scores, gradient, width, rows, 1, 0.3], rows],
      ['causal_softmax_torch', [other, width, rows, 1, 0.3, reciprocals], rows],
      ['scale_heads', [o, s.numbers(heads * context), context, heads, headDim, context, 0], heads * context],
    ]
  },
  embedding: s => {
    const tokens = s.words(8, rows), table = s.result(s.numbers(rows * columns), rows * columns)
    return [
      ['embedding_forward', [table, tokens, s.out(8 * columns), columns], 8], ['embedding_backward', [table, tokens, s.numbers(8 * columns), 8, columns], 3],
      ['next_tokens', [tokens, s.outWords(8), 4, -1], 2],
    ]
  },

  mse_f32: s => [['mse_f32', [s.numbers(4133), s.numbers(4133), 4133, 0.1, s.out(4133), s.outWords(4)], 2]],
  cross_entropy_f32: s => {
    const targets = s.words(rows, columns), count = s.outWords(2), partials = s.outWords(4 * rows)
    return [
      ['count_targets', [targets, rows, 3, count], 1], ['cross_entropy_f32', [s.numbers(rows * columns), targets, columns, 3, 0.1, count, s.out(rows * columns), partials], rows],
      ['mean_over_targets', [partials, rows, count, s.outWords(4)], 2],
    ]
  },
  optimizer: s => {
    const g = s.numbers(n), step = s.constants(0.01, 0.9, 0.99, 0.5), own = (low?: number, high?: number) => s.result(s.numbers(n, low, high), n)
    const second = s.result(s.constants(...Array.from({ length: n }, (_, i) => i / 16)), n)
    return [
      ['adam_f32', [own(), g, own(), second, step, 0.1, 0.999, 0.001, 1e-8, 0.01], n], ['sgd_f32', [own(), g, own(), step, 0.9, 0.01], n],
      ['clip_scale', [s.constants(0, 4), 1, s.out(1)], 1],
    ]
  },
  reductions: s => {
    const count = 4133, a = s.numbers(count), b = s.numbers(count), partials = s.outWords(6 * 2 * 2)
    return [
      ['moments_f32', [a, count, s.outWords(3 * 2 * 2)], 2], ['comparison_f32', [a, b, count, partials], 2], ['combine_f64', [partials, 2, 6, 4, 3, s.outWords(12)], 6],
      ['overflow_f32', [a, count, 32, 128, 1.75, s.outWords(8)], 2], ['first_non_finite_f32', [s.specials(99), 99, s.outWords(2)], 1],
      ...each([0, 1, 2], (r): Call[] => [['column_sum_f32', [s.numbers(rows * columns), s.out(columns), rows, columns, 2, r], columns], ['column_sum_f32', [s.numbers(rows * columns), s.out(columns), rows, columns, r, 2], columns]]),
    ]
  },

  philox: s => [
    ['philox_words', [s.outWords(4 * 11), 1, 2, 3, s.words(2, 100)], 11], ['philox_uniform_f32', [s.out(n), n, 1, 2, 3, s.words(2, 100)], 5],
    ['philox_normal_f32', [s.out(n), n, 0.5, 1, 1, 2, 3, s.words(2, 100)], 5],
  ],
  mt19937: s => {
    const state = s.outWords(625)
    return [['mt19937_seed', [state, 5], 1], ['mt19937_words', [state, s.outWords(700), 700], 1], ['mt19937_skip', [state, 9], 1], ['mt19937_normal_f32', [state, s.out(n), n, 1, 0], 1]]
  },

  mma: s => {
    const K = 64, side = (count: number, step: number, split: number) => {
      const words = s.outWords(count * K), flags = s.outWords(Math.ceil(count * K / step / 4))
      const call: Call = ['mma_decode', [words, flags, s.bytes(count * K, 256), s.bytes(count * 2, 255), K, K, step, 32, split, 1, 4, 3, 7, 1], count]
      return { words, flags, call }
    }
    const with32 = [side(rows, 32, 0), side(7, 32, 0)] as const, with16 = [side(rows, 16, 0), side(7, 16, 0)] as const, split = [side(rows, 32, 1), side(7, 32, 1)] as const
    const d = () => s.outWords(rows * 7), c = s.numbers(rows * 7)
    const [a, b] = with32, [a16, b16] = with16, [as, bs] = split
    return [
      a.call, b.call, a16.call, b16.call, as.call, bs.call,
      ...each([0, 1, 3], (rounding): Call[] => [['mma_fdpa', [d(), c, a.words, a.flags, b.words, b.flags, 7, 2, 32, K, 2, 6, 25, -133, rounding], rows]]),
      ['mma_split_fp8', [d(), c, as.words, as.flags, bs.words, bs.flags, 7, 2, K, 2, 6, 13, -121, 0], rows],
      ['mma_e_fdpa', [d(), c, a16.words, a16.flags, b16.words, b16.flags, 7, 4, 16, K, 4, 6], rows],
      ['mma_ftz_addmul', [d(), c, a16.words, b16.words, 7, 16, 4, K, 3], rows],
      ...each([0, 1], (grouped): Call[] => [['mma_tr_fdpa', [d(), c, a16.words, a16.flags, b16.words, b16.flags, 7, 4, 16, K, 4, 6, 24, grouped], rows]]),
    ]
  },
  mma_sums: s => each([[32, 2, 120, 1], [32, 1, 254, 1], [16, 1, 254, 0], [4, 2, 20, 0]] as const, ([step, specials, scales, integers]) => { // with and without NaN
    const [M, N, K] = [rows, 19, 96], stride = K, side = (count: number, width: 4 | 16) => {
      const words = s.outWords(count * stride), flags = s.outWords(Math.ceil(count * stride / step / 4)), panels = Math.ceil(count / width)
      const packed = s.outWords(panels * (stride / step) * (((integers ? 6 : 8) * step + 16) * width + 2 * Math.max(step, 8) + 16) / 4)
      return { words, flags, packed, calls: [
        ['mma_decode', [words, flags, s.bytes(count * K, 256), s.bytes(count * 3, scales), K, stride, step, 32, 0, 1, 4, 3, 7, specials], count],
        ['mma_pack_sums', [packed, words, flags, count, stride, step, 3, width, integers], panels],
      ] satisfies Call[] }
    }
    const a = side(M, 4), b = side(N, 16)
    return [...a.calls, ...b.calls, ['mma_sums', [s.outWords(M * N), s.numbers(M * N, -20, 20), a.packed, b.packed, a.words, a.flags, b.words, b.flags, M, N, stride, step, 0, stride / step, 6, 25, -133, integers], Math.ceil(N / 16) * Math.ceil(M / 64)]]
  }),
  gemm_fused_f32: s => each([0, 1], (accumulate): Call[] => [['gemm_fused_f32', [s.result(s.numbers(rows * 9, -20, 20), rows * 9), s.specials(rows * 75), s.numbers(9 * 75, -20, 20), 75, 9, 70, accumulate], rows]]),
  gemm_f64_f32: s => each([0, 1], (accumulate): Call[] => [['gemm_f64_f32', [s.result(s.numbers(rows * 9, -20, 20), rows * 9), s.specials(rows * 75), s.numbers(9 * 75, -20, 20), 75, 9, 70, accumulate], rows]]),
  gemm_exact_sum_f32: s => each([8, 120], spread => {
    const [M, N, K] = [rows, 9, 75], a = s.numbers(M * K, -spread, spread), b = s.specials(N * K), ea = s.outWords(M * 3), eb = s.outWords(N * 3)
    return [['exact_extents_f32', [ea, a, K], M], ['exact_extents_f32', [eb, b, K], N], ['gemm_exact_sum_f32', [s.outWords(M * N), a, ea, b, eb, N, K], M]]
  }),
  mma_epilogue: s => each([0, 1], half => each([0, 1, 2], output => each([false, true], (withC): Call[] =>
    [['mma_epilogue', [s.outWords(n), half ? s.words(n, 65536) : s.specials(n), half, withC ? s.specials(n) : 0, withC ? 0.7 : 1, 1.3, output, 0x7fffffff], n]]))),
  mma_gst_fdpa: s => {
    const K = 128, side = (count: number) => {
      const halves = s.outWords(count * K / 4), scales = s.outWords(count * K / 16), flags = s.outWords(Math.ceil(count * K / 64 / 4))
      const call = (nibbles: 0 | 1): Call => ['mma_decode_groups', [halves, scales, flags, s.bytes(count * K, nibbles ? 256 : 16), nibbles, s.bytes(count * K / 16, 120), K, K, 16, 1], count]
      return { halves, scales, flags, call }
    }
    const a = side(rows), b = side(7)
    return [a.call(0), b.call(1), ['mma_gst_fdpa', [s.outWords(rows * 7), s.numbers(rows * 7), a.halves, a.scales, a.flags, b.halves, b.scales, b.flags, 7, 2, K, 2, 35, -143], rows]]
  },
  mma_gst_fast: s => each([8, 60] as const, spread => { // scales that spread little and much
    const [M, N, K] = [rows, columns, 200], side = (count: number, width: 4 | 16) => {
      const codes = s.bytes(count * K, 16), scales = s.bytes(count * 13, spread), packed = s.outWords(Math.ceil(count / width) * 4 * (48 * width + 16))
      const call: Call = ['mma_pack_fp4', [packed, codes, 0, scales, count, K, 16, 1, width], Math.ceil(count / width)]
      return { codes, scales, packed, call }
    }
    const a = side(M, 4), b = side(N, 16)
    return [a.call, b.call, ['mma_gst_fast', [s.outWords(M * N), s.numbers(M * N, -20, 20), a.packed, b.packed, a.codes, 0, a.scales, b.codes, 0, b.scales, M, N, K, 16, 1, 0, 4, -139], Math.ceil(N / 16)]]
  }),
}

/** The hash of each case: what `hashes()` gives on an engine in its ordinary mode. */
export const pins: Readonly<Record<string, number>> = {
  copy_f32: 0xffd803d3,
  elementwise: 0x8c170a75,
  elementary_f32: 0xacf36669,
  gemm_f32: 0x6cf0526f,
  'gemm_f32 of special values': 0x9d846152,
  gemm_exact_f32: 0x66266812,
  gemm_packed_f32: 0x6ada2361,
  gemm_packed_turn_f32: 0xdf606bfd,
  'gemm_exact_f32 of inexact products': 0x05e732dc,
  gemm_block: 0xc901998c,
  fake_quantize_rows: 0xa1d297b5,
  fake_quantize_columns: 0x79e28095,
  fake_quantize_random: 0xe142e0e5,
  fake_quantize_released: 0x8d55c8d5,
  fake_quantize_tiles: 0x87d187df,
  round_elements: 0x7894597d,
  hadamard: 0x3dc79da7,
  codes: 0xd5ccd224,
  'codes of whole blocks': 0x27288fe5,
  'codes of tiles': 0x8cd78006,
  casts: 0x6c062a47,
  nvfp4: 0x7fb4a01c,
  activation: 0x4d8a899d,
  swiglu: 0x05636bba,
  activation_table: 0x3654730d,
  norm: 0x3437e615,
  arrange: 0x33396b52,
  attention: 0x60d8678c,
  embedding: 0xd74020f6,
  mse_f32: 0xc984dce1,
  cross_entropy_f32: 0xdfbda971,
  optimizer: 0xcb265021,
  reductions: 0xa28a506b,
  philox: 0x5d419f02,
  mt19937: 0xfe7e43fc,
  mma: 0x49362d6c,
  mma_sums: 0xd27ae800,
  gemm_fused_f32: 0x21044b2c,
  gemm_f64_f32: 0x8b75520b,
  gemm_exact_sum_f32: 0x7b2c770d,
  mma_epilogue: 0x295bbd9e,
  mma_gst_fdpa: 0x0bf1fe63,
  mma_gst_fast: 0xceb05955,
}
