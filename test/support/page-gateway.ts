/**
 * A gateway that is told what to say, for tests of the page: its REST answers and its stream have the forms of the real
 * one, its market is a seeded walk. With it 1,000 instruments and every state of a book cost nothing.
 */
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import Fastify from 'fastify'
import { type WebSocket, WebSocketServer } from 'ws'
import { type Random, seededRandom } from '../../engine/base/random.ts'
import type { App } from '../../engine/gateway/app.ts'
import { addPageRoutes } from '../../engine/gateway/routes/page.ts'
import type { BookState } from '../../engine/record/schema.ts'
import { cleanUp } from './clean-up.ts'

export interface PageGatewayOptions {
  readonly instruments?: number
  /** false: as a gateway without ClickHouse answers */
  readonly hasStore?: boolean
}

interface Row {
  readonly exchange: string
  readonly market: string
  readonly symbol: string
  readonly instrument: string
  state: BookState
  reason: string
  since_ns: string
  price: number
  readonly start: number
}

const VENUES = [
  ['binance', 'usdm'],
  ['binance', 'spot'],
  ['okx', 'swap'],
  ['bybit', 'linear'],
  ['deribit', 'perpetual'],
] as const
const COINS = ['BTC', 'ETH', 'SOL', 'XRP', 'DOGE', 'ADA', 'LINK', 'AVAX', 'DOT', 'LTC', 'TRX', 'UNI']
const CAUSES = ['disconnect', 'sequence', 'silent', 'reset', 'checksum', 'crossed']
const ODD_STATES: readonly BookState[] = ['RESYNC', 'GAP', 'STALE', 'BUFFERING', 'PRE_OPEN', 'DELISTED', 'INIT']
const LEVELS = 200
const UPDATE_MS = 60
const SHARDS = 4

const ns = (ms: number): string => `${BigInt(Math.round(ms * 1000)) * 1000n}`
const price = (value: number): string => `${Number(value.toFixed(1))}`
const size = (random: Random): string => `${Number((random() ** 3 * 12 + 0.001).toFixed(3))}`

export class PageGateway {
  readonly rows: Row[]
  readonly #random = seededRandom(7)
  readonly #options: PageGatewayOptions
  readonly #sockets = new Map<WebSocket, Set<string>>()
  readonly #books = new Map<string, { seq: number; bids: Map<string, string>; asks: Map<string, string> }>()
  readonly #startedMs = Date.now()
  #tradeId = 1_000
  #ticks = 0
  url = ''
  /** the market stands still */
  isPaused = false

  constructor(options: PageGatewayOptions) {
    this.#options = options
    const random = this.#random
    this.rows = Array.from({ length: options.instruments ?? 40 }, (_, index) => {
      const [exchange, market] = VENUES[index % VENUES.length] as (typeof VENUES)[number]
      const coin = COINS[Math.floor(index / VENUES.length) % COINS.length] as string
      const turn = Math.floor(index / VENUES.length / COINS.length)
      const symbol = `${coin}USDT${turn === 0 ? '' : `-${String(turn).padStart(2, '0')}`}`
      const isOdd = index > 5 && random() < 0.03
      const start = coin === 'BTC' ? 63_412.5 : 20 + random() * 3_000
      const state = isOdd ? (ODD_STATES[Math.floor(random() * ODD_STATES.length)] as BookState) : 'LIVE'
      return {
        exchange,
        market,
        symbol,
        instrument: `${exchange}.${market}.${symbol}`,
        state,
        reason: isOdd ? (CAUSES[index % CAUSES.length] as string) : '',
        since_ns: ns(this.#startedMs - random() * 3_600_000),
        price: start,
        start,
      }
    })
  }

  static async start(t: TestContext, options: PageGatewayOptions = {}): Promise<PageGateway> {
    const gateway = new PageGateway(options)
    const app = Fastify({ forceCloseConnections: true })
    addPageRoutes(app as unknown as App)
    gateway.#addRoutes(app as unknown as App)
    await app.listen({ host: '127.0.0.1', port: 0 })
    gateway.url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
    const server = new WebSocketServer({ server: app.server, path: '/v1/stream' })
    server.on('connection', (socket) => gateway.#connected(socket))
    const timer = setInterval(() => gateway.#tick(), UPDATE_MS)
    cleanUp(t, async () => {
      clearInterval(timer)
      for (const socket of server.clients) socket.terminate()
      server.close()
      await app.close()
    })
    return gateway
  }

  /** What the collector would say when a book leaves or reaches LIVE. */
  setState(instrument: string, state: BookState, reason: string): void {
    const row = this.rows.find((candidate) => candidate.instrument === instrument) as Row
    Object.assign(row, { state, reason, since_ns: ns(Date.now()) })
    const { exchange, market, symbol, since_ns } = row
    const name = { exchange, market, symbol }
    this.#send('book_state', row, { type: 'book_state', ...name, rows: [{ state, reason, since_ns }] })
    if (state !== 'LIVE') this.#send('book', row, { type: 'book_reset', ...name, state, reason, since_ns })
    else for (const socket of this.#sockets.keys()) this.#snapshot(socket, row)
  }

  /** The book as it is now, best first. */
  levelsOf(instrument: string): { bids: [string, string][]; asks: [string, string][] } {
    const { bids, asks } = this.#bookOf(this.rows.find((row) => row.instrument === instrument) as Row)
    return { bids: sorted(bids, -1), asks: sorted(asks, 1) }
  }

  /** Ends every stream, as a gateway that restarts. */
  dropStreams(): void {
    for (const socket of this.#sockets.keys()) socket.close(1012, 'restart')
  }

  #addRoutes(app: App): void {
    app.get('/v1/status', async () => ({ processes: [this.#process()] }))
    app.get('/v1/instruments', (_, reply) => this.#stored(reply, () => this.rows.map(instrumentRow)))
    app.get('/v1/books', async () => ({ books: this.rows.map(bookRow) }))
    app.get('/v1/gaps', (_, reply) => this.#stored(reply, () => this.#gaps()))
    for (const path of ['trades', 'klines', 'tickers', 'mark-prices', 'funding-rates', 'open-interests'])
      app.get(`/v1/${path}/:instrument`, (request, reply) =>
        this.#stored(reply, () => {
          const { instrument } = request.params as { instrument: string }
          const row = this.rows.find((candidate) => candidate.instrument === instrument) as Row
          return this.#history(path, row, request.query as Record<string, string>)
        }),
      )
  }

  #stored(reply: { code(status: number): { send(body: object): unknown } }, rows: () => object[]): unknown {
    if (this.#options.hasStore !== false) return { rows: rows(), next_cursor: null }
    const message = 'this gateway knows no ClickHouse: set clickhouse.url, or let one process store'
    return reply.code(503).send({ error: { code: 'no_store', message } })
  }

  #connected(socket: WebSocket): void {
    this.#sockets.set(socket, new Set())
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('message', (bytes) => {
      const message = JSON.parse(String(bytes)) as { op: string; id?: number; patterns?: string[] }
      const patterns = this.#sockets.get(socket) as Set<string>
      for (const pattern of message.patterns ?? [])
        if (message.op === 'subscribe') patterns.add(pattern)
        else patterns.delete(pattern)
      if (message.op !== 'subscribe') return
      socket.send(JSON.stringify({ op: 'subscribed', id: message.id, instruments: message.patterns?.length }))
      for (const row of this.rows) if (message.patterns?.includes(`book.${row.instrument}`)) this.#snapshot(socket, row)
    })
  }

  #snapshot(socket: WebSocket, row: Row): void {
    if (this.#sockets.get(socket)?.has(`book.${row.instrument}`) !== true) return
    const { exchange, market, symbol, state, reason, since_ns } = row
    const name = { exchange, market, symbol }
    if (state !== 'LIVE') return socket.send(JSON.stringify({ type: 'book_reset', ...name, state, reason, since_ns }))
    const book = this.#bookOf(row)
    const shown = this.levelsOf(row.instrument)
    const time = { event_ns: ns(Date.now()), received_ns: ns(Date.now()) }
    const head = { type: 'book', kind: 'snapshot', ...name, book_epoch: 1, last_seq: book.seq, state }
    socket.send(JSON.stringify({ ...head, ...time, ...shown }))
  }

  #bookOf(row: Row): { seq: number; bids: Map<string, string>; asks: Map<string, string> } {
    const known = this.#books.get(row.instrument)
    if (known !== undefined) return known
    const book = { seq: 1, bids: new Map<string, string>(), asks: new Map<string, string>() }
    for (let index = 0; index < LEVELS; index++) {
      const away = 0.1 * (index + 1) + 0.02 * index * index * 0.1
      book.bids.set(price(row.price - away), size(this.#random))
      book.asks.set(price(row.price + away), size(this.#random))
    }
    this.#books.set(row.instrument, book)
    return book
  }

  #tick(): void {
    if (this.isPaused) return
    this.#ticks++
    const wanted = new Set([...this.#sockets.values()].flatMap((patterns) => [...patterns]))
    for (const row of this.rows) {
      if (!wanted.has(`book.${row.instrument}`) || row.state !== 'LIVE') continue
      this.#move(row)
      if (this.#random() < 0.6) this.#trade(row)
    }
  }

  #move(row: Row): void {
    const book = this.#bookOf(row)
    const random = this.#random
    const step = Math.round((random() - 0.495) * 8) / 10
    row.price = Math.max(5, Number((row.price + step).toFixed(1)))
    const changes = { bids: new Map<string, string>(), asks: new Map<string, string>() }
    for (const [text] of book.bids) if (Number(text) >= row.price) changes.bids.set(text, '0')
    for (const [text] of book.asks) if (Number(text) <= row.price) changes.asks.set(text, '0')
    for (let index = 0; index < 12; index++) {
      const away = 0.1 * Math.ceil(random() * random() * 60)
      changes.bids.set(price(row.price - away), random() < 0.2 && index > 3 ? '0' : size(random))
      changes.asks.set(price(row.price + away), random() < 0.2 && index > 3 ? '0' : size(random))
    }
    for (const side of ['bids', 'asks'] as const)
      for (const [text, quantity] of changes[side])
        if (quantity === '0') book[side].delete(text)
        else book[side].set(text, quantity)
    const first_seq = ++book.seq
    const { exchange, market, symbol } = row
    const head = {
      type: 'book',
      kind: 'update',
      exchange,
      market,
      symbol,
      book_epoch: 1,
      first_seq,
      last_seq: first_seq,
    }
    this.#send('book', row, { ...head, bids: [...changes.bids], asks: [...changes.asks] })
  }

  #trade(row: Row): void {
    const { exchange, market, symbol } = row
    const side = this.#random() < 0.5 ? 'buy' : 'sell'
    const at = price(row.price + (side === 'buy' ? 0.1 : -0.1))
    const trade = {
      trade_ns: ns(Date.now()),
      stream: 'trade',
      trade_id: this.#tradeId++,
      price: at,
      quantity: size(this.#random),
      side,
    }
    const name = { exchange, market, symbol }
    this.#send('trade', row, { type: 'trade', ...name, rows: [trade] })
    if (this.#ticks % 20 === 0) this.#figures(row, name)
  }

  #figures(row: Row, name: object): void {
    const event_ns = ns(Date.now())
    const rates = { funding_rate: `${Number((0.0001 + (this.#random() - 0.5) * 0.00002).toFixed(8))}` }
    this.#send('funding_rate', row, {
      type: 'funding_rate',
      ...name,
      rows: [{ event_ns, ...rates, funding_ns: ns(Date.now() + 7_200_000) }],
    })
    this.#send('open_interest', row, {
      type: 'open_interest',
      ...name,
      rows: [{ event_ns, open_interest: `${Number((84_211 + this.#random() * 60).toFixed(3))}` }],
    })
    this.#send('mark_price', row, {
      type: 'mark_price',
      ...name,
      rows: [{ event_ns, mark_price: price(row.price + 0.3) }],
    })
  }

  #send(type: string, row: Row, message: object): void {
    const text = JSON.stringify(message)
    for (const [socket, patterns] of this.#sockets)
      if (patterns.has(`${type}.${row.instrument}`) || patterns.has(`${type}.>`)) socket.send(text)
  }

  #history(path: string, row: Row, query: Record<string, string>): object[] {
    const random = seededRandom(row.start)
    const nowMs = Date.now()
    const limit = Number(query.limit ?? 100)
    const past = <Value extends object>(
      count: number,
      everyMs: number,
      make: (ms: number, index: number) => Value,
    ): Value[] => Array.from({ length: Math.min(limit, count) }, (_, index) => make(nowMs - index * everyMs, index))
    if (path === 'klines') return klines(query, row.start, random, nowMs)
    if (path === 'trades')
      return past(60, 150, (ms, index) => ({
        trade_ns: ns(ms),
        stream: 'trade',
        trade_id: 999 - index,
        price: price(row.price + (random() - 0.5) * 4),
        quantity: size(random),
        side: random() < 0.5 ? 'buy' : 'sell',
      }))
    if (path === 'tickers')
      return [
        {
          event_ns: ns(nowMs),
          price_change_percent: '2.417',
          high_price: '64120.7',
          low_price: '61874.3',
          volume: '182344.917',
        },
      ]
    if (path === 'mark-prices') return [{ event_ns: ns(nowMs), mark_price: price(row.price + 0.4) }]
    if (row.market === 'spot') return []
    if (path === 'funding-rates')
      return past(200, 432_000, (ms, index) => ({
        event_ns: ns(ms),
        funding_rate: `${Number((0.0001 + Math.sin(index / 30) * 0.00006 + (random() - 0.5) * 0.00001).toFixed(8))}`,
        funding_ns: ns(nowMs + 7_200_000),
      }))
    return past(280, 300_000, (ms, index) => ({
      event_ns: ns(ms),
      open_interest: `${Number((84_200 + Math.sin(index / 40) * 2_000 + random() * 200).toFixed(3))}`,
    }))
  }

  #gaps(): object[] {
    const random = seededRandom(11)
    return Array.from({ length: 60 }, (_, index) => {
      const row = this.rows[Math.floor(random() ** 2 * Math.min(30, this.rows.length))] as Row
      const from = Date.now() - random() * 3_500_000
      const status = index < 2 ? 'open' : random() < 0.3 ? 'repaired' : 'closed'
      return {
        instrument: row.instrument,
        channel: random() < 0.7 ? 'book' : 'trades',
        cause: CAUSES[Math.floor(random() ** 2 * CAUSES.length)],
        status,
        from_ns: ns(from),
        to_ns: status === 'open' ? '0' : ns(Math.min(Date.now(), from + random() ** 2 * 240_000)),
        lost_count: 0,
        detail: '',
      }
    })
  }

  #process(): object {
    const seconds = (Date.now() - this.#startedMs) / 1000
    const wave = (shard: number): number =>
      9_000 * seconds + 3_000 * Math.sin(seconds / 7 + shard) + 700 * shard * seconds
    return {
      name: 'collector-1',
      roles: ['collect', 'store', 'serve'],
      version: '0.1.0',
      pid: 4711,
      startedMs: this.#startedMs - 5_400_000,
      health: 'degraded',
      problems: { gaps: '2 gaps are open' },
      collector: {
        producer: 'collector-1',
        delivery: 'jetstream',
        instruments: this.rows.length,
        shards: Array.from({ length: SHARDS }, (_, shard) => ({
          shard,
          books: Math.floor(this.rows.length / SHARDS),
          frames: Math.round(wave(shard) / 3),
          rows: Math.round(wave(shard)),
          fill: 0.02 + 0.01 * shard,
          restarts: shard === 2 ? 1 : 0,
          latency: { count: 9_000, p50Ms: 0.4 + shard / 20, p99Ms: 1.6 + Math.sin(seconds / 5 + shard) + shard * 0.3 },
        })),
        connections: Array.from({ length: 26 }, (_, index) => {
          const [exchange, market] = VENUES[index % VENUES.length] as (typeof VENUES)[number]
          const load = { frames: Math.round(seconds * (40 + ((index * 37) % 300))), generation: 3 }
          return {
            index,
            exchange,
            market,
            shard: index % SHARDS,
            isOpen: index !== 17,
            isPaused: index === 9,
            instruments: 8 + ((index * 13) % 50),
            ...load,
          }
        }),
        spool: {
          bytes: 148_000_000,
          bytesMax: 10_737_418_240,
          segments: 3,
          unacknowledged: 6,
          uncommitted: 14,
          oldestMs: 340,
          blocks: 91_022,
          blockBytes: 812_000_000,
        },
        delivered: { blocks: 91_016, bytes: 811_000_000, inFlight: 6, retries: 2 },
        stored: {
          rows: Math.round(38_000_000 + seconds * 39_400 + Math.sin(seconds / 4) * 9_000),
          blocks: 91_002,
          inserts: 8_110,
          pending: 21_400,
        },
        pressure: { level: 0, reasons: [] },
      },
    }
  }
}

const sorted = (side: Map<string, string>, sign: number): [string, string][] =>
  [...side].sort(([a], [b]) => (Number(a) - Number(b)) * sign)

const instrumentRow = ({ exchange, market, symbol }: Row): object => ({
  exchange,
  market,
  symbol,
  kind: market === 'spot' ? 'spot' : 'perpetual',
  tick_size: '0.1',
})

const bookRow = ({ instrument, state, reason, since_ns }: Row): object => ({ instrument, state, reason, since_ns })

const SECONDS: Readonly<Record<string, number>> = {
  '1s': 1,
  '5s': 5,
  '1m': 60,
  '5m': 300,
  '15m': 900,
  '1h': 3600,
  '4h': 14_400,
  '1d': 86_400,
}

/** A walk that ends at today's price, newest first as the gateway answers. */
function klines(query: Record<string, string>, last: number, random: Random, nowMs: number): object[] {
  const seconds = SECONDS[query.interval ?? '1m'] as number
  const limit = Number(query.limit ?? 100)
  let close = last
  return Array.from({ length: limit }, (_, index) => {
    const open = close + (random() - 0.5) * last * 0.0012
    const [high, low] = [
      Math.max(open, close) + random() * last * 0.0004,
      Math.min(open, close) - random() * last * 0.0004,
    ]
    const start = (Math.floor(nowMs / 1000 / seconds) - index) * seconds * 1000
    const row = {
      open_ns: ns(start),
      open: price(open),
      high: price(high),
      low: price(low),
      close: price(close),
      volume: size(random),
    }
    close = open
    return row
  })
}
