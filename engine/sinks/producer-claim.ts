import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { NatsConnection, RequestManyOptions } from 'nats'
import type { Fault } from '../base/fault.ts'
import { producerInUse } from '../spool/lock.ts'
import type { NatsLink } from './nats.ts'

/**
 * One collector a producer name, also where the other one runs on another machine: who runs answers on
 * `marketprism.producer.{name}`, and who starts asks there first.
 *
 * Everybody answers before he asks, so who asks later hears of the other; and the question says who asks, so the other hears
 * of him, too. Of two that start at once the younger one gives way. Who has asked once and was not refused is settled: he gives way only to one who is settled, too, and older; that happens when
 * a network was cut in two. A server that is away is asked when it comes.
 */
interface Claim {
  /** tells two of one host and one second apart */
  readonly instance: string
  readonly pid: number
  readonly host: string
  readonly since: string
  readonly isSettled: boolean
}

export const CLAIM_DEFAULT = { connectMsMax: 2_000, answerMsMax: 250 } as const

export type ClaimOptions = { readonly [Key in keyof typeof CLAIM_DEFAULT]: number }

export class ProducerClaim {
  readonly #link: NatsLink
  readonly #producer: string
  readonly #subject: string
  readonly #options: ClaimOptions
  readonly #own: Claim
  #isSettled = false
  #connection: NatsConnection | undefined
  /** who asked since our own question */
  #askers: Claim[] = []
  /** Somebody else has the name: nothing may be accepted any more. */
  onTaken: (fault: Fault) => void = () => {}

  /**
   * @param instance a word that no other process has
   * @param since when this process started, as ISO text
   */
  constructor(
    link: NatsLink,
    producer: string,
    instance: string,
    since: string,
    options: ClaimOptions = CLAIM_DEFAULT,
  ) {
    this.#link = link
    this.#producer = producer
    this.#subject = `marketprism.producer.${producer}`
    this.#options = options
    this.#own = { instance, pid: process.pid, host: hostname(), since, isSettled: false }
  }

  /** @throws Fault `PRODUCER_IN_USE`. Without a server it says nothing now; `onTaken` is told when there is one. */
  async settle(): Promise<void> {
    const { connectMsMax } = this.#options
    const deadline = performance.now() + connectMsMax
    while (this.#link.up() === undefined && performance.now() < deadline) await sleep(10)
    const connection = this.#link.up()
    if (connection !== undefined) await this.#claim(connection)
    this.#isSettled = true
    let isAskedNow = connection !== undefined
    this.#link.whenUp((found) => {
      if (!isAskedNow) this.#claim(found).catch((error: unknown) => this.onTaken(error as Fault))
      isAskedNow = false // when it comes up again it is asked again
    })
  }

  async #claim(connection: NatsConnection): Promise<void> {
    this.#askers = []
    if (this.#connection !== connection) this.#answerOn(connection)
    const others = await this.#others(connection)
    const holder = [...others, ...this.#askers].find((other) => this.#givesWayTo(other))
    if (holder !== undefined)
      throw producerInUse(this.#producer, `process ${holder.pid} on ${holder.host} since ${holder.since}`)
  }

  #answerOn(connection: NatsConnection): void {
    this.#connection = connection
    connection.subscribe(this.#subject, {
      callback: (error, message) => {
        if (error !== null || connection.isClosed()) return
        const asker = message.json<Claim>()
        if (asker.instance === this.#own.instance) return
        this.#askers.push(asker)
        message.respond(this.#present())
      },
    })
  }

  #present(): Uint8Array {
    return new TextEncoder().encode(JSON.stringify({ ...this.#own, isSettled: this.#isSettled } satisfies Claim))
  }

  async #others(connection: NatsConnection): Promise<Claim[]> {
    const others: Claim[] = []
    const options = { maxWait: this.#options.answerMsMax, strategy: 'timer' } as Partial<RequestManyOptions>
    try {
      for await (const answer of await connection.requestMany(this.#subject, this.#present(), options)) {
        others.push(answer.json<Claim>())
      }
    } catch {
      // the server went away: it is asked when it comes back
    }
    return others
  }

  #givesWayTo(other: Claim): boolean {
    if (other.isSettled !== this.#isSettled) return other.isSettled
    const order = ({ since, instance }: Claim) => `${since} ${instance}`
    return order(other) < order(this.#own)
  }
}
