// Packing for the GEMM: a strided operand is copied into panels of W lanes, [kc][W], so that a register tile reads it in a straight line. Lanes are
// rows of A or columns of B; missing lanes of the last panel are zero.

/**
 * Pack `lanes` lanes of kc elements into ceil(lanes / W) panels, the first at `to`, each `panel` bytes after the one before. `lane` and `k` are the
 * source's strides in bytes between lanes and along k. Returns where the next panel would begin.
 */
export function pack(to: usize, W: i32, panel: usize, from: usize, lane: usize, k: usize, lanes: i32, kc: usize): usize {
  for (; lanes >= W; lanes -= W, from += <usize>W * lane, to += panel) {
    if (lane == 4) {
      if (W == 16) copy16(to, from, k, kc)
      else if (W == 8) copy8(to, from, k, kc)
      else copyLanes(to, W, from, k, kc)
    } else if (k == 4) transposeLanes(to, W, from, lane, W, kc)
    else gather(to, W, from, lane, k, W, kc)
  }
  if (lanes) {
    memory.fill(to, 0, kc * (<usize>W << 2))
    if (k == 4) transposeLanes(to, W, from, lane, lanes, kc)
    else gather(to, W, from, lane, k, lanes, kc)
    to += panel
  }
  return to
}

/** Any strides, one element at a time. */
function gather(to: usize, W: i32, from: usize, lane: usize, k: usize, lanes: i32, kc: usize): void {
  const step = <usize>W << 2
  for (let l = 0; l < lanes; l++, to += 4, from += lane) {
    let p = to, q = from
    for (let i: usize = 0; i < kc; i++, p += step, q += k) store<f32>(p, load<f32>(q))
  }
}

function copy16(to: usize, from: usize, k: usize, kc: usize): void {
  do {
    const x0 = v128.load(from), x1 = v128.load(from, 16), x2 = v128.load(from, 32), x3 = v128.load(from, 48)
    v128.store(to, x1, 16)
    v128.store(to, x0)
    v128.store(to, x3, 48)
    v128.store(to, x2, 32)
    to += 64
    from += k
  } while (--kc)
}

function copy8(to: usize, from: usize, k: usize, kc: usize): void {
  do {
    const x0 = v128.load(from), x1 = v128.load(from, 16)
    v128.store(to, x1, 16)
    v128.store(to, x0)
    to += 32
    from += k
  } while (--kc)
}

/** W = 4, 5 or 6 adjacent lanes. */
function copyLanes(to: usize, W: i32, from: usize, k: usize, kc: usize): void {
  const step = <usize>W << 2
  do {
    v128.store(to, v128.load(from))
    if (W == 6) store<u64>(to, load<u64>(from, 16), 16)
    else if (W == 5) store<f32>(to, load<f32>(from, 16), 16)
    to += step
    from += k
  } while (--kc)
}

/** `lanes` lanes, each contiguous along k: transposed four at a time, then two, then one. */
export function transposeLanes(to: usize, W: i32, from: usize, lane: usize, lanes: i32, kc: usize): void {
  for (; lanes >= 4; lanes -= 4, to += 16, from += 4 * lane) transpose4(to, <usize>W << 2, from, lane, kc)
  if (lanes >= 2) {
    transpose2(to, <usize>W << 2, from, lane, kc)
    lanes -= 2
    to += 8
    from += 2 * lane
  }
  if (lanes) gather(to, W, from, lane, 4, 1, kc)
}

function transpose4(to: usize, step: usize, r0: usize, lane: usize, kc: usize): void {
  const blocks = kc >> 2
  let r1 = r0 + lane, r2 = r1 + lane, r3 = r2 + lane
  for (let i: usize = 0; i < blocks; i++) {
    const x0 = v128.load(r0), x1 = v128.load(r1), x2 = v128.load(r2), x3 = v128.load(r3)
    const lo01 = v128.shuffle<f32>(x0, x1, 0, 4, 1, 5), lo23 = v128.shuffle<f32>(x2, x3, 0, 4, 1, 5)
    const hi01 = v128.shuffle<f32>(x0, x1, 2, 6, 3, 7), hi23 = v128.shuffle<f32>(x2, x3, 2, 6, 3, 7)
    v128.store(to, v128.shuffle<f32>(lo01, lo23, 0, 1, 4, 5))
    to += step
    v128.store(to, v128.shuffle<f32>(lo01, lo23, 2, 3, 6, 7))
    to += step
    v128.store(to, v128.shuffle<f32>(hi01, hi23, 0, 1, 4, 5))
    to += step
    v128.store(to, v128.shuffle<f32>(hi01, hi23, 2, 3, 6, 7))
    to += step
    r0 += 16
    r1 += 16
    r2 += 16
    r3 += 16
  }
  for (let i = blocks << 2; i < kc; i++) {
    store<f32>(to, load<f32>(r0))
    store<f32>(to, load<f32>(r1), 4)
    store<f32>(to, load<f32>(r2), 8)
    store<f32>(to, load<f32>(r3), 12)
    to += step
    r0 += 4
    r1 += 4
    r2 += 4
    r3 += 4
  }
}

function transpose2(to: usize, step: usize, r0: usize, lane: usize, kc: usize): void {
  const blocks = kc >> 2
  let r1 = r0 + lane
  for (let i: usize = 0; i < blocks; i++) {
    const x0 = v128.load(r0), x1 = v128.load(r1)
    const lo = v128.shuffle<f32>(x0, x1, 0, 4, 1, 5), hi = v128.shuffle<f32>(x0, x1, 2, 6, 3, 7)
    v128.store64_lane(to, lo, 0)
    to += step
    v128.store64_lane(to, lo, 1)
    to += step
    v128.store64_lane(to, hi, 0)
    to += step
    v128.store64_lane(to, hi, 1)
    to += step
    r0 += 16
    r1 += 16
  }
  for (let i = blocks << 2; i < kc; i++) {
    store<f32>(to, load<f32>(r0))
    store<f32>(to, load<f32>(r1), 4)
    to += step
    r0 += 4
    r1 += 4
  }
}
