/** Live messages as their readers get them: msgpackr unpacks, a book of the test's own follows. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Unpackr } from 'msgpackr'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { BOOK_WANTED, CLOSE, DATA, INSTRUMENT, OPEN, REMOVE, SNAPSHOT, TICK } from '../engine/ring/frame.ts'
import { NO_SOURCE } from '../engine/route/router.ts'
import { summarise } from '../workers/shard-summary.ts'
import { instrumentOf, type ShardRig, shardRig } from './support/shard-rig.ts'

const BTC = 'binance.usdm.BTCUSDT'
const ETH = 'binance.usdm.ETHUSDT'
const RUN = '1795253359000-0-1'
/** Its types forget 'auto': numbers where they are safe, else bigint. */
const UNPACKR = new Unpackr({ useRecords: false, int64AsType: 'auto' as never })
const NS = 1_723_161_300_000_000_000n

// biome-ignore lint/suspicious/noExplicitAny: whatever msgpackr finds
type Message = Record<string, any>

function opened(options: Parameters<typeof shardRig>[0] = {}): ShardRig {
  const rig = shardRig({ instruments: [instrumentOf(BTC), instrumentOf(ETH)], run: RUN, publishes: false, ...options })
  const channels = ['book', 'trades']
  rig.frame(OPEN, { connection: 0, instruments: [0, 1].map((instrument) => ({ instrument, channels })) })
  return rig
}

type Levels = readonly (readonly [string, string])[]
const depth = (first: number, last: number, prev: number, bids: Levels, asks: Levels = [], symbol = 'BTCUSDT') => ({
  stream: `${symbol.toLowerCase()}@depth@0ms`,
  data: { e: 'depthUpdate', E: 1000, T: 999, s: symbol, U: first, u: last, pu: prev, b: bids, a: asks },
})
const body = (seq: number, bids: Levels = [['99.00', '5.000']], asks: Levels = [['102.00', '6.000']]) => ({
  lastUpdateId: seq,
  E: 1723161300123,
  T: 1,
  bids,
  asks,
})
const tick = (rig: ShardRig, ns: bigint) => rig.frame(TICK, '', { ns, source: NO_SOURCE })

/** What came since the last call, in order. */
function heard(rig: ShardRig): Message[] {
  return rig.live.splice(0).map(({ subject, message }) => ({ subject, ...(UNPACKR.unpack(message) as Message) }))
}
const of = (messages: readonly Message[], symbol: string) => messages.filter((message) => message['symbol'] === symbol)

test('live messages should begin with type, instrument, run and number, and count each subject from 1 on', () => {
  const rig = opened()
  const trade = (id: number) => ({
    stream: 'btcusdt@trade',
    data: { e: 'trade', E: 1, T: 1, s: 'BTCUSDT', t: id, p: '100.00', q: '0.500', X: 'MARKET', m: true },
  })
  for (const id of [7, 8, 9]) rig.frame(DATA, trade(id))
  const trades = heard(rig).filter(({ type }) => type === 'trade')
  assert.deepEqual(
    trades.map(({ subject, run, number }) => [subject, run, number]),
    [1, 2, 3].map((number) => ['trade.binance.usdm.BTCUSDT', RUN, number]),
  )
  const { subject: _, ...message } = trades[0] as Message
  assert.deepEqual(Object.keys(message), ['type', 'exchange', 'market', 'symbol', 'run', 'number', 'rows'])
})

test('a subject should be UTF-8 where the symbol is no ASCII', () => {
  const rig = opened({ instruments: [instrumentOf('binance.usdm.币安人生USDT'), instrumentOf(ETH)] })
  const [first] = heard(rig)
  assert.deepEqual([first?.['subject'], first?.['symbol']], ['book_state.binance.usdm.币安人生USDT', '币安人生USDT'])
})

test('book_state should come before what follows from the change, book_snapshot behind it and before the changes', () => {
  const rig = opened()
  const [state] = of(heard(rig), 'BTCUSDT')
  assert.deepEqual([state?.['type'], state?.['number'], state?.['rows'][0].state], ['book_state', 1, 'BUFFERING'])
  rig.frame(DATA, depth(90, 110, 89, [['98.50', '3.000']]))
  assert.deepEqual(of(heard(rig), 'BTCUSDT'), []) // it waits
  rig.frame(SNAPSHOT, body(100), { extra: 0, ns: NS })
  rig.frame(DATA, depth(111, 112, 110, [['99.00', '0.000']]), { ns: NS + 5n })
  const live = of(heard(rig), 'BTCUSDT')
  assert.deepEqual(
    live.map(({ type, number }) => [type, number]),
    [
      ['book_state', 2],
      ['book_snapshot', 1],
      ['book_delta', 1],
      ['book_delta', 2],
    ],
  )
  const standing = { state: 'LIVE', since_ns: NS, reason: 'anchored', book_epoch: 1, last_seq: 100 }
  assert.deepEqual(live[0]?.['rows'], [{ received_ns: NS, ...standing }])
  assert.deepEqual(live[1]?.['rows'], [
    {
      received_ns: NS,
      event_ns: 1723161300123000000n,
      reason: 'anchor',
      book_epoch: 1,
      last_seq: 100,
      bid_levels: 1,
      ask_levels: 1,
      bid_price_mantissas: [9900],
      bid_quantity_mantissas: [5000],
      ask_price_mantissas: [10200],
      ask_quantity_mantissas: [6000],
      price_scale: 2,
      quantity_scale: 3,
    },
  ])
  rig.frame(DATA, depth(120, 121, 119, [['97.00', '1.000']]))
  rig.frame(CLOSE, 'gone')
  assert.deepEqual(
    of(heard(rig), 'BTCUSDT')
      .filter(({ type }) => type !== 'gap')
      .map(({ type, rows }) => [type, rows[0].state, rows[0].reason]),
    [
      ['book_state', 'RESYNC', 'sequence'],
      ['book_state', 'GAP', 'disconnect'],
      ['book_delta', 'RESYNC', undefined],
    ],
  )
})

test('changes of one drain should go out before the state that ends them', () => {
  const rig = opened()
  rig.frame(SNAPSHOT, body(100), { extra: 0 })
  heard(rig)
  // one drain: two changes, then a break
  const frames = [
    depth(99, 110, 98, [['98.00', '1']]),
    depth(111, 112, 110, [['98.00', '2']]),
    depth(120, 121, 119, []),
  ]
  rig.frames(frames.map((payload) => ({ kind: DATA, payload })))
  const messages = of(heard(rig), 'BTCUSDT').filter(({ type }) => type !== 'gap')
  assert.deepEqual(
    messages.map(({ type, rows }) => [type, rows.length, rows[0].state]),
    [
      ['book_delta', 2, 'LIVE'],
      ['book_state', 1, 'RESYNC'],
    ],
  )
})

test('a wanted book should be answered by a snapshot where it is LIVE, else by its state, and once in 100 ms', () => {
  const rig = opened()
  heard(rig)
  const want = (ns: bigint) => rig.frame(BOOK_WANTED, '', { extra: 0, source: NO_SOURCE, ns })
  const answers = () => heard(rig).map(({ type, rows }) => [type, rows?.[0].reason, rows?.[0].last_seq])
  want(NS)
  assert.deepEqual(answers(), [['book_state', 'subscribed', 0]])
  rig.frame(SNAPSHOT, body(100), { extra: 0, ns: NS })
  heard(rig)
  want(NS + 99_000_000n)
  want(NS + 99_500_000n)
  assert.deepEqual(answers(), [])
  rig.frame(DATA, depth(99, 110, 98, []), { ns: NS + 99_700_000n })
  heard(rig)
  tick(rig, NS + 150_000_000n)
  assert.deepEqual(
    answers().filter(([type]) => type !== 'heartbeat'),
    [['book_snapshot', 'wanted', 110]],
  )
  tick(rig, NS + 300_000_000n)
  assert.deepEqual(answers(), [])
  want(NS + 301_000_000n)
  assert.deepEqual(answers(), [['book_snapshot', 'wanted', 110]])
})

test('a market of which no books are collected should have none in heartbeats, answers and counts, whatever becomes of its instruments', () => {
  const names = ['deribit.index.btc_usd', 'deribit.perpetual.BTC-PERPETUAL', 'deribit.index.eth_usd']
  const rig = shardRig({
    exchange: 'deribit',
    market: '',
    instruments: names.map((id) => instrumentOf(id)),
    bookless: ['deribit.index'],
    publishes: false,
  })
  rig.frame(BOOK_WANTED, '', { extra: 0, source: NO_SOURCE })
  rig.frame(REMOVE, 'DELISTED', { extra: 2, source: NO_SOURCE })
  tick(rig, NS)
  const [beat, ...more] = heard(rig).filter(({ type }) => /^(heartbeat|book_)/.test(type))
  assert.deepEqual(more, [])
  assert.deepEqual(
    beat?.books.map(({ symbol, state }: Message) => [symbol, state]),
    [['BTC-PERPETUAL', 'INIT']],
  )
  assert.deepEqual([rig.count('books_INIT'), rig.count('books_DELISTED')], [1, 0])
})

test('a heartbeat should name each book with its state once a second, 200 books a message', () => {
  const names = Array.from({ length: 450 }, (_, index) => instrumentOf(`binance.usdm.C${index}USDT`))
  const rig = shardRig({ instruments: names, run: RUN, publishes: false, producer: 'desk.1', shardIndex: 3 })
  tick(rig, NS)
  tick(rig, NS + 999_000_000n)
  const beats = heard(rig)
  assert.deepEqual(
    beats.map(({ subject, part, parts, books }) => [subject, part, parts, books.length]),
    [
      ['heartbeat.desk_1.3.0', 0, 3, 200],
      ['heartbeat.desk_1.3.1', 1, 3, 200],
      ['heartbeat.desk_1.3.2', 2, 3, 50],
    ],
  )
  const { subject: _, books, ...head } = beats[2] as Message
  assert.deepEqual(head, {
    type: 'heartbeat',
    producer: 'desk.1',
    shard: 3,
    run: RUN,
    time_ns: NS,
    part: 2,
    parts: 3,
  })
  assert.deepEqual(books.at(-1), {
    exchange: 'binance',
    market: 'usdm',
    symbol: 'C449USDT',
    state: 'INIT',
    since_ns: 0,
    reason: '',
    book_epoch: 0,
    last_seq: 0,
  })
  rig.frame(REMOVE, 'REMOVED', { extra: 0, source: NO_SOURCE })
  rig.frame(REMOVE, 'DELISTED', { extra: 1, source: NO_SOURCE })
  heard(rig)
  tick(rig, NS + 1_000_000_000n)
  const [first] = heard(rig)
  assert.deepEqual(
    [first?.['books'][0].symbol, first?.['books'][0].state, first?.['books'][0].reason],
    ['C1USDT', 'DELISTED', 'delisted'],
  )
})

test('an instrument that is taken from the list, ends at its venue or comes back should be described so', () => {
  const rig = opened()
  const at = { extra: 0, source: NO_SOURCE }
  rig.frame(REMOVE, 'REMOVED', at)
  rig.frame(INSTRUMENT, instrumentOf(BTC), at)
  rig.frame(REMOVE, 'DELISTED', at)
  const rows = heard(rig).filter(({ type }) => type === 'instrument')
  assert.deepEqual(
    rows.map((message) => [message['symbol'], message['rows'][0].status]),
    [
      ['BTCUSDT', 'REMOVED'],
      ['BTCUSDT', 'TRADING'],
      ['BTCUSDT', 'DELISTED'],
    ],
  )
})

test('a book of more levels than a message holds should be cut from the far end, and say how many it has', () => {
  const levels = (first: number, step: number): Levels =>
    Array.from({ length: 5_000 }, (_, index) => [((first + step * index) / 100).toFixed(2), '123456.789'] as const)
  const whole = opened()
  whole.frame(SNAPSHOT, body(100, levels(1_000_000, -1), levels(1_000_001, 1)), { extra: 0 })
  const snapshotOf = (rig: ShardRig) => heard(rig).find(({ type }) => type === 'book_snapshot')?.['rows'][0]
  const all = snapshotOf(whole)
  assert.deepEqual([all.bid_levels, all.bid_price_mantissas.length, all.ask_price_mantissas.length], [5000, 5000, 5000])
  const liveBytesMax = 64 * 1024
  const cut = opened({ liveBytesMax })
  cut.frame(SNAPSHOT, body(100, levels(1_000_000, -1), levels(1_000_001, 1)), { extra: 0 })
  const longest = Math.max(...cut.live.map(({ message }) => message.length))
  assert.ok(longest > liveBytesMax / 4 && longest <= liveBytesMax, `${longest} bytes`)
  const some = snapshotOf(cut)
  assert.deepEqual([some.bid_levels, some.ask_levels], [5000, 5000])
  const count = some.bid_price_mantissas.length
  assert.ok(count > 1_000 && count < 5_000, `${count} levels`)
  assert.deepEqual(some.bid_price_mantissas, all.bid_price_mantissas.slice(0, count))
  assert.deepEqual(some.ask_quantity_mantissas, all.ask_quantity_mantissas.slice(0, count))
})

test('books that are followed by the live messages alone should equal the books of the shard after each drain', (t) => {
  const seed = Number(process.env['TEST_SEED'] ?? freshSeed())
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const upTo = (bound: number) => Math.floor(random() * bound)
  const rig = opened({ ringBytes: 1 << 20 })
  const followed = new Map<string, Followed>()
  let seq = 1_000
  let ns = NS
  for (let step = 0; step < 600; step++) {
    ns += BigInt(upTo(60)) * 1_000_000n
    const price = () => (100 + upTo(40) - 20).toFixed(2)
    const levels = (): Levels => Array.from({ length: upTo(4) }, () => [price(), upTo(3).toFixed(3)] as const)
    const dice = random()
    if (dice < 0.6) {
      const isBroken = random() < 0.05
      const first = seq + (isBroken ? 5 : 1)
      rig.frame(DATA, depth(first, first + 1, first - 1, levels(), levels()), { ns })
      seq = first + 1
    } else if (dice < 0.75) rig.frame(SNAPSHOT, body(seq, [['80.00', '5']], [['120.00', '6']]), { extra: 0, ns })
    else if (dice < 0.85) tick(rig, ns)
    else if (dice < 0.95) rig.frame(BOOK_WANTED, '', { extra: 0, source: NO_SOURCE, ns })
    else {
      rig.frame(CLOSE, 'gone', { ns })
      rig.frame(OPEN, { connection: 0, instruments: [{ instrument: 0, channels: ['book'] }] }, { ns })
    }
    for (const message of heard(rig)) follow(followed, message)
    const own = summarise(rig.shard).instruments[BTC]
    const theirs = followed.get('BTCUSDT')
    if (own?.state !== 'LIVE') assert.notEqual(theirs?.state, 'LIVE', `seed ${seed} step ${step}`)
    else {
      const got = { state: theirs?.state, bids: sorted(theirs?.bids, -1), asks: sorted(theirs?.asks, 1) }
      const plain = (side: readonly (readonly string[])[]) => side.map(([p, q]) => [Number(p) * 100, Number(q) * 1000])
      assert.deepEqual(
        got,
        { state: 'LIVE', bids: plain(own.bids), asks: plain(own.asks) },
        `seed ${seed} step ${step}`,
      )
    }
  }
})

interface Followed {
  state: string
  epoch: number
  bids: Map<number, number>
  asks: Map<number, number>
  numbers: Map<string, number>
}

/** A reader as the README describes it. */
function follow(books: Map<string, Followed>, message: Message): void {
  if (message['type'] === 'heartbeat') return
  const { type, symbol, number, rows } = message
  const book: Followed = books.get(symbol) ?? {
    state: 'INIT',
    epoch: 0,
    bids: new Map(),
    asks: new Map(),
    numbers: new Map(),
  }
  books.set(symbol, book)
  assert.equal(number, (book.numbers.get(type) ?? 0) + 1, `${type} of ${symbol}`)
  book.numbers.set(type, number)
  for (const row of rows as Message[]) {
    const sides = [
      ['bid', book.bids],
      ['ask', book.asks],
    ] as const
    if (type === 'book_state') book.state = row['state']
    if (type !== 'book_snapshot' && (type !== 'book_delta' || row['state'] !== 'LIVE')) continue
    if (type === 'book_delta') assert.equal(row['book_epoch'], book.epoch)
    else {
      book.bids.clear()
      book.asks.clear()
    }
    for (const [side, levels] of sides) {
      row[`${side}_price_mantissas`].forEach((price: number, index: number) => {
        const quantity = row[`${side}_quantity_mantissas`][index]
        if (quantity === 0) levels.delete(price)
        else levels.set(price, quantity)
      })
    }
    book.epoch = row['book_epoch']
  }
}

function sorted(side: ReadonlyMap<number, number> | undefined, sign: number): number[][] {
  return [...(side ?? [])].sort(([left], [right]) => sign * (left - right))
}
