// A web worker of the web executor: thread 0 leads the team through the programs that the page announces, the others follow it.
import { Halted, Member, type Command, type Crew, type Failure, type Post } from './team.ts'
import { breathe } from './walk.ts'

/** The first message to a worker. */
export interface Enlist {
  crew: Crew
  post: Post
}

/** What a worker says: a program is done (null, from the leader), or why it gave up. */
export type Report = Failure | null

// The compiler's types are those of a page.
const page = globalThis as unknown as { onmessage: ((event: MessageEvent) => void) | null, postMessage(message: Report): void }

page.onmessage = ({ data: { crew, post } }: MessageEvent<Enlist>) => {
  const member = new Member(crew, post)
  const report = async (work: Promise<void>, done?: () => void) => {
    try {
      await work
      done?.()
    } catch (error) {
      if (!(error instanceof Halted)) page.postMessage(member.fail(error))
    }
  }
  if (post.thread > 0) void report((async () => member.follow())())
  else page.onmessage = ({ data }: MessageEvent<Command>) => report(member.lead(data, breathe), () => page.postMessage(null))
}
