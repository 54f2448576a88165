import type { Log } from '../base/log.ts'
import { Breaker, type BreakerOptions, type BreakerState, isRest } from './breaker.ts'
import type { DeadLetters, LetterNote } from './dead-letters.ts'
import type { SealedBlock } from './sink.ts'

/** Dead letters behind a circuit breaker: where nothing takes them, not every poison block has to find that out. */
export class GuardedLetters implements DeadLetters {
  readonly #letters: DeadLetters
  readonly #breaker: Breaker

  /** @param place for people */
  constructor(letters: DeadLetters, place: string, options: BreakerOptions, log: Log) {
    this.#letters = letters
    this.#breaker = new Breaker(place, options, () => true, log)
  }

  get breaker(): { readonly state: BreakerState; readonly opened: number } {
    return this.#breaker
  }

  async put(block: SealedBlock | undefined, payload: Uint8Array, note: LetterNote): Promise<void> {
    try {
      await this.#breaker.run(() => this.#letters.put(block, payload, note))
    } catch (error) {
      throw isRest(error) ? new Error('dead letters were refused several times and are tried again later') : error
    }
  }
}
