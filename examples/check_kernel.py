"""Check a matrix product against conformance vectors, bit for bit. Needs numpy; torch, if your kernel does.

1. Write vectors for the unit your kernel uses, starting from zero accumulators:
     npx blockscale vectors --model blackwell-mxf8f6f4 --count 1280 --seed 1 --steps 4 --start zero --out vectors.safetensors
2. Run this script, on the GPU through torch where there is one, else through numpy:
     python check_kernel.py vectors.safetensors [torch|numpy]
   It feeds the vectors to `torch_kernel` or `numpy_kernel` (replace them by your own), writes mine.safetensors, calls `blockscale compare` and ends with its
   exit code: 0 if every bit is right. numpy's float32 product is not what a tensor core computes, so it ends with 1 and says what differs.

Case i is row i of a with row i of b, so a tile of 128 cases is one product A B^T of which only the diagonal counts.
"""
import sys

import numpy as np
from tensors import blockscale, decode, decode_scales, load, save

TILE = 128


def numpy_kernel(a, b, scale_a, scale_b, formats, scale):
    """Rows of a times rows of b, transposed, in float32; block scales multiply the operands first."""
    def values(codes, scales, format):
        x = decode(codes, format)
        if scales is None:
            return x
        return x * np.repeat(decode_scales(scales, scale[0]), scale[1], axis=1)[:, : x.shape[1]]

    with np.errstate(all="ignore"):
        return values(a, scale_a, formats[0]) @ values(b, scale_b, formats[1]).T


def swizzle(scales):
    """[rows, columns] block scales to the 128x4 tiles that cuBLAS takes: rows and columns are whole tiles here."""
    rows, columns = scales.shape
    return scales.view(rows // 128, 4, 32, columns // 4, 4).permute(0, 3, 2, 1, 4).contiguous().view(-1)


def torch_kernel(a, b, scale_a, scale_b, formats, scale):
    """The same on the GPU: cuBLAS through torch._scaled_mm for FP8 and FP4, torch.mm for wider operands."""
    import torch

    types = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2, "bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32}

    def operand(codes, format):
        if format == "e2m1":
            return torch.from_numpy(codes[:, 0::2] | codes[:, 1::2] << 4).cuda().view(torch.float4_e2m1fn_x2)
        return torch.from_numpy(np.ascontiguousarray(codes)).cuda().view(types[format])

    def scales(codes):
        if codes is None:
            return torch.ones((), device="cuda")
        return swizzle(torch.from_numpy(codes).cuda().view(torch.float8_e8m0fnu if scale[0] == "e8m0" else torch.float8_e4m3fn))

    x, y = operand(a, formats[0]), operand(b, formats[1])
    if formats[0] in ("bf16", "fp16", "tf32"):
        torch.backends.cuda.matmul.allow_tf32 = True
        return (x @ y.t() if formats[0] == "tf32" else torch.mm(x, y.t(), out_dtype=torch.float32)).cpu().numpy()
    return torch._scaled_mm(x, y.t(), scale_a=scales(scale_a), scale_b=scales(scale_b), out_dtype=torch.float32).cpu().numpy()


def choose(name):
    """The kernel asked for; torch's where torch sees a GPU, if none is."""
    if name is None:
        try:
            import torch
            name = "torch" if torch.cuda.is_available() else "numpy"
        except ImportError:
            name = "numpy"
    return {"torch": torch_kernel, "numpy": numpy_kernel}[name]


def main(path, name=None):
    vectors, metadata = load(path)
    kernel = choose(name)
    print(f"{metadata['model']} (confidence of the model: {metadata['confidence']}): {metadata['instruction']}; checking {kernel.__name__}")
    if np.any(vectors["c"] != 0):
        sys.exit("this kernel takes no C: write the vectors with --start zero")
    count = len(vectors["d"])
    if count % TILE:
        sys.exit(f"write a multiple of {TILE} vectors")
    if kernel is torch_kernel and "scale_a" in vectors and vectors["scale_a"].shape[1] % 4:
        sys.exit("write vectors of enough --steps for whole tiles of scales (4 columns)")
    formats, scale = (metadata["a_format"], metadata["b_format"]), (metadata["scale_format"], int(metadata["block"]))
    parts = []
    for i in range(0, count, TILE):
        tile = [vectors[key][i : i + TILE] if key in vectors else None for key in ("a", "b", "scale_a", "scale_b")]
        parts.append(np.diagonal(kernel(*tile, formats, scale)))
    save("mine.safetensors", {"d": np.concatenate(parts).astype(vectors["d"].dtype)})
    report, code = blockscale("compare", f"{path}:d", "mine.safetensors:d", check=False)
    print(report, end="")
    sys.exit(code)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3 or sys.argv[2:] not in ([], ["torch"], ["numpy"]):
        sys.exit(__doc__)
    main(*sys.argv[1:])
