import type { Clock } from '../base/clock.ts'

interface Asked<Answer> {
  readonly answer: Promise<Answer>
  readonly atMs: number
  isUnderWay: boolean
}

/** An answer that many ask for and that costs somebody else something: asked once, good for a moment, for all of them. */
export class Recent<Answer> {
  readonly #goodMs: number
  readonly #clock: Clock
  #asked: Asked<Answer> | undefined

  constructor(goodMs: number, clock: Clock) {
    this.#goodMs = goodMs
    this.#clock = clock
  }

  /** Whether somebody who comes now need not ask: it was asked a moment ago, or the answer is still awaited. */
  get isGood(): boolean {
    if (this.#asked === undefined) return false
    return this.#asked.isUnderWay || this.#clock.monotonicMs() - this.#asked.atMs <= this.#goodMs
  }

  /** @param ask is called when what was said is too old, or nothing was said. */
  get(ask: () => Promise<Answer>): Promise<Answer> {
    if (this.#asked === undefined || !this.isGood) this.#asked = this.#ask(ask)
    return this.#asked.answer
  }

  #ask(ask: () => Promise<Answer>): Asked<Answer> {
    const asked: Asked<Answer> = { answer: ask(), atMs: this.#clock.monotonicMs(), isUnderWay: true }
    asked.answer.then(
      () => {
        asked.isUnderWay = false
      },
      () => {
        if (this.#asked === asked) this.forget() // whoever asks next asks anew
      },
    )
    return asked
  }

  /** What was said is not true any more. */
  forget(): void {
    this.#asked = undefined
  }
}
