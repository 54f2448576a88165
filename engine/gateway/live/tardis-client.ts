import { textFrame } from './frames.ts'
import type { LiveHub } from './live-hub.ts'
import { type Now, type Seat, Session, type SessionLimits } from './session.ts'
import { Pattern } from './subject.ts'
import { headText, isoText, levelsText, tardisExchange, timesText } from './tardis-messages.ts'
import { type SampleKind, TARDIS_EXCHANGES, type TardisWish } from './tardis-options.ts'
import { DerivativeTickers, INDEX_MARKETS, TICKER_TYPES } from './tardis-ticker.ts'
import { BOOK_TYPE, type Outgoing, type Receiver, type Topic } from './topic.ts'

/** One that is told twice in this time is one. */
const DISCONNECT_MS_MIN = 1_000

/** One client of /ws-stream-normalized: it says in its URL what it wants, and nothing after that. */
export class TardisClient {
  readonly session: Session
  readonly #hub: LiveHub
  readonly #now: Now
  readonly #leaving: (() => void)[] = []
  /** symbol → when it was told to be disconnected */
  readonly #disconnected = new Map<string, number>()

  constructor(seat: Seat, hub: LiveHub, limits: SessionLimits, now: Now, wishes: readonly TardisWish[]) {
    this.#hub = hub
    this.#now = now
    this.session = new Session(seat, hub, limits, now, {
      onMessage: () => {}, // they may send what they like: there is nothing to ask for
      onBeat: () => {},
      onLeave: () => {
        for (const leave of this.#leaving) leave()
      },
    })
    for (const wish of wishes) this.#follow(wish)
  }

  #follow(wish: TardisWish): void {
    const { types, samples } = wish
    const plain: Receiver = { push: (message) => this.#pass(message, wish.withDisconnects) }
    if (types.has('trade')) this.#subscribe(plain, 'trade', wish)
    if (types.has('book_ticker')) this.#subscribe(plain, 'book_ticker', wish)
    if (types.has('liquidation')) this.#subscribe(plain, 'liquidation', wish)
    if (types.has('book_change')) this.#subscribe(plain, BOOK_TYPE, wish)
    if (types.has('derivative_ticker')) this.#followTickers(wish)
    for (const kind of samples) this.#sample(kind, wish)
    if (wish.withDisconnects) this.#subscribe({ push: (message) => this.#onGap(message) }, 'gap', wish)
  }

  #subscribe(receiver: Receiver, type: string, { exchange, symbols }: TardisWish, depth = 0): void {
    const [ours, markets] = TARDIS_EXCHANGES[exchange] as readonly [string, readonly string[]]
    for (const market of markets)
      for (const symbol of symbols ?? ['*']) this.#subscribeTo(receiver, `${type}.${ours}.${market}.${symbol}`, depth)
  }

  #subscribeTo(receiver: Receiver, text: string, depth: number): void {
    const pattern = Pattern.parse(text)
    if (typeof pattern === 'string') return // a symbol that cannot be: nothing comes of it
    this.#hub.subscribe(receiver, pattern, depth)
    this.#leaving.push(() => this.#hub.unsubscribe(receiver, pattern, depth))
  }

  #pass(message: Outgoing, withDisconnects: boolean): void {
    this.session.outbox.push(message)
    const { kind } = message.body
    if ((kind === 'reset' || kind === 'lost') && withDisconnects) this.#sayDisconnect(message.topic)
  }

  #say(text: string): void {
    const frame = textFrame(text)
    this.session.outbox.push({ topic: undefined, frame: () => frame })
  }

  /** What the venue's socket lost is a gap in what we have. */
  #onGap({ topic, body }: Outgoing): void {
    if (body.kind === 'rows' && body.rows.some((row) => row['status'] === 'open')) this.#sayDisconnect(topic)
  }

  #sayDisconnect(topic: Topic): void {
    const nowMs = this.#now.ms()
    if (nowMs - (this.#disconnected.get(topic.id) ?? Number.NEGATIVE_INFINITY) < DISCONNECT_MS_MIN) return
    this.#disconnected.set(topic.id, nowMs)
    const symbols = JSON.stringify([topic.subject.symbol])
    this.#say(
      `{"type":"disconnect","exchange":"${tardisExchange(topic)}","localTimestamp":"${isoText(this.#now.ns())}","symbols":${symbols}}`,
    )
  }

  #followTickers(wish: TardisWish): void {
    const tickers = new DerivativeTickers((text) => this.#say(text))
    for (const type of TICKER_TYPES) this.#subscribe(tickers, type, wish)
    // Some venues name indices apart from the instruments that follow them.
    const [ours] = TARDIS_EXCHANGES[wish.exchange] as readonly [string, readonly string[]]
    const indexSymbol = INDEX_MARKETS[ours]
    if (indexSymbol === undefined) return
    const symbols = new Set(wish.symbols?.map(indexSymbol) ?? ['*'])
    for (const symbol of symbols) this.#subscribeTo(tickers, `index_price.${ours}.index.${symbol}`, 0)
  }

  /** The best levels, at the turns of the clock or whenever they change. */
  #sample(kind: SampleKind, wish: TardisWish): void {
    const changed = new Set<Topic>()
    const flush = (): void => {
      for (const topic of changed) {
        const body = topic.current()?.body
        if (body?.kind === 'snapshot') this.#say(sampleText(topic, kind, body.book))
      }
      changed.clear()
    }
    const receiver: Receiver = {
      push: ({ topic, body }) => {
        if (body.kind === 'reset') changed.delete(topic)
        else changed.add(topic)
        if (kind.intervalMs === 0) flush()
      },
    }
    this.#subscribe(receiver, BOOK_TYPE, wish, kind.depth)
    if (kind.intervalMs === 0) return
    let timer: NodeJS.Timeout
    const wait = (): void => {
      const nowMs = Number(BigInt(this.#now.ns()) / 1_000_000n)
      timer = setTimeout(
        () => {
          flush()
          wait()
        },
        kind.intervalMs - (nowMs % kind.intervalMs),
      )
    }
    wait()
    this.#leaving.push(() => clearTimeout(timer))
  }
}

function sampleText(
  topic: Topic,
  { name, depth, intervalMs }: SampleKind,
  book: Parameters<typeof timesText>[1] & {
    readonly event_ns: string
    readonly bids: readonly (readonly [string, string])[]
    readonly asks: readonly (readonly [string, string])[]
  },
): string {
  return `${headText('book_snapshot', topic)},"name":"${name}","depth":${depth},"interval":${intervalMs},"bids":${levelsText(book.bids)},"asks":${levelsText(book.asks)}${timesText(book.event_ns, book)}`
}
