import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { Packr, unpack } from 'msgpackr'
import { WebSocket } from 'ws'
import type { LiveSource } from '../../engine/gateway/live-source.ts'
import { cleanUp } from './clean-up.ts'

const PACKR = new Packr({ useRecords: false })

/** Live messages said by a test. */
export class ToldSource implements LiveSource {
  lost = 0
  onMessage: (subject: string, bytes: Uint8Array) => void = () => {}
  onBreak: (reason: string) => void = () => {}

  start(onMessage: (subject: string, bytes: Uint8Array) => void, onBreak: (reason: string) => void): void {
    this.onMessage = onMessage
    this.onBreak = onBreak
  }

  say(subject: string, message: object): void {
    this.onMessage(subject, PACKR.pack(message))
  }

  async close(): Promise<void> {}
}

export type Mantissas = readonly (readonly [price: number, quantity: number])[]

/** One worker with its books, speaking as the engine does. Prices and quantities are mantissas at two and three digits. */
export class ToldWorker {
  readonly source: ToldSource
  run: string
  producer = 'collector'
  shard = 0
  readonly books = new Map<string, { state: string; reason: string; sinceNs: bigint; epoch: number; lastSeq: number }>()
  readonly #numbers = new Map<string, number>()
  nowNs = 1_723_118_400_000_000_000n

  constructor(source: ToldSource, run = 'run1') {
    this.source = source
    this.run = run
  }

  #bookOf(id: string) {
    let book = this.books.get(id)
    if (book === undefined) {
      book = { state: 'INIT', reason: '', sinceNs: this.nowNs, epoch: 0, lastSeq: 0 }
      this.books.set(id, book)
    }
    return book
  }

  restart(run: string): void {
    this.run = run
    this.#numbers.clear()
    for (const book of this.books.values()) book.state = 'INIT'
  }

  /** @param isLost it is counted, but does not come */
  rows(type: string, id: string, rows: readonly object[], isLost = false): void {
    const [exchange, market, symbol] = id.split('.') as [string, string, string]
    const subject = `${type}.${id}`
    const number = (this.#numbers.get(subject) ?? 0) + 1
    this.#numbers.set(subject, number)
    if (!isLost) this.source.say(subject, { type, exchange, market, symbol, run: this.run, number, rows })
  }

  trade(id: string, tradeId: number, priceMantissa = 10_000): void {
    this.rows('trade', id, [
      {
        received_ns: this.nowNs,
        event_ns: this.nowNs - 5_000_000n,
        trade_ns: this.nowNs - 6_000_000n,
        stream: 'trade',
        trade_id: tradeId,
        first_trade_id: tradeId,
        last_trade_id: tradeId,
        price_mantissa: priceMantissa,
        quantity_mantissa: 1_500,
        price_scale: 2,
        quantity_scale: 3,
        side: 'buy',
        seq: 0,
        venue_trade_id: '',
        origin: 'stream',
        liquidation: 'none',
      },
    ])
  }

  quote(id: string, updateId: number, bid = 9_999, ask = 10_001): void {
    this.rows('book_ticker', id, [
      {
        received_ns: this.nowNs,
        event_ns: 0,
        transaction_ns: 0,
        update_id: updateId,
        bid_price_mantissa: bid,
        bid_quantity_mantissa: 1_000,
        ask_price_mantissa: ask,
        ask_quantity_mantissa: 2_000,
        price_scale: 2,
        quantity_scale: 3,
      },
    ])
  }

  state(id: string, state: string, reason = '', isLost = false): void {
    const book = this.#bookOf(id)
    Object.assign(book, { state, reason, sinceNs: this.nowNs })
    this.rows(
      'book_state',
      id,
      [
        {
          received_ns: this.nowNs,
          state,
          since_ns: this.nowNs,
          reason,
          book_epoch: book.epoch,
          last_seq: book.lastSeq,
        },
      ],
      isLost,
    )
  }

  snapshot(
    id: string,
    bids: Mantissas,
    asks: Mantissas,
    {
      lastSeq,
      epoch,
      reason = 'anchor',
      isLost = false,
    }: {
      lastSeq: number
      epoch: number
      reason?: string
      isLost?: boolean
    },
  ): void {
    Object.assign(this.#bookOf(id), { epoch, lastSeq })
    this.rows(
      'book_snapshot',
      id,
      [
        {
          received_ns: this.nowNs,
          event_ns: this.nowNs,
          reason,
          book_epoch: epoch,
          last_seq: lastSeq,
          ...levels(bids, asks),
        },
      ],
      isLost,
    )
  }

  delta(
    id: string,
    bids: Mantissas,
    asks: Mantissas,
    {
      firstSeq,
      lastSeq,
      state = 'LIVE',
      isLost = false,
    }: {
      firstSeq: number
      lastSeq: number
      state?: string
      isLost?: boolean
    },
  ): void {
    const book = this.#bookOf(id)
    if (state === 'LIVE') book.lastSeq = lastSeq
    this.rows(
      'book_delta',
      id,
      [
        {
          received_ns: this.nowNs,
          event_ns: this.nowNs,
          transaction_ns: this.nowNs,
          first_seq: firstSeq,
          last_seq: lastSeq,
          prev_seq: firstSeq - 1,
          book_epoch: book.epoch,
          state,
          ...levels(bids, asks),
        },
      ],
      isLost,
    )
  }

  heartbeat(): void {
    const books = [...this.books].map(([id, { state, sinceNs, reason, epoch, lastSeq }]) => {
      const [exchange, market, symbol] = id.split('.') as [string, string, string]
      return { exchange, market, symbol, state, since_ns: sinceNs, reason, book_epoch: epoch, last_seq: lastSeq }
    })
    const { producer, shard, run, nowNs } = this
    this.source.say(`heartbeat.${producer}.${shard}.0`, {
      type: 'heartbeat',
      producer,
      shard,
      run,
      time_ns: nowNs,
      part: 0,
      parts: 1,
      books,
    })
  }

  /** A LIVE book, at once. */
  live(id: string, bids: Mantissas, asks: Mantissas, lastSeq = 100, epoch = 1): void {
    Object.assign(this.#bookOf(id), { epoch, lastSeq })
    this.state(id, 'LIVE')
    this.snapshot(id, bids, asks, { lastSeq, epoch })
    this.heartbeat()
  }
}

function levels(bids: Mantissas, asks: Mantissas) {
  return {
    bid_price_mantissas: bids.map(([price]) => price),
    bid_quantity_mantissas: bids.map(([, quantity]) => quantity),
    ask_price_mantissas: asks.map(([price]) => price),
    ask_quantity_mantissas: asks.map(([, quantity]) => quantity),
    price_scale: 2,
    quantity_scale: 3,
  }
}

// biome-ignore lint/suspicious/noExplicitAny: each test knows its message
export type Said = any

/** A client of a WebSocket: what came, in order. */
export class Listener {
  readonly ws: WebSocket
  readonly said: Said[] = []
  closed: { code: number; reason: string } | undefined
  #isLooking: (() => void) | undefined

  private constructor(ws: WebSocket) {
    this.ws = ws
    ws.on('message', (payload: Buffer, isBinary: boolean) => {
      this.said.push(isBinary ? unpack(payload) : JSON.parse(payload.toString()))
      this.#isLooking?.()
    })
    ws.on('error', () => {})
    ws.on('close', (code: number, reason: Buffer) => {
      this.closed = { code, reason: reason.toString() }
      this.#isLooking?.()
    })
  }

  static async open(
    t: TestContext,
    url: string,
    path: string,
    headers: Record<string, string> = {},
  ): Promise<Listener> {
    const ws = new WebSocket(`${url.replace(/^http/, 'ws')}${path}`, { headers })
    const listener = new Listener(ws)
    cleanUp(t, () => ws.terminate())
    await once(ws, 'open')
    return listener
  }

  send(message: object): void {
    this.ws.send(JSON.stringify(message))
  }

  /** The next message that fits, taken out with all before it. */
  async next(isIt: (message: Said) => boolean, what = 'message'): Promise<Said> {
    const found = await this.until(() => this.said.find(isIt), what)
    this.said.splice(0, this.said.indexOf(found) + 1)
    return found
  }

  async until<Found>(look: () => Found | undefined, what: string): Promise<Found> {
    const giveUp = AbortSignal.timeout(10_000)
    for (;;) {
      const found = look()
      if (found !== undefined) return found
      if (giveUp.aborted) throw new Error(`no ${what} in 10 s; came: ${JSON.stringify(this.said).slice(0, 2_000)}`)
      await new Promise<void>((resolve) => {
        this.#isLooking = resolve
        setTimeout(resolve, 250)
      })
    }
  }

  async subscribe(patterns: readonly string[], more: object = {}): Promise<Said> {
    this.send({ op: 'subscribe', id: 1, patterns, ...more })
    return this.next(({ op }) => op === 'subscribed' || op === 'error', 'answer to subscribe')
  }
}
