import { HEARTBEAT, liveTypes, WANT_BOOK_SUBJECT } from '../../record/streams.ts'
import type { NatsLink } from '../../sinks/nats.ts'
import type { InstrumentName } from '../engine-link.ts'
import type { LiveSource } from '../live-source.ts'

/**
 * Live messages of collectors elsewhere, by plain subscriptions. What the server or the network lose between two
 * connections nobody counts: each new one is a break. What a collector itself could not send shows in `number`.
 */
export class NatsSource implements LiveSource {
  readonly lost = 0
  readonly #link: NatsLink

  /** @param link is closed with the source */
  constructor(link: NatsLink) {
    this.#link = link
  }

  start(onMessage: (subject: string, bytes: Uint8Array) => void, onBreak: (reason: string) => void): void {
    const subjects = [...liveTypes(), HEARTBEAT].map((type) => `${type}.>`)
    this.#link.listen(subjects, onMessage, () => onBreak('the connection to NATS was made anew'))
    this.#link.start()
  }

  /** Asks whichever collector has it for a whole book. */
  wantBook({ exchange, market, symbol }: InstrumentName): void {
    this.#link.up()?.publish(WANT_BOOK_SUBJECT, JSON.stringify({ exchange, market, symbol }))
  }

  async close(): Promise<void> {
    await this.#link.close()
  }
}
