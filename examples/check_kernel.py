"""Check a block-scaled matrix product on a GPU against conformance vectors, bit for bit.

1. Write vectors for the unit your kernel uses, starting from zero accumulators:
     npx blockscale vectors --model blackwell-mxf8f6f4 --count 1280 --seed 1 --steps 4 --start zero --out vectors.safetensors
2. Run this script where torch sees the GPU:
     python check_kernel.py vectors.safetensors
   It feeds the vectors to torch._scaled_mm (replace `kernel` by your own), writes mine.safetensors and calls `blockscale compare`.

Case i is row i of a with row i of b, so a tile of 128 cases is one product A B^T of which only the diagonal counts.
"""
import json
import subprocess
import sys

import torch

TORCH = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "F8_E8M0": torch.float8_e8m0fnu}


def load(path):
    """Tensors of a safetensors file and its metadata. FP4 comes as packed bytes, viewed as float4_e2m1fn_x2 with half as many columns."""
    raw = open(path, "rb").read()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + at for at in entry["data_offsets"])
        data = torch.frombuffer(bytearray(raw[begin:end]), dtype=torch.uint8)
        shape = list(entry["shape"])
        if entry["dtype"] == "F4":
            shape[-1] //= 2
            tensors[name] = data.view(torch.float4_e2m1fn_x2).reshape(shape)
        else:
            tensors[name] = data.view(TORCH[entry["dtype"]]).reshape(shape)
    return tensors, metadata


def swizzle(scales):
    """[rows, columns] block scales to the 128x4 tiles that cuBLAS takes: rows and columns are whole tiles here."""
    rows, columns = scales.shape
    return scales.view(rows // 128, 4, 32, columns // 4, 4).permute(0, 3, 2, 1, 4).contiguous().view(-1)


def kernel(a, b, scale_a, scale_b):
    """128 rows of a times 128 rows of b, transposed, f32 out. Replace this by the kernel under test."""
    return torch._scaled_mm(a, b.t(), scale_a=swizzle(scale_a), scale_b=swizzle(scale_b), out_dtype=torch.float32)


def save(path, name, tensor):
    """One f32 tensor as a safetensors file."""
    data = tensor.contiguous().cpu().numpy().tobytes()
    header = json.dumps({name: {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [0, len(data)]}}).encode()
    header += b" " * (-len(header) % 8)
    open(path, "wb").write(len(header).to_bytes(8, "little") + header + data)


def main(path):
    vectors, metadata = load(path)
    print(f"{metadata['model']} (confidence of the model: {metadata['confidence']}): {metadata['instruction']}")
    if vectors["c"].float().abs().max() != 0:
        sys.exit("this kernel takes no C: write the vectors with --start zero")
    count = len(vectors["d"])
    if count % 128 or vectors["scale_a"].shape[1] % 4:
        sys.exit("write a multiple of 128 vectors, and enough --steps for whole tiles of scales (4 columns)")
    gpu = {name: t.cuda() for name, t in vectors.items()}
    parts = []
    for i in range(0, count, 128):
        tile = {name: gpu[name][i:i + 128] for name in ("a", "b", "scale_a", "scale_b")}
        parts.append(kernel(**tile).diagonal())
    save("mine.safetensors", "d", torch.cat(parts))
    sys.exit(subprocess.call(["npx", "blockscale", "compare", f"{path}:d", "mine.safetensors:d"]))


if __name__ == "__main__":
    main(sys.argv[1])
