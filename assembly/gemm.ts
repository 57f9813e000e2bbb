// f32 matrix product C[M,N] = A[M,K] B[K,N] (+ C), strict: each output is one sequential sum over k, product rounded, then sum rounded (the naive
// triple loop, src/oracle/gemm.ts). Operands are strided views, so every orientation of a backward pass is one kernel.
//
// Items: PANEL-wide panels along the longer of N and M, for each matrix of the batch in turn (src/ops/gemm.ts computes the same count).

/** Columns (N >= M) or rows (M > N) of one item. */
export const PANEL = 16

/**
 * Strides are in elements; C's rows are contiguous. `batch` is 0 for a single product, else points at u32 triples: the byte offsets of A, B and C
 * for each product of the batch. `accumulate` != 0 starts every sum from C instead of +0.
 */
export function gemm_f32(
  a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, c: usize, cRow: i32,
  M: i32, N: i32, K: i32, accumulate: i32, batch: usize, begin: i32, end: i32,
): void {
  const byColumns = N >= M
  const length = byColumns ? N : M
  const panels = (length + PANEL - 1) / PANEL
  while (begin < end) {
    const product = begin / panels
    const first = begin - product * panels
    const last = min(panels, end - product * panels)
    const entry = batch + <usize>product * 12
    const pa = batch ? a + <usize>load<u32>(entry) : a
    const pb = batch ? b + <usize>load<u32>(entry, 4) : b
    const pc = batch ? c + <usize>load<u32>(entry, 8) : c
    const from = first * PANEL
    const to = min(length, last * PANEL)
    if (byColumns) block(pa, aRow, aCol, pb + (<usize>(from * bCol) << 2), bRow, bCol, pc + (<usize>from << 2), cRow, M, to - from, K, accumulate)
    else block(pa + (<usize>(from * aRow) << 2), aRow, aCol, pb, bRow, bCol, pc + (<usize>(from * cRow) << 2), cRow, to - from, N, K, accumulate)
    begin = product * panels + last
  }
}

/** As gemm_f32; a caller chooses it when products are exact in f32, so that the relaxed module may replace it by fused multiply-adds. */
export function gemm_exact_f32(
  a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, c: usize, cRow: i32,
  M: i32, N: i32, K: i32, accumulate: i32, batch: usize, begin: i32, end: i32,
): void {
  gemm_f32(a, aRow, aCol, b, bRow, bCol, c, cRow, M, N, K, accumulate, batch, begin, end)
}

function block(a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, c: usize, cRow: i32, M: i32, N: i32, K: i32, accumulate: i32): void {
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      const out = c + (<usize>(m * cRow + n) << 2)
      let sum: f32 = accumulate ? load<f32>(out) : 0
      for (let k = 0; k < K; k++) sum += load<f32>(a + (<usize>(m * aRow + k * aCol) << 2)) * load<f32>(b + (<usize>(k * bRow + n * bCol) << 2))
      store<f32>(out, sum)
    }
  }
}
