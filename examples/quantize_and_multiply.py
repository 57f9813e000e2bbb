"""Quantize tensors of torch or numpy as torchao does, and multiply them as a Blackwell tensor core does, from Python. Needs numpy; takes torch where it is installed.

     python quantize_and_multiply.py

Writes x.safetensors, calls `blockscale quantize`, `blockscale matmul` and `blockscale identify`, and reads codes, scales and products back.
"""
import json

import numpy as np
from tensors import blockscale, decode, decode_scales, load, save


def numbers(rows, columns, seed):
    """A float32 array; by torch, if it is here."""
    try:
        import torch
        return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).numpy()
    except ImportError:
        return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def main():
    a, b = numbers(48, 256, 1), numbers(32, 256, 2)
    save("x.safetensors", {"a": a, "b": b})

    values = {}
    for name in "ab":
        summary, _ = blockscale("quantize", f"x.safetensors:{name}", f"{name}.safetensors", "--profile", "torchao-rceil", "--format", "e4m3", "--json")
        summary = json.loads(summary)
        print(f"{name}: {summary['format']} with {summary['scales']} {summary['scale']} scales, {summary['source']}, verified against its {summary['verified']}")
        q, metadata = load(f"{name}.safetensors")
        scales = np.repeat(decode_scales(q["scales"], metadata["scale_format"]), int(metadata["block"]), axis=1)
        values[name] = decode(q["codes"], metadata["format"]) * scales

    product, _ = blockscale("matmul", "a.safetensors", "b.safetensors", "d.safetensors:d", "--accumulate", "blackwell-mxf8f6f4", "--json")
    model = json.loads(product)["model"]
    print(f"product: {model['name']}, confidence of the model: {model['confidence']}")
    d = load("d.safetensors")[0]["d"]

    exact = values["a"].astype(np.float64) @ values["b"].astype(np.float64).T
    print(f"largest difference from the exact product of the quantized values: {np.abs(d - exact).max():.2e}; from that of the numbers: {np.abs(d - a.astype(np.float64) @ b.T).max():.2e}")

    found, code = blockscale("identify", "a.safetensors", "b.safetensors", "d.safetensors:d", "--json", check=False)
    print(f"identify: {json.loads(found)['explanations'][0]['candidate']['accumulate']}, exit code {code}")


if __name__ == "__main__":
    main()
