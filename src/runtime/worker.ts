// A worker of the pool. Its one task lasts as long as the pool: follow the leader until the team is halted.
import { workerData } from 'node:worker_threads'
import { Member, type Crew, type Failure, type Post } from './team.ts'

export default function (post: Post): Failure | undefined {
  const member = new Member(workerData as Crew, post)
  try {
    member.follow()
  } catch (error) {
    return member.fail(error)
  }
}
