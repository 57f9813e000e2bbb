// In which order the K products of an output may have been added: one chain, parts added one after the other (split-K, promotion, accumulators in turn), or a
// binary tree over parts or over single products. Data, and the trees.

/**
 * How partial sums are added. `in turn`: ((p0 + p1) + p2) + ... The trees, each level in f32: `neighbours` (p0 + p1) + (p2 + p3), an odd one out goes up unchanged;
 * `strided` (p0 + p2) + (p1 + p3), halves folded onto each other, as warps and SIMD registers are reduced; `halved` for any number: the sum of the first half plus that of the rest. `numpy`: as numpy adds a row,
 * halves down to 128, of which eight accumulators each take every eighth.
 */
export type Tree = 'in turn' | 'neighbours' | 'strided' | 'halved' | 'numpy'

/** Partial sums in SIMD registers of `width` lanes: the registers are added to one, then its lanes. */
export interface Registers { readonly width: number, readonly registers: 'in turn' | 'neighbours', readonly lanes: 'in turn' | 'strided' }

/** An order of summation: steps of k taken in `order` (null: as they are), summed in parts of `part` (null: one sum), which are then added as `tree` says. */
export interface KOrder { readonly label: string, readonly order: readonly number[] | null, readonly part: number | null, readonly tree: Tree | Registers }

/** from, from + 1, ... to - 1. */
export const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)
const words: Record<Tree, string> = { 'in turn': 'in order', 'neighbours': 'as a binary tree of neighbours', 'strided': 'as a binary tree of halves folded', 'halved': 'as a binary tree of halves', 'numpy': 'as numpy does (eight accumulators per 128, then a binary tree)' }

/** Registers that hold n accumulators: of 4, 8 and 16 lanes, two or more. What is one tree over all n is left out. */
const registersOf = (n: number): Registers[] => [4, 8, 16].filter(width => n >= 2 * width).flatMap(width => (['in turn', 'neighbours'] as const).filter(r => r === 'in turn' || n > 2 * width).flatMap(registers =>
  (['in turn', 'strided'] as const).filter(lanes => lanes === 'in turn' || n > 2 * width).map(lanes => ({ width, registers, lanes }))))
const describe = (tree: Tree | Registers, n: number): string => typeof tree === 'string' ? words[tree] : `as ${n / tree.width} registers of ${tree.width} lanes, registers ${words[tree.registers]}, then lanes ${words[tree.lanes]}`

/** The one of equal trees over n parts that stands for them. */
const sameTree = (n: number, tree: Tree): Tree => n <= 2 ? 'in turn' : tree === 'halved' && Number.isInteger(Math.log2(n)) ? 'neighbours' : tree

/**
 * Orders in which K may be summed in steps of `step`: in order, in equal parts (split-K, promotion), backwards, by several accumulators in turn, pairwise. Each
 * partition once. `parts`: may partial sums be formed? `single`: may each product be a part (f32 sums of rounded products)?
 */
export function ordersOf(K: number, step: number, parts: boolean, single: boolean): KOrder[] {
  const steps = Math.ceil(K / step), out: KOrder[] = [{ label: 'in order of k', order: null, part: null, tree: 'in turn' }]
  if (steps < 2) return out
  const trees = (n: number): Tree[] => [...new Set((['neighbours', ...Number.isInteger(Math.log2(n)) ? ['strided'] : []] as Tree[]).map(t => sameTree(n, t)))].filter(t => t !== 'in turn')
  if (parts) {
    const lengths = new Map<number, string>(), few: number[] = []
    for (const n of [2, 3, 4, 5, 6, 7, 8, 16, 32, 64]) {
      const part = Math.ceil(steps / n) * step
      if (n > steps || part === 1 || lengths.has(part)) continue // parts of one k are the chain itself
      lengths.set(part, `in ${Math.ceil(K / part)} parts of ${part} k (split-K, or promotion after every ${part})`)
      few.push(part)
    }
    for (let part = Math.max(step, 2); part < K; part *= 2) if (!lengths.has(part)) lengths.set(part, `in parts of ${part} k (promotion after every ${part})`)
    for (const part of [32, 64, 96, 128, 192, 256, 320, 384, 448, 512, 640, 768]) if (part % step === 0 && part < K && !lengths.has(part)) lengths.set(part, `in parts of ${part} k (promotion after every ${part})`)
    for (const [part, label] of lengths) out.push({ label, order: null, part, tree: 'in turn' })
    for (const part of few) if (part > 2) for (const tree of trees(Math.ceil(K / part))) out.push({ label: `in ${Math.ceil(K / part)} parts of ${part} k (split-K), added ${words[tree]}`, order: null, part, tree })
  }
  if (single) for (const tree of new Set((['neighbours', ...Number.isInteger(Math.log2(K)) ? ['strided'] : ['halved'], ...K > 8 ? ['numpy'] : []] as Tree[]).map(t => sameTree(K, t)))) {
    if (tree !== 'in turn') out.push({ label: `pairwise: products ${words[tree].replace(/^as/, 'added as')}`, order: null, part: 1, tree })
  }
  if (K % step) return out
  const byStep = (list: readonly number[]) => list.flatMap(s => range(s * step, (s + 1) * step))
  out.push({ label: 'in reverse order of k', order: byStep(range(0, steps).reverse()), part: null, tree: 'in turn' })
  if (parts) for (const n of [2, 4, 8, 16, 32, 64]) {
    if (steps % n || steps === n) continue
    const order = byStep(range(0, n).flatMap(i => range(0, steps / n).map(j => j * n + i)))
    for (const tree of ['in turn' as const, ...trees(n), ...step === 1 ? registersOf(n) : []]) out.push({ label: `by ${n} accumulators in turn (${step === 1 ? 'k' : 'step'} mod ${n}), added ${describe(tree, n)}`, order, part: K / n, tree })
  }
  return out
}

/** The f32 sum of `parts`, which are overwritten, element by element. */
export function treeSum(parts: Float32Array[], tree: Tree | Registers): Float32Array {
  const add = (to: Float32Array, x: Float32Array) => { for (let i = 0; i < to.length; i++) to[i] = to[i]! + x[i]!; return to }
  if (tree === 'in turn') return parts.reduce(add)
  if (typeof tree !== 'string') return treeSum(Array.from({ length: tree.width }, (_, lane) => treeSum(parts.filter((_, i) => i % tree.width === lane), tree.registers)), tree.lanes)
  if (tree === 'numpy') {
    // pairwise_sum of numpy/_core/src/umath/loops_utils.h.src
    const row = (list: Float32Array[]): Float32Array => {
      const n = list.length
      if (n < 8) return list.reduce(add)
      if (n > 128) { const half = (n >> 1) - (n >> 1) % 8; return add(row(list.slice(0, half)), row(list.slice(half))) }
      const r = list.slice(0, 8), whole = n - n % 8
      for (let i = 8; i < whole; i++) add(r[i % 8]!, list[i]!)
      return list.slice(whole).reduce(add, treeSum(r, 'neighbours'))
    }
    return row(parts)
  }
  const level = (list: Float32Array[]): Float32Array => {
    if (list.length === 1) return list[0]!
    const half = list.length >> 1
    if (tree === 'halved') return add(level(list.slice(0, half)), level(list.slice(half)))
    if (tree === 'strided') return level(list.slice(0, half).map((x, i) => add(x, list[half + i]!)))
    return level(Array.from({ length: half + (list.length & 1) }, (_, i) => 2 * i + 1 < list.length ? add(list[2 * i]!, list[2 * i + 1]!) : list[2 * i]!))
  }
  return level(parts)
}
