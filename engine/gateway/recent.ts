import type { Clock } from '../base/clock.ts'

/** An answer that many ask for and that costs somebody else something: asked once, good for a moment, for all of them. */
export class Recent<Answer> {
  readonly #ask: () => Promise<Answer>
  readonly #goodMs: number
  readonly #clock: Clock
  #asked: { readonly answer: Promise<Answer>; readonly atMs: number } | undefined

  constructor(ask: () => Promise<Answer>, goodMs: number, clock: Clock) {
    this.#ask = ask
    this.#goodMs = goodMs
    this.#clock = clock
  }

  get(): Promise<Answer> {
    const nowMs = this.#clock.monotonicMs()
    if (this.#asked === undefined || nowMs - this.#asked.atMs > this.#goodMs) {
      const answer = this.#ask()
      this.#asked = { answer, atMs: nowMs }
      answer.catch(() => this.forget()) // whoever asks next asks anew
    }
    return this.#asked.answer
  }

  /** What was said is not true any more. */
  forget(): void {
    this.#asked = undefined
  }
}
