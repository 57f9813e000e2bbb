"""A training step of the student of bench/step.mjs in torch f32, or quantized by microxcaling, timed here, driven by bench/peers/peers.mjs.

Forward, mean squared error, backward and Adam on one fixed batch; no teacher, and no drawing of inputs, which the step it is compared with has in it.
microxcaling as arXiv 2506.20752 uses it: linear layers in E4M3 with blocks of 32 both ways, bfloat16 vector operations in them and in the layer norm.

usage: step.py torch|microxcaling THREADS; then one line of JSON in, {"width": 128, "depth": 4, "batch": 256, "ms": 40}, one out, {"least": seconds, "median": seconds}.
"""
import json
import os
import statistics
import sys
import time

library, threads = sys.argv[1], int(sys.argv[2])
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(threads)
try:
    import torch

    version = f"torch {torch.__version__}"
    if library == "microxcaling":
        import mx

        specs = mx.finalize_mx_specs({
            "w_elem_format": "fp8_e4m3", "a_elem_format": "fp8_e4m3", "block_size": 32, "scale_bits": 8, "bfloat": 16, "custom_cuda": False, "quantize_backprop": True,
        })
        version = f"microxcaling on {version}"
except ImportError as error:
    print(json.dumps({"error": str(error)}), flush=True)
    sys.exit()
torch.set_num_threads(threads)
print(json.dumps({"version": version}), flush=True)


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        if library == "microxcaling":
            self.ln = mx.LayerNorm(width, mx_specs=specs)
            self.fc1, self.fc2 = mx.Linear(width, 4 * width, bias=False, mx_specs=specs), mx.Linear(4 * width, width, mx_specs=specs)
        else:
            self.ln = torch.nn.LayerNorm(width)
            self.fc1, self.fc2 = torch.nn.Linear(width, 4 * width, bias=False), torch.nn.Linear(4 * width, width)

    def forward(self, x):
        return x + self.fc2(torch.nn.functional.gelu(self.fc1(self.ln(x))))


def student(width, depth, batch):
    """A function that does one step."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(Block(width) for _ in range(depth)))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, target = torch.randn(batch, width), torch.randn(batch, width)

    def step():
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.mse_loss(model(x), target).backward()
        optimizer.step()

    return step


made = {}
for line in sys.stdin:
    question = json.loads(line)
    size = question["width"], question["depth"], question["batch"]
    if size not in made:
        made[size] = student(*size)
        made[size]()
    times = []
    end = time.perf_counter() + question["ms"] / 1000
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        made[size]()
        times.append(time.perf_counter() - start)
    print(json.dumps({"least": min(times), "median": statistics.median(times)}), flush=True)
