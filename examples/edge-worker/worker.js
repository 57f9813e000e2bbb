// A worker for Cloudflare, or any runtime whose handlers look like this: POST a safetensors file, get one back in which every f32 tensor is quantized in
// blocks along its last axis, as `NAME.codes` (one byte an element) and `NAME.scales` (E8M0).
//   curl --data-binary @weights.safetensors 'https://.../?profile=ocp&format=e4m3' > quantized.safetensors
import { Core, formatSafetensors, open, parseSafetensors, raw, typed, UsageError } from 'blockscale/edge'

/** safetensors has names for these; other codes travel as plain bytes. */
const dtypes = { e4m3: 'F8_E4M3', e5m2: 'F8_E5M2' }

let core

export default {
  async fetch(request) {
    try {
      core ??= new Core(await open())
      const { searchParams } = new URL(request.url)
      const profile = searchParams.get('profile') ?? 'ocp', format = searchParams.get('format') ?? 'e4m3'
      const { tensors } = parseSafetensors(new Uint8Array(await request.arrayBuffer()))
      const quantized = []
      for (const [name, tensor] of tensors) {
        if (tensor.dtype !== 'F32') throw new UsageError(`${name} is ${tensor.dtype}, this worker quantizes F32`)
        const { codes, scales, scale } = await core.quantize({ shape: tensor.shape, data: typed(tensor, Float32Array) }, profile, { format })
        const blocks = [...tensor.shape.slice(0, -1), Math.ceil(tensor.shape.at(-1) / scale.block)]
        quantized.push([`${name}.codes`, { ...raw(codes, tensor.shape), dtype: dtypes[format] ?? 'U8' }], [`${name}.scales`, { ...raw(scales, blocks), dtype: 'F8_E8M0' }])
      }
      return new Response(formatSafetensors(quantized, { profile, format }), { headers: { 'content-type': 'application/octet-stream' } })
    } catch (error) {
      return new Response(`${error.message}\n`, { status: error instanceof UsageError ? 400 : 500 })
    }
  },
}
