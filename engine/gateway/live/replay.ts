import type { LiveHub } from './live-hub.ts'
import { Numbers } from './numbers.ts'
import type { Outbox } from './outbox.ts'
import type { Pattern } from './subject.ts'
import type { Topic } from './topic.ts'

/** Work of one turn: a replay must not hold up what is live. */
const MESSAGES_A_TURN_MAX = 2_000
/** What a client is given at once; it gets more when it took that. */
const OUTBOX_BYTES_MAX = 64 * 1024

/** Why a sequence cannot be resumed. */
export type Expired = 'expired' | 'unknown'

/** Sends what a client missed, at its own pace; when it has all, it goes on live, in the same turn. */
export class Replay {
  readonly #hub: LiveHub
  readonly #patterns: readonly Pattern[]
  readonly #matches = new Map<Topic, boolean>()
  readonly #numbers = new Map<Topic, Numbers>()
  #next: number
  messages = 0

  private constructor(hub: LiveHub, patterns: readonly Pattern[], next: number) {
    this.#hub = hub
    this.#patterns = patterns
    this.#next = next
  }

  /** @param from `{boot}-{number}` of the last message that the client has */
  static start(hub: LiveHub, patterns: readonly Pattern[], from: string): Replay | Expired {
    const [boot, number] = from.split('-') as [string, string]
    if (boot !== hub.boot) return 'unknown'
    const next = Number(number) + 1
    if (next > hub.resume.last + 1) return 'unknown'
    return next < hub.resume.first ? 'expired' : new Replay(hub, patterns, next)
  }

  /** @returns whether it is done, or the log was faster than the client. */
  pump(outbox: Outbox): 'done' | 'more' | Expired {
    const { resume } = this.#hub
    if (this.#next < resume.first) return 'expired'
    let left = MESSAGES_A_TURN_MAX
    while (this.#next <= resume.last) {
      if (left-- === 0 || outbox.bytes > OUTBOX_BYTES_MAX) return 'more'
      const number = this.#next++
      const topic = this.#hub.topicOf(number)
      if (!this.#isWanted(topic)) continue
      const lost = this.#hub.lostBefore(topic, this.#numbersOf(topic), resume.bytesOf(number), number)
      if (lost !== undefined) outbox.push(lost)
      outbox.push(this.#hub.replayed(number))
      this.messages++
    }
    return 'done'
  }

  #numbersOf(topic: Topic): Numbers {
    let numbers = this.#numbers.get(topic)
    if (numbers === undefined) {
      numbers = new Numbers()
      this.#numbers.set(topic, numbers)
    }
    return numbers
  }

  #isWanted(topic: Topic): boolean {
    let isWanted = this.#matches.get(topic)
    if (isWanted === undefined) {
      isWanted = this.#patterns.some((pattern) => pattern.matches(topic.subject))
      this.#matches.set(topic, isWanted)
    }
    return isWanted
  }
}
