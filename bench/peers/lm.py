"""A training step of the language model of bench/lm.mjs in torch, eager f32, timed here, driven by bench/peers/peers.mjs.

usage: lm.py THREADS; then one line of JSON in, {"ms": 40}, one out, {"least": seconds, "median": seconds}.
"""
import json
import os
import statistics
import sys
import time

threads = int(sys.argv[1])
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(threads)
try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(json.dumps({"error": str(error)}), flush=True)
    sys.exit()
torch.set_num_threads(threads)
print(json.dumps({"version": f"torch {torch.__version__}"}), flush=True)

D, L, H, T, B, V = 256, 4, 4, 256, 8, 256
HEAD = D // H


def norm():
    return torch.nn.LayerNorm(D, bias=False)


def linear(inputs, outputs):
    return torch.nn.Linear(inputs, outputs, bias=False)


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attn_norm, self.q_norm, self.k_norm, self.ff_norm = norm(), norm(), norm(), norm()
        self.att_proj, self.attn_out, self.ff_proj, self.ff_out = linear(D, 3 * D), linear(D, D), linear(D, 4 * D), linear(4 * D, D)

    def forward(self, x, cos, sin):
        q, k, v = self.att_proj(self.attn_norm(x)).split(D, dim=-1)
        q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (t.view(B, T, H, HEAD).transpose(1, 2) for t in (q, k, v))
        o = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.attn_out(o.transpose(1, 2).reshape(B, T, D))
        return x + self.ff_out(F.gelu(self.ff_proj(self.ff_norm(x))))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.blocks, self.ln_f, self.head = torch.nn.Embedding(V, D), torch.nn.ModuleList(Block() for _ in range(L)), norm(), linear(D, V)
        angles = torch.outer(torch.arange(T).float(), 10000.0 ** (-torch.arange(0, HEAD, 2).float() / HEAD))
        self.cos, self.sin = (torch.cat((f(angles), f(angles)), dim=-1) for f in (torch.cos, torch.sin))

    def forward(self, tokens):
        x = self.wte(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.head(self.ln_f(x))


torch.manual_seed(0)
model = Model()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), eps=1e-15, weight_decay=0)
tokens = torch.randint(0, V, (B, T))


def step():
    optimizer.zero_grad(set_to_none=True)
    logits = model(tokens)
    F.cross_entropy(logits[:, :-1].reshape(-1, V), tokens[:, 1:].reshape(-1)).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


step()
for line in sys.stdin:
    times = []
    end = time.perf_counter() + json.loads(line)["ms"] / 1000
    while len(times) < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    print(json.dumps({"least": min(times), "median": statistics.median(times)}), flush=True)
