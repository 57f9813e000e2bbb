"""f32 matrix products through torch or numpy, timed here, driven by bench/peers/peers.mjs.

usage: gemm.py torch|numpy THREADS; then one line of JSON in, {"n": 512, "ms": 40}, one out, {"least": seconds, "median": seconds}.
"""
import json
import os
import statistics
import sys
import time

library, threads = sys.argv[1], int(sys.argv[2])
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = str(threads)
try:
    if library == "torch":
        import torch

        torch.set_num_threads(threads)
        version = f"torch {torch.__version__}"
    else:
        import numpy

        version = f"numpy {numpy.__version__}"
except ImportError as error:
    print(json.dumps({"error": str(error)}), flush=True)
    sys.exit()
print(json.dumps({"version": version}), flush=True)

made = {}


def product(n):
    """A function that multiplies two n x n matrices into a third."""
    if library == "torch":
        a, b, c = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
        return lambda: torch.mm(a, b, out=c)
    generator = numpy.random.default_rng(0)
    a, b = (generator.standard_normal((n, n), dtype=numpy.float32) for _ in range(2))
    c = numpy.empty((n, n), dtype=numpy.float32)
    return lambda: numpy.matmul(a, b, out=c)


for line in sys.stdin:
    question = json.loads(line)
    n = question["n"]
    if n not in made:
        made[n] = product(n)
        made[n]()
    times = []
    end = time.perf_counter() + question["ms"] / 1000
    while len(times) < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        made[n]()
        times.append(time.perf_counter() - start)
    print(json.dumps({"least": min(times), "median": statistics.median(times)}), flush=True)
