// The web worker of the page: trains the small student-teacher model under the given precision, and in FP32 beside it, and reports the losses.
import { open } from 'blockscale/edge'
import { parseConfig, StudentTeacher } from 'blockscale/training'

onmessage = async ({ data: settings }) => {
  try {
    const config = parseConfig(settings)
    const task = new StudentTeacher(await open(), config)
    task.build(0)
    for (let step = 1; step <= config.steps; step++) {
      await task.prepare(step - 1)
      await task.gradients()
      postMessage({ step, ...task.losses() })
      await task.update()
    }
    postMessage({ weights: await task.weightsHash() })
  } catch (error) {
    postMessage({ error: error.message })
  }
}
