// The entry for training on any executor, in any runtime: a task steps when it is told to. Files, run directories and reports are the command line's.
export { describeScheme, namedScheme, schemes, type ElementFormat, type PrecisionScheme } from './numerics/scheme.ts'
export { parseConfig, type RunConfig } from './train/config.ts'
export { StudentTeacher } from './train/student-teacher.ts'
export type { Task } from './train/task.ts'
