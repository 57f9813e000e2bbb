// Every quantizer profile, for every format that it takes, along rows and down columns: to values (f32 to f32) and to codes with block scales.
import { formats } from '../dist/numerics/formats.js'
import { nvfp4Profiles } from '../dist/numerics/nvfp4.js'
import { blockProfileNotes, blockProfiles, blockQuantizer } from '../dist/numerics/profiles.js'
import { codesTensor, quantizeCodes, scaleShape } from '../dist/ops/codes.js'
import { nvfp4ScaleShape, nvfp4TensorScale, quantizeNvfp4 } from '../dist/ops/nvfp4.js'
import { fakeQuantize } from '../dist/ops/quantize.js'
import { normal } from '../dist/ops/random.js'
import { Program } from '../dist/runtime/program.js'

const SHAPE = [2048, 256]
const mx = ['e4m3', 'e5m2', 'e3m2', 'e2m3', 'e2m1', 'int8']

export async function benches({ inline }) {
  const { arena } = inline, figures = []
  const x = arena.tensor(...SHAPE), y = arena.tensor(...SHAPE), codes = codesTensor(arena, SHAPE), start = new Program(arena)
  normal(start, x, { seed: 1n, stream: 0, stepPtr: arena.allocBytes(8) })
  inline.runSync(start)
  const add = (name, emit) => {
    const p = new Program(arena)
    emit(p)
    figures.push({ name: `profiles/${name}`, task: 'profiles', unit: 'Gel/s', work: SHAPE[0] * SHAPE[1], bytes: 4, limit: 'copy', run: () => inline.runSync(p) })
  }
  for (const [axis, along] of [[1, 'rows'], [0, 'columns']]) {
    for (const profile of Object.keys(blockProfiles)) {
      for (const format of (blockProfileNotes[profile].formats ?? mx).filter(f => formats[f].bits <= 8)) {
        const q = blockQuantizer(profile, format), scales = codesTensor(arena, scaleShape(SHAPE, axis, q.blockSize))
        add(`${profile}/${format}/values/${along}`, p => fakeQuantize(p, x, y, axis, q))
        add(`${profile}/${format}/codes/${along}`, p => quantizeCodes(p, x, codes, scales, axis, q))
      }
    }
    for (const [profile, q] of Object.entries(nvfp4Profiles)) {
      const tensorScale = arena.tensor(1), scales = codesTensor(arena, nvfp4ScaleShape(SHAPE, axis)), p = new Program(arena)
      nvfp4TensorScale(p, x, tensorScale, q.recipe)
      inline.runSync(p)
      add(`${profile}/e2m1/values/${along}`, p => quantizeNvfp4(p, x, { values: y }, axis, q, tensorScale))
      add(`${profile}/e2m1/codes/${along}`, p => quantizeNvfp4(p, x, { codes, scales }, axis, q, tensorScale))
    }
  }
  return figures
}
