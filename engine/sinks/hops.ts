/**
 * A block's stations and when it was there, ns since the epoch; 0n where nobody knows (a block of an earlier boot).
 *
 *   last row received ─► encoded ─► sealed ─► durable ─► published ─► taken ─► stored
 *   socket, ring, book   worker     batch     spool's writer          JetStream    store  ClickHouse
 *                                   ring
 *
 * The first four behind the socket travel as headers of the message, and all become columns of `blocks`. The clocks of two machines are
 * compared between published and taken; a negative time is told as 0.
 */
export interface Hops {
  readonly encodedNs: bigint
  readonly sealedNs: bigint
  readonly durableNs: bigint
  readonly publishedNs: bigint
  takenNs: bigint
}

/** Headers of a block's message, decimal. */
export const ENCODED_HEADER = 'Marketprism-Encoded'
export const SEALED_HEADER = 'Marketprism-Sealed'
export const DURABLE_HEADER = 'Marketprism-Durable'
export const PUBLISHED_HEADER = 'Marketprism-Published'

export const NO_HOPS: Readonly<Hops> = Object.freeze({
  encodedNs: 0n,
  sealedNs: 0n,
  durableNs: 0n,
  publishedNs: 0n,
  takenNs: 0n,
})

export function hopHeaders(hops: Hops): Readonly<Record<string, readonly string[]>> {
  const { encodedNs, sealedNs, durableNs, publishedNs } = hops
  return {
    [ENCODED_HEADER]: [String(encodedNs)],
    [SEALED_HEADER]: [String(sealedNs)],
    [DURABLE_HEADER]: [String(durableNs)],
    [PUBLISHED_HEADER]: [String(publishedNs)],
  }
}

/** @param header of the message, '' when there is none */
export function readHops(header: (name: string) => string): Hops {
  const ns = (name: string) => (/^\d{1,19}$/.test(header(name)) ? BigInt(header(name)) : 0n)
  return {
    encodedNs: ns(ENCODED_HEADER),
    sealedNs: ns(SEALED_HEADER),
    durableNs: ns(DURABLE_HEADER),
    publishedNs: ns(PUBLISHED_HEADER),
    takenNs: 0n,
  }
}

/** Blocks of this boot between the ring and their delivery: when they were sealed, and durable. */
const REMEMBERED_MAX = 16_384

export class HopBook {
  readonly #nowNs: () => bigint
  readonly #encoded = new Map<number, bigint>()
  readonly #sealed = new Map<number, bigint>()
  readonly #durable = new Map<number, bigint>()
  #durableSeq = -1

  constructor(nowNs: () => bigint) {
    this.#nowNs = nowNs
  }

  /** Taken from the batch ring. @param encodedNs when its worker put it there; 0n: not known */
  sealed(blockSeq: number, encodedNs: bigint): void {
    this.#encoded.set(blockSeq, encodedNs)
    this.#sealed.set(blockSeq, this.#nowNs())
    if (this.#sealed.size > REMEMBERED_MAX) this.#forget(this.#sealed.keys().next().value as number)
  }

  /** All up to this one are. */
  durable(blockSeq: number): void {
    const nowNs = this.#nowNs()
    for (let seq = Math.max(this.#durableSeq + 1, blockSeq - REMEMBERED_MAX); seq <= blockSeq; seq++)
      if (this.#sealed.has(seq)) this.#durable.set(seq, nowNs)
    this.#durableSeq = blockSeq
  }

  /** As of now, when the block is given to its sink. */
  of(blockSeq: number): Hops {
    return {
      encodedNs: this.#encoded.get(blockSeq) ?? 0n,
      sealedNs: this.#sealed.get(blockSeq) ?? 0n,
      durableNs: this.#durable.get(blockSeq) ?? 0n,
      publishedNs: this.#nowNs(),
      takenNs: 0n,
    }
  }

  #forget(blockSeq: number): void {
    this.#encoded.delete(blockSeq)
    this.#sealed.delete(blockSeq)
    this.#durable.delete(blockSeq)
  }
}

/** What is asked of a spool and a delivery. */
interface Durables {
  readonly epoch: number
  readonly durableSeq: number
  onDurable: () => void
}
interface Asking {
  hopsOf: (record: { readonly epoch: number; readonly blockSeq: number }) => Hops
}

/** A book of what this spool makes durable, out of which the delivery reads. */
export function followBlocks(spool: Durables, delivery: Asking, nowNs: () => bigint): HopBook {
  const book = new HopBook(nowNs)
  delivery.hopsOf = ({ epoch, blockSeq }) =>
    epoch === spool.epoch ? book.of(blockSeq) : { ...NO_HOPS, publishedNs: nowNs() }
  const tellDelivery = spool.onDurable
  spool.onDurable = () => {
    book.durable(spool.durableSeq)
    tellDelivery()
  }
  return book
}
