import type { Clock } from '../base/clock.ts'
import { Recent } from './recent.ts'

/** As it is sent. */
export type Payload = string | Buffer

/** Questions that are kept apart at a time: more than everybody asks, fewer than somebody can make up. */
const KEPT_MAX = 32
/** A longer answer is shared by those who ask while it is made, and then goes. */
const KEPT_BYTES_MAX = 1024 * 1024

/**
 * Answers that are the same for whoever may ask: made once for all who ask within a moment, and put into text once. What a
 * page asks for again and again costs the same with one page and with a hundred.
 */
export class SharedAnswers {
  readonly #clock: Clock
  readonly #kept = new Map<string, Recent<Payload>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * @param question all that the answer depends on: the URL
   * @param goodMs how old it may be
   */
  async get(question: string, goodMs: number, make: () => Promise<Payload>): Promise<Payload> {
    const recent = this.#kept.get(question) ?? this.#keep(question, new Recent(goodMs, this.#clock))
    const payload = await recent.get(make)
    if (payload.length > KEPT_BYTES_MAX) this.#drop(question, recent)
    return payload
  }

  /** Something was changed: whoever asks from now on sees it. */
  forget(): void {
    this.#kept.clear()
  }

  get size(): number {
    return this.#kept.size
  }

  #keep(question: string, recent: Recent<Payload>): Recent<Payload> {
    for (const [other, { isGood }] of this.#kept) if (!isGood) this.#kept.delete(other)
    this.#kept.set(question, recent)
    if (this.#kept.size > KEPT_MAX) this.#kept.delete(this.#kept.keys().next().value as string)
    return recent
  }

  #drop(question: string, recent: Recent<Payload>): void {
    if (this.#kept.get(question) === recent) this.#kept.delete(question)
  }
}
