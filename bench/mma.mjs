// Modelled matrix units: D = A B^T of n x n normal values, quantized with the unit's block scales, decoding and packing of both operands included, beside the strict
// f32 product of the same size.
import { blockQuantizer } from '../dist/numerics/profiles.js'
import { mmaConfig } from '../dist/numerics/mma.js'
import { nvfp4Profiles } from '../dist/numerics/nvfp4.js'
import { codesTensor, encodeElements, quantizeCodes } from '../dist/ops/codes.js'
import { castPolicies } from '../dist/numerics/cast.js'
import { formats } from '../dist/numerics/formats.js'
import { gemm } from '../dist/ops/gemm.js'
import { decodeOperand, freeOperand, mma } from '../dist/ops/mma.js'
import { nvfp4TensorScale, quantizeNvfp4 } from '../dist/ops/nvfp4.js'
import { normal } from '../dist/ops/random.js'
import { Program } from '../dist/runtime/program.js'

/** Model, element format if not its first. */
const units = [
  ['blackwell-mxf8f6f4', 'e4m3'], ['blackwell-mxf8f6f4', 'e5m2'], ['blackwell-mxf8f6f4', 'e2m3'], ['blackwell-mxf4', 'e2m1'], ['blackwell-mxf4nvf4', 'e2m1'],
  ['blackwell-f8f6f4', 'e4m3'], ['blackwell-bf16', 'bf16'], ['ampere-f16', 'fp16'], ['hopper-fp8', 'e4m3'], ['blackwell-fp8-mma', 'e4m3'],
]

const source = ({ arena }, stream) => ({ seed: 1n, stream, stepPtr: arena.allocBytes(8) })

/** Codes and scales of n x n normal values, as the unit takes them. */
function operand(executor, config, side, n, seed) {
  const { arena } = executor, p = new Program(arena), x = arena.tensor(n, n), format = config[side], { scale } = config
  const codes = codesTensor(arena, [n, n], formats[format].bits > 8 ? 2 : 1)
  const scales = scale && codesTensor(arena, [n, Math.ceil(n / scale.block)])
  normal(p, x, source(executor, seed))
  if (scale?.format === 'ue4m3') {
    const tensorScale = arena.tensor(1)
    nvfp4TensorScale(p, x, tensorScale, 'te')
    quantizeNvfp4(p, x, { codes, scales }, 1, nvfp4Profiles['te-nvfp4'], tensorScale)
  } else if (scale) quantizeCodes(p, x, codes, scales, 1, blockQuantizer('ocp', format))
  else encodeElements(p, x, codes, format, castPolicies['ptx-satfinite'])
  executor.runSync(p)
  return { ptr: codes.ptr, rows: n, K: n, ...scale && { scales: scales.ptr } }
}

export async function benches({ inline }) {
  const figures = [], { arena } = inline
  for (const n of [256, 512, 1024]) {
    const task = `mma/${n}`, flop = { unit: 'GFLOP/s', work: 2 * n ** 3, task }
    const f32 = new Program(arena), [a, b, c] = [arena.tensor(n, n), arena.tensor(n, n), arena.tensor(n, n)]
    const fill = new Program(arena)
    for (const [i, x] of [a, b].entries()) normal(fill, x, source(inline, i))
    inline.runSync(fill)
    gemm(f32, { a, b, c })
    figures.push({ ...flop, name: `mma/strict f32/${n}`, run: () => inline.runSync(f32) })
    for (const [model, format] of n === 256 ? units : units.filter(([model]) => model.includes('-mx'))) {
      const config = mmaConfig(model, { a: format }), p = new Program(arena)
      const x = operand(inline, config, 'a', n, 1), y = operand(inline, config, 'b', n, 2)
      const px = decodeOperand(p, config, 'a', x), py = decodeOperand(p, config, 'b', y)
      mma(p, config, px, py, c)
      freeOperand(p, px)
      freeOperand(p, py)
      figures.push({ ...flop, name: `mma/${model} ${format}/${n}`, beside: `mma/strict f32/${n}`, besides: 'strict f32', run: () => inline.runSync(p) })
    }
  }
  return figures
}
