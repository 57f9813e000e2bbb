// The parameters of a model as one flat f32 vector, so that an optimizer step, a gradient norm or a comparison of two gradients is one call over
// it. Every tensor starts on a 64-byte boundary; the gaps hold zeros in values, gradients and moments alike, and zeros stay zeros under every update.
import { size, type Arena, type Tensor } from '../runtime/memory.ts'
import { UsageError } from '../errors.ts'

export interface ParameterShape {
  readonly name: string
  readonly shape: readonly number[]
  /** Statistics are reported per group ("layers.0.fc1"). */
  readonly group: string
}

interface Slot extends ParameterShape { readonly offset: number }

/** Where each parameter lies in a flat vector of `total` f32 elements. */
export class ParameterLayout {
  readonly slots: readonly Slot[]
  readonly total: number
  /** Parameters proper, without alignment gaps. */
  readonly count: number
  readonly #byName: ReadonlyMap<string, Slot>

  constructor(shapes: readonly ParameterShape[]) {
    let offset = 0
    this.slots = shapes.map(s => {
      const slot = { ...s, offset }
      offset += Math.ceil(size(s.shape) / 16) * 16
      return slot
    })
    this.total = offset
    this.count = shapes.reduce((n, s) => n + size(s.shape), 0)
    this.#byName = new Map(this.slots.map(s => [s.name, s]))
  }

  slot(name: string): Slot {
    const slot = this.#byName.get(name)
    if (!slot) throw new UsageError(`unknown parameter ${JSON.stringify(name)}: the model has ${this.slots.map(s => s.name).join(', ')}`)
    return slot
  }
}

/** One flat vector laid out as the parameters are: values, gradients or an optimizer's moments. */
export class ParameterVector {
  readonly layout: ParameterLayout
  readonly flat: Tensor

  /** Reserve and zero a vector of `layout` in `arena`. */
  constructor(arena: Arena, layout: ParameterLayout) {
    this.layout = layout
    this.flat = arena.tensor(layout.total)
    arena.f32(this.flat).fill(0)
  }

  /** The part that belongs to one parameter. */
  get(name: string): Tensor {
    const { offset, shape } = this.layout.slot(name)
    return { ptr: this.flat.ptr + offset * 4, shape }
  }

  /** All parameters as named arrays, copied out of the arena (for a checkpoint or a hash). */
  export(arena: Arena): Map<string, { shape: readonly number[], values: Float32Array }> {
    return new Map(this.layout.slots.map(({ name, shape }) => [name, { shape, values: arena.f32(this.get(name)).slice() }]))
  }

  /** Overwrite all parameters. Throws UsageError if a name is missing or unknown, or a shape differs. */
  import(arena: Arena, named: ReadonlyMap<string, { shape: readonly number[], values: ArrayLike<number> }>): void {
    for (const { name, shape } of this.layout.slots) {
      const given = named.get(name)
      if (!given) throw new UsageError(`parameter ${name} is missing`)
      if (given.shape.join() !== shape.join()) throw new UsageError(`parameter ${name} has shape [${given.shape}], the model needs [${shape}]`)
      arena.f32(this.get(name)).set(given.values)
    }
    for (const name of named.keys()) this.layout.slot(name)
  }
}
