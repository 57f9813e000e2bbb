"""Tensors between Python and blockscale: safetensors files with numpy alone, and the command line. Used by the other examples; copy what you need.

FP8, FP6, FP4 and bf16 have no numpy type: they are codes (uint8, uint16), and `decode` gives their values. torch tensors go through `.cpu().numpy()`.
"""
import json
import os
import shlex
import subprocess

import numpy as np

DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "U8": np.uint8, "I8": np.int8, "F8_E4M3": np.uint8, "F8_E5M2": np.uint8, "F8_E8M0": np.uint8, "F4": np.uint8}
# Exponent and fraction bits of the formats that are decoded here.
LAYOUTS = {"e4m3": (4, 3), "e5m2": (5, 2), "e3m2": (3, 2), "e2m3": (2, 3), "e2m1": (2, 1), "bf16": (8, 7)}


def blockscale(*arguments, check=True):
    """Run the command line (`npx blockscale`, or what the variable BLOCKSCALE says); its standard output and exit code."""
    command = shlex.split(os.environ.get("BLOCKSCALE", "npx blockscale"))
    done = subprocess.run([*command, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if check and done.returncode != 0:
        raise SystemExit(done.returncode)
    return done.stdout, done.returncode


def load(path):
    """Arrays of a safetensors file by name, and its metadata. FP4 comes unpacked, one code per byte."""
    with open(path, "rb") as file:
        raw = file.read()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    metadata = header.pop("__metadata__", {})
    arrays = {}
    for name, entry in header.items():
        begin, end = (start + at for at in entry["data_offsets"])
        data = np.frombuffer(raw[begin:end], DTYPES[entry["dtype"]])
        if entry["dtype"] == "F4":
            data = np.stack([data & 15, data >> 4], axis=-1)
        arrays[name] = data.reshape(entry["shape"])
    return arrays, metadata


def save(path, arrays, dtypes={}):
    """Write arrays by name; `dtypes` says what codes are ("F8_E4M3", "BF16"), where numpy's type does not."""
    header, parts, at = {}, [], 0
    for name, array in sorted(arrays.items(), key=lambda item: -item[1].itemsize):
        array = np.ascontiguousarray(array)
        dtype = dtypes.get(name) or next(key for key, kind in DTYPES.items() if kind == array.dtype)
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        parts.append(array.tobytes())
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(parts))


def decode(codes, format):
    """Values of codes as float32 (exact). E4M3 has a NaN and no Inf, E5M2 and bf16 both, the narrower formats neither."""
    if format == "fp16":
        return codes.astype(np.float32)
    if format == "tf32":
        return (codes.view(np.uint32) & 0xFFFFE000).view(np.float32)
    exponent_bits, fraction_bits = LAYOUTS[format]
    codes = codes.astype(np.int64)
    bias, fraction, field = 2 ** (exponent_bits - 1) - 1, codes & (2**fraction_bits - 1), codes >> fraction_bits & (2**exponent_bits - 1)
    magnitude = np.ldexp(np.where(field == 0, fraction, fraction + 2**fraction_bits).astype(np.float64), np.maximum(field, 1) - bias - fraction_bits)
    if format in ("e5m2", "bf16"):
        magnitude = np.where(field == 2**exponent_bits - 1, np.where(fraction == 0, np.inf, np.nan), magnitude)
    if format == "e4m3":
        magnitude = np.where((field == 15) & (fraction == 7), np.nan, magnitude)
    return np.where(codes >> (exponent_bits + fraction_bits) == 1, -magnitude, magnitude).astype(np.float32)


def decode_scales(scales, format):
    """Values of scale bytes as float32: E8M0 is 2^(byte - 127), 255 is NaN; UE4M3 is E4M3 without its sign."""
    if format == "e8m0":
        return np.where(scales == 255, np.nan, np.ldexp(1.0, scales.astype(np.int64) - 127)).astype(np.float32)
    return decode(scales & 127, "e4m3")
