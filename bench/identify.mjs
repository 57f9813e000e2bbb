// identify: one candidate checked on every element of a dump (quantized on the kernels, compared bit for bit), for every quantizer profile and the forms of a dump;
// and the whole search over a 4096 x 4096 tensor, from numbers, codes and scales to the names of those that explain every bit.
import { identifyQuantizer } from '../dist/conformance/identify-quantizer.js'
import { QuantizerCheck } from '../dist/conformance/quantizer-check.js'
import { Core } from '../dist/core/core.js'
import { namedQuantizer, profileNotes } from '../dist/numerics/named-quantizers.js'

/** Values of many magnitudes, as in a trained layer. */
const numbers = n => Float32Array.from({ length: n }, (_, i) => (((Math.imul(i, 2654435761) >>> 8) & 0xffff) / 32768 - 1) * 2 ** (i * 7 % 11 - 6))

export async function benches({ inline, wanted }) {
  const core = new Core(inline), figures = [], shape = [2048, 1024], x = numbers(shape[0] * shape[1])
  const dumpOf = async (numbers, size, profile, format, axis, kind) => {
    const q = await core.quantize({ shape: size, data: numbers }, profile, { format, axis }), rows = size[0], cols = size[1]
    if (kind === 'values') return { shape: size, x: numbers, output: { kind, values: (await core.dequantize(q)).data } }
    return { shape: size, x: numbers, output: { kind: 'codes', codes: q.codes, formats: [q.format], scales: { bytes: q.scales, shape: axis === 0 ? [q.scales.length / cols, cols] : [rows, q.scales.length / rows], format: q.scale.format } } }
  }
  const add = async (profile, format, axis = 1, kind = 'codes') => {
    const name = `identify/${profile}/${format}${axis === 1 ? '' : '/columns'}${kind === 'codes' ? '' : '/values'}`
    if (!wanted({ name })) return
    const dump = await dumpOf(x, shape, profile, format, axis, kind), check = QuantizerCheck.of(inline, dump), quantizer = namedQuantizer(profile, { format })
    const candidate = { profile, quantizer, format, block: quantizer.kind === 'nvfp4' ? 16 : 32, axis: axis === 1 ? 2 : 1, layout: 'plain', hadamard: false, swapped: false }
    const { explained, checked } = await check.check(candidate)
    if (explained !== checked) throw new Error(`${profile} explains ${explained} of ${checked} elements of its own output`)
    figures.push({ name, unit: 'Gel/s', work: checked, task: `identify/${profile}/${format}/${axis}/${kind}`, run: () => check.check(candidate) })
  }
  for (const [profile, { formats }] of Object.entries(profileNotes)) await add(profile, formats ? formats.includes('e2m1') ? 'e2m1' : formats[0] : 'e4m3')
  await add('ocp', 'int8')
  await add('torchao-floor', 'e4m3', 0)
  await add('torchao-floor', 'e4m3', 1, 'values')
  await add('te-nvfp4', 'e2m1', 0)
  await add('te-nvfp4', 'e2m1', 1, 'values')
  const search = { name: 'identify/search/4096x4096', unit: 'ms', work: 1, task: 'identify/search' }
  if (wanted(search)) {
    const large = await dumpOf(numbers(4096 * 4096), [4096, 4096], 'torchao-rceil', 'e4m3', 1, 'codes')
    figures.push({ ...search, run: () => identifyQuantizer(inline, large) })
  }
  return figures
}
