// Activation functions: y = f(x) and dx = dy f'(x), everything the backward pass needs recomputed from x.
//   exact         f32; gelu = x Phi(x), the erf form
//   bf16          microxcaling's chain (7bc4195, mx/activations.py): every primitive step rounded to bf16; its gelu is
//                 x sigmoid(1.59375 (x + 0.044677734 x^3)). `backward: 'fp32'` leaves the backward's own steps unrounded (quantize_backprop = False)
//   sigmoid-form  that gelu formula in plain f32, forward and backward; every other function as exact
// swiglu is gated: x [R, 2h] = (a, b) row by row, y [R, h] = a silu(b), the mode applies to silu and the product is plain f32.
import { UsageError, lookup } from '../errors.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import { chainCode, type ChainRounding } from './rounding.ts'
import { ELEMENT_GRAIN, hasSize, matrixShape, rowGrain, sameSize } from './shapes.ts'

/** Kind codes of assembly/activation.ts. `gelu-first-order`: x sigmoid(1.703125 x), in the bf16 and sigmoid-form modes only. */
const kinds = { linear: 0, relu: 1, relu6: 2, leaky_relu: 3, gelu: 4, silu: 5, sigmoid: 6, tanh: 7, 'gelu-first-order': 8 } as const
export type ActivationName = keyof typeof kinds

export type ActivationMode =
  | { readonly kind: 'exact' }
  | { readonly kind: 'bf16', readonly rounding: ChainRounding, readonly backward: 'bf16' | 'fp32' }
  | { readonly kind: 'sigmoid-form' }

const EXACT = 3
const forwardCode = (mode: ActivationMode): number => mode.kind === 'exact' ? EXACT : mode.kind === 'sigmoid-form' ? chainCode.none : chainCode[mode.rounding]
const backwardCode = (mode: ActivationMode): number => mode.kind === 'bf16' && mode.backward === 'bf16' ? chainCode[mode.rounding] : chainCode.none

function kindCode(name: ActivationName, mode: ActivationMode): number {
  const kind = lookup<number>(kinds, name, 'activation')
  if (name === 'gelu-first-order' && mode.kind === 'exact') throw new UsageError('activation gelu-first-order has no exact mode: use bf16 or sigmoid-form')
  return kind
}

type Chain = ActivationMode & { readonly kind: 'bf16' }

/** Functions costly enough to be worth a table in the bf16 chain, where they depend on 65,536 inputs alone (assembly/activation-table.ts). */
const tabled: readonly string[] = ['gelu', 'gelu-first-order', 'silu', 'sigmoid', 'tanh']
const ENTRIES = 65536

/** Tables that a program has built so far. They are temporaries of the program, made anew in each run, because programs may share memory. */
const tablesOf = new WeakMap<Program, Map<string, Tensor>>()

/** Is the table of values, or of derivative factors, worth building for a tensor of n elements? A plain f32 backward of gelu reads x unrounded and has none. */
function hasTable(name: ActivationName, mode: ActivationMode, n: number, what: 'values' | 'factors'): mode is Chain {
  return mode.kind === 'bf16' && n >= ENTRIES && tabled.includes(name) && (what === 'values' || mode.backward === 'bf16' || !name.startsWith('gelu'))
}

/** The table, built by calls emitted here where the program first needs it. */
function table(p: Program, name: ActivationName, mode: Chain, what: 'values' | 'factors'): number {
  const tables = tablesOf.get(p) ?? new Map<string, Tensor>(), key = [name, mode.rounding, what === 'factors' && mode.backward, what].join()
  tablesOf.set(p, tables)
  let t = tables.get(key)
  if (!t) {
    const every = p.temp(ENTRIES)
    tables.set(key, t = what === 'values' ? every : p.temp(ENTRIES))
    p.emit('bf16_values_f32', [every.ptr], ENTRIES, ELEMENT_GRAIN)
    if (what === 'values') p.emit('activation_forward', [kinds[name], forwardCode(mode), 0, every.ptr, t.ptr], ENTRIES, 4096)
    else {
      p.emit('fill_f32', [t.ptr, 1], ENTRIES, ELEMENT_GRAIN)
      p.emit('activation_backward', [kinds[name], forwardCode(mode), backwardCode(mode), 0, every.ptr, t.ptr, t.ptr], ENTRIES, 4096)
      p.free(every)
    }
  }
  return t.ptr
}

/** Emit y = f(x). Shapes equal; swiglu: x [R, 2h], y [R, h]. y may be x (not for swiglu). `slope`: leaky_relu's. */
export function activationForward(p: Program, name: ActivationName | 'swiglu', mode: ActivationMode, { x, y }: { x: Tensor, y: Tensor }, slope = 0.01): void {
  if (name === 'swiglu') {
    const [rows, width] = matrixShape(y)
    hasSize('swiglu', 'x', x, 2 * rows * width)
    if (hasTable('silu', mode, rows * width, 'values')) p.emit('swiglu_table_forward', [table(p, 'silu', mode, 'values'), forwardCode(mode), x.ptr, y.ptr, width], rows, rowGrain(width), { bytes: 12 * rows * width })
    else p.emit('swiglu_forward', [forwardCode(mode), x.ptr, y.ptr, width], rows, rowGrain(width), { bytes: 12 * rows * width })
    return
  }
  const kind = kindCode(name, mode), n = sameSize(name, { x, y })
  if (hasTable(name, mode, n, 'values')) p.emit('activation_table_forward', [table(p, name, mode, 'values'), forwardCode(mode), x.ptr, y.ptr], n, ELEMENT_GRAIN, { bytes: 8 * n })
  else p.emit('activation_forward', [kind, forwardCode(mode), slope, x.ptr, y.ptr], n, ELEMENT_GRAIN, { bytes: 8 * n })
}

/** Emit dx = dy f'(x) from the forward's input x. dx may be dy (not for swiglu: dx [R, 2h], dy [R, h]). */
export function activationBackward(p: Program, name: ActivationName | 'swiglu', mode: ActivationMode, { x, dy, dx }: { x: Tensor, dy: Tensor, dx: Tensor }, slope = 0.01): void {
  const codes = [forwardCode(mode), backwardCode(mode)] as const
  if (name === 'swiglu') {
    const [rows, width] = matrixShape(dy)
    hasSize('swiglu', 'x', x, 2 * rows * width)
    hasSize('swiglu', 'dx', dx, 2 * rows * width)
    if (hasTable('silu', mode, rows * width, 'factors')) {
      p.emit('swiglu_table_backward', [table(p, 'silu', mode, 'values'), table(p, 'silu', mode, 'factors'), ...codes, x.ptr, dy.ptr, dx.ptr, width], rows, rowGrain(width), { bytes: 20 * rows * width })
    } else p.emit('swiglu_backward', [...codes, x.ptr, dy.ptr, dx.ptr, width], rows, rowGrain(width), { bytes: 20 * rows * width })
    return
  }
  const kind = kindCode(name, mode), n = sameSize(name, { x, dy, dx })
  if (hasTable(name, mode, n, 'factors')) p.emit('activation_table_backward', [table(p, name, mode, 'factors'), ...codes, x.ptr, dy.ptr, dx.ptr], n, ELEMENT_GRAIN, { bytes: 12 * n })
  else p.emit('activation_backward', [kind, ...codes, slope, x.ptr, dy.ptr, dx.ptr], n, ELEMENT_GRAIN, { bytes: 12 * n })
}
