// How a cost grows: the exponent of a power law through a few points.

/** Least squares of log y over log x: y = factor x^exponent. `worst`: the largest ratio between a point and the line, either way. */
export function powerLaw(points) {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)]), n = logs.length
  const mean = i => logs.reduce((sum, p) => sum + p[i], 0) / n, [mx, my] = [mean(0), mean(1)]
  const exponent = logs.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0) / logs.reduce((sum, [x]) => sum + (x - mx) ** 2, 0), shift = my - exponent * mx
  return { factor: Math.exp(shift), exponent, worst: Math.exp(Math.max(...logs.map(([x, y]) => Math.abs(y - shift - exponent * x)))) }
}
