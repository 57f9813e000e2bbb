// Starts the worker, draws both losses on a logarithmic axis, shows the hash of the final weights: the same wherever this page runs.
import { settings } from './settings.js'

const series = { baseline: { name: 'FP32', color: '#3b82f6', losses: [] }, studied: { name: 'MX E4M3', color: '#f97316', losses: [] } }

const canvas = document.querySelector('canvas'), status = document.querySelector('#status')
const worker = new Worker('./train.js', { type: 'module' })
worker.onerror = event => { status.textContent = `failed: ${event.message}` }
worker.onmessage = ({ data }) => {
  if (data.error) status.textContent = `failed: ${data.error}`
  else if (data.weights) status.textContent = `done; weights ${data.weights}`
  else {
    for (const [arm, { losses }] of Object.entries(series)) losses.push(data[arm])
    status.textContent = `step ${data.step} of ${settings.steps}`
    requestAnimationFrame(draw)
  }
}
worker.postMessage(settings)

function draw() {
  const { width, height } = canvas, pen = canvas.getContext('2d'), margin = 44
  const ink = getComputedStyle(document.body).color
  const all = Object.values(series).flatMap(({ losses }) => losses).filter(loss => loss > 0)
  const low = Math.floor(Math.log10(Math.min(...all))), high = Math.ceil(Math.log10(Math.max(...all)))
  const x = step => margin + (width - margin - 10) * step / settings.steps, y = loss => 10 + (height - margin) * (high - Math.log10(loss)) / Math.max(1, high - low)
  pen.clearRect(0, 0, width, height)
  pen.font = '13px system-ui'
  for (let power = low; power <= high; power++) {
    pen.globalAlpha = 0.2
    pen.fillStyle = ink
    pen.fillRect(margin, y(10 ** power), width, 1)
    pen.globalAlpha = 1
    pen.fillText(`1e${power}`, 4, y(10 ** power) + 4)
  }
  pen.fillText('step', width - 40, height - 6)
  pen.lineWidth = 1.5
  Object.values(series).forEach(({ name, color, losses }, i) => {
    pen.strokeStyle = pen.fillStyle = color
    pen.beginPath()
    losses.forEach((loss, step) => pen.lineTo(x(step), y(loss)))
    pen.stroke()
    pen.fillText(name, width - 90, 24 + 18 * i)
  })
}
