import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, type Random, seededRandom } from '../engine/base/random.ts'
import { Cadence, type Silence } from '../engine/book/cadence.ts'
import { READ_RULES } from '../engine/exchanges/index.ts'
import { GAP_CHANNELS, type GapChannel } from '../engine/record/schema.ts'

const { book, trades, book_tickers: tickers, mark_prices: marks, liquidations } = GAP_CHANNELS
const MARKET = 'binance.usdm'
const STEP_MS = 250

/** How many events of rate `perSecond` fall into one step: Knuth's method, halved where it would be slow. */
function poisson(perSecond: number, random: Random): number {
  const mean = (perSecond * STEP_MS) / 1_000
  if (mean > 30) return Math.max(0, Math.round(mean + Math.sqrt(mean) * (random() + random() + random() - 1.5) * 2))
  let count = 0
  for (let product = random(); product > Math.exp(-mean); product *= random()) count++
  return count
}

interface Source {
  readonly instrument: number
  readonly channel: number
  perSecond: number
}

/** Plays Poisson streams from `fromMs` for `durationMs`. */
function play(cadence: Cadence, sources: readonly Source[], fromMs: number, durationMs: number, random: Random) {
  const found: (Silence & { readonly atMs: number })[] = []
  for (let atMs = fromMs; atMs < fromMs + durationMs; atMs += STEP_MS) {
    for (const { instrument, channel, perSecond } of sources) {
      for (let count = poisson(perSecond, random); count > 0; count--) cadence.note(instrument, channel)
    }
    for (const silence of cadence.check(atMs)) found.push({ ...silence, atMs })
  }
  return found
}

function opened(sources: readonly Source[]): Cadence {
  const cadence = new Cadence()
  for (const { instrument, channel } of sources) cadence.open(instrument, channel, 0, MARKET)
  return cadence
}

const SECOND = 1_000
const HOUR = 3_600 * SECOND

test('cadence should raise no alarm over quiet Poisson symbols in hours', () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const random = seededRandom(seed)
  const rates = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3]
  const sources = rates.flatMap((perSecond, index): Source[] => [
    { instrument: index, channel: book, perSecond: perSecond * 20 },
    { instrument: index, channel: trades, perSecond },
    { instrument: index, channel: tickers, perSecond: perSecond * 30 },
  ])
  const found = play(opened(sources), sources, 0, 6 * HOUR, random)
  assert.deepEqual(found, [])
})

test('cadence should find a busy stream that dies within seconds and name no other', () => {
  const random = seededRandom(7)
  const dying: Source = { instrument: 0, channel: trades, perSecond: 25 }
  const sources: Source[] = [
    { instrument: 0, channel: book, perSecond: 19 },
    dying,
    { instrument: 1, channel: book, perSecond: 2 },
    { instrument: 1, channel: trades, perSecond: 0.05 },
  ]
  const cadence = opened(sources)
  assert.deepEqual(play(cadence, sources, 0, 120 * SECOND, random), [])
  dying.perSecond = 0
  const found = play(cadence, sources, 120 * SECOND, 10 * SECOND, random)
  assert.deepEqual(
    found.map(({ instrument, channel, hasDelivered }) => ({ instrument, channel, hasDelivered })),
    [{ instrument: 0, channel: trades, hasDelivered: true }],
  )
  assert.ok((found[0]?.atMs ?? 0) <= 128 * SECOND, `found after ${(found[0]?.atMs ?? 0) - 120 * SECOND} ms`)
})

test('cadence should find a stream that never delivered, by the peers of its neighbours', () => {
  const random = seededRandom(8)
  const sources: Source[] = Array.from({ length: 6 }, (_, instrument) => [
    { instrument, channel: book, perSecond: 10 },
    { instrument, channel: tickers, perSecond: 40 },
    { instrument, channel: trades, perSecond: instrument === 0 ? 0 : 5 + instrument },
  ]).flat()
  const found = play(opened(sources), sources, 0, 30 * SECOND, random)
  assert.deepEqual(
    found.slice(0, 1).map(({ instrument, channel, hasDelivered }) => [instrument, channel, hasDelivered]),
    [[0, trades, false]],
  )
  assert.ok((found[0]?.atMs ?? 0) <= 15 * SECOND, `found after ${found[0]?.atMs} ms`)
  assert.ok(found.every(({ instrument, channel }) => instrument === 0 && channel === trades))
})

test('cadence should find a whole channel that nobody delivers while busy neighbours do', () => {
  const random = seededRandom(9)
  const sources: Source[] = [
    { instrument: 0, channel: book, perSecond: 20 },
    { instrument: 0, channel: tickers, perSecond: 190 },
    { instrument: 0, channel: trades, perSecond: 0 },
  ]
  const found = play(opened(sources), sources, 0, 20 * SECOND, random)
  assert.deepEqual([found[0]?.channel, found[0]?.hasDelivered], [trades, false])
})

test('cadence should expect what is sent by the clock, and what begins with a greeting, within their first time', () => {
  const cadence = new Cadence()
  cadence.open(0, marks, 0, MARKET)
  cadence.open(1, book, 0, MARKET, { greets: ['book'] })
  cadence.open(2, liquidations, 0, MARKET)
  cadence.open(3, tickers, 0, MARKET)
  const found = play(cadence, [{ instrument: 3, channel: tickers, perSecond: 4 }], 0, 30 * SECOND, seededRandom(3))
  const first = (instrument: number) => found.find((each) => each.instrument === instrument)?.atMs ?? 0
  assert.ok(first(1) > 10 * SECOND && first(1) <= 13 * SECOND, `book after ${first(1)}`)
  assert.ok(first(0) > 15 * SECOND && first(0) <= 20 * SECOND, `mark price after ${first(0)}`)
  assert.equal(first(2), 0, 'no liquidation is no fault')
})

test('cadence should find a book that stops right after its first message', () => {
  const random = seededRandom(10)
  const sources: Source[] = Array.from({ length: 5 }, (_, instrument) => [
    { instrument, channel: book, perSecond: instrument === 0 ? 0 : 10 },
    { instrument, channel: tickers, perSecond: 20 },
  ]).flat()
  const cadence = opened(sources)
  cadence.note(0, book)
  const found = play(cadence, sources, 0, 30 * SECOND, random)
  assert.deepEqual([found[0]?.instrument, found[0]?.channel, found[0]?.hasDelivered], [0, book, true])
})

test('cadence should blame no stream when the whole market is still, or when its own thread was late', () => {
  const random = seededRandom(4)
  const sources: Source[] = [
    { instrument: 0, channel: book, perSecond: 20 },
    { instrument: 0, channel: trades, perSecond: 20 },
  ]
  const cadence = opened(sources)
  assert.deepEqual(play(cadence, sources, 0, 60 * SECOND, random), [])
  assert.deepEqual(play(cadence, [], 60 * SECOND, 300 * SECOND, random), [], 'maintenance')
  cadence.note(0, book)
  assert.deepEqual(cadence.check(390 * SECOND), [], 'after 30 s without a tick')
  assert.deepEqual(play(cadence, sources, 390 * SECOND, 60 * SECOND, random), [])
})

test('cadence should remember a rhythm over a close, and take a rotation for no interruption', () => {
  const random = seededRandom(5)
  const dying: Source = { instrument: 0, channel: trades, perSecond: 20 }
  const sources: Source[] = [{ instrument: 0, channel: book, perSecond: 20 }, dying]
  const cadence = opened(sources)
  play(cadence, sources, 0, 60 * SECOND, random)
  dying.perSecond = 0
  play(cadence, sources, 60 * SECOND, 3 * SECOND, random)
  for (const { instrument, channel } of sources) cadence.open(instrument, channel, 0, MARKET)
  for (const { instrument, channel } of sources) cadence.close(instrument, channel, 0)
  const rotated = play(cadence, sources, 63 * SECOND, 5 * SECOND, random)
  assert.equal(rotated.length, 1, 'silence goes on through a rotation')
  cadence.close(0, trades, 0)
  assert.deepEqual(play(cadence, sources, 68 * SECOND, 60 * SECOND, random), [], 'closed, so not expected')
  cadence.open(0, trades, 0, MARKET)
  const again = play(cadence, sources, 128 * SECOND, 20 * SECOND, random)
  assert.equal(again.length, 1, 'the rhythm of the earlier life is still known')
  assert.equal(again[0]?.hasDelivered, false)
})

test('cadence should ask less and less often for a stream that stays silent', () => {
  const random = seededRandom(6)
  const dying: Source = { instrument: 0, channel: trades, perSecond: 20 }
  const sources: Source[] = [{ instrument: 0, channel: book, perSecond: 20 }, dying]
  const cadence = opened(sources)
  play(cadence, sources, 0, 60 * SECOND, random)
  dying.perSecond = 0
  const found = play(cadence, sources, 60 * SECOND, HOUR, random)
  assert.ok(found.length >= 4 && found.length <= 20, `${found.length} alarms in an hour`)
})

test('cadence should leave an illiquid symbol in peace whose book moves and which hardly trades', () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const random = seededRandom(seed)
  const busy: Source[] = Array.from({ length: 6 }, (_, instrument) => [
    { instrument, channel: book, perSecond: 10 },
    { instrument, channel: trades, perSecond: 5 },
  ]).flat()
  const sources = [
    ...busy,
    { instrument: 6, channel: book, perSecond: 5 },
    { instrument: 6, channel: trades, perSecond: 1 / 5_000 },
    { instrument: 7, channel: book, perSecond: 0.001 },
    { instrument: 7, channel: trades, perSecond: 0 },
  ]
  assert.deepEqual(play(opened(sources), sources, 0, 2 * HOUR, random), [])
})

/** One busy instrument, which shows that the market lives, and channels of another. */
function venue(exchange: string, names: readonly GapChannel[]) {
  const habits = READ_RULES.get(exchange)?.habits
  const cadence = new Cadence()
  cadence.open(0, book, 0, exchange, habits)
  for (const name of names) cadence.open(1, GAP_CHANNELS[name], 0, exchange, habits)
  const lively: Source = { instrument: 0, channel: book, perSecond: 10 }
  const run = (sources: readonly Source[], fromMs: number, durationMs: number) =>
    play(cadence, [lively, ...sources], fromMs, durationMs, seededRandom(11)).map((each) => ({
      channel: Object.keys(GAP_CHANNELS).find((name) => GAP_CHANNELS[name as GapChannel] === each.channel),
      hasDelivered: each.hasDelivered,
      atMs: each.atMs,
    }))
  return { cadence, run }
}
/** An instrument whose channels these events belong to. */
const of = (name: GapChannel, perSecond: number): Source => ({ instrument: 1, channel: GAP_CHANNELS[name], perSecond })

/** What a venue always says something of, whatever the instrument, and after how long its silence is told at the latest. */
const GREETED: Readonly<Record<string, Readonly<Partial<Record<GapChannel, number>>>>> = {
  binance: { mark_prices: 20, index_prices: 20, funding_rates: 185 },
  okx: { tickers: 15, mark_prices: 30, index_prices: 155, funding_rates: 185 },
  deribit: { tickers: 15, mark_prices: 20, index_prices: 20, funding_rates: 185, volatility_indices: 20 },
  bybit: { tickers: 15, book_tickers: 15, mark_prices: 20, index_prices: 20, funding_rates: 185 },
}

for (const [exchange, greeted] of Object.entries(GREETED))
  test(`cadence should find streams of ${exchange} that never deliver, and wait for ever for what is rare`, () => {
    const rare = ['liquidations', 'klines', 'trades', 'open_interests'] as const
    const { run } = venue(exchange, [...(Object.keys(greeted) as GapChannel[]), ...rare])
    const found = run([], 0, 200 * SECOND)
    for (const [name, seconds] of Object.entries(greeted)) {
      const first = found.find(({ channel }) => channel === name)
      assert.ok(first !== undefined && first.atMs <= seconds * SECOND, `${name}: ${first?.atMs}`)
      assert.equal(first.hasDelivered, false)
    }
    for (const { channel } of found) assert.ok(channel !== undefined && channel in greeted, channel)
  })

test('cadence should not miss what a message of several channels leaves out: a dated future has no funding', () => {
  for (const names of [['mark_prices', 'index_prices', 'funding_rates'], ['funding_rates']] as const) {
    const { run } = venue('binance', names)
    assert.deepEqual(run([of('mark_prices', 1), of('index_prices', 1)], 0, HOUR), [])
    const found = new Set(run([], HOUR, 100 * SECOND).map(({ channel }) => channel))
    assert.deepEqual([...found].sort(), [...names].sort(), 'when the stream dies')
  }
})

test('cadence should not miss what did not change in a delta: a funding rate for hours', () => {
  const { cadence, run } = venue('bybit', ['tickers', 'mark_prices', 'index_prices', 'funding_rates', 'open_interests'])
  const moving = [of('tickers', 3), of('mark_prices', 2), of('index_prices', 2)]
  for (const name of ['funding_rates', 'open_interests'] as const) cadence.note(1, GAP_CHANNELS[name])
  assert.deepEqual(run(moving, 0, 3 * HOUR), [])
})

test('cadence should let an index of OKX rest for the minute after which it is told again', () => {
  const { cadence, run } = venue('okx', ['index_prices'])
  assert.deepEqual(run([of('index_prices', 8)], 0, 600 * SECOND), [])
  let atMs = 600 * SECOND
  for (let minute = 0; minute < 5; minute++, atMs += 60 * SECOND) {
    assert.deepEqual(run([], atMs, 60 * SECOND), [], `minute ${minute}`)
    cadence.note(1, GAP_CHANNELS.index_prices)
  }
  assert.ok(run([], atMs, 600 * SECOND).length > 0, 'dead at last')
})

test('cadence should say until when a silent stream surely delivered, however late it looked', () => {
  const cadence = new Cadence()
  for (const channel of [book, tickers]) cadence.open(0, channel, 0, MARKET)
  let found: readonly Silence[] = []
  const look = (atMs: number, channels: readonly number[]): void => {
    for (const channel of channels) for (let event = 0; event < 20; event++) cadence.note(0, channel)
    found = [...found, ...cadence.check(atMs)]
  }
  for (let second = 0; second <= 60; second++) look(second * SECOND, [book, tickers])
  look(75 * SECOND, [book]) // this thread was late
  for (let second = 76; second <= 80; second++) look(second * SECOND, [book])
  const [silence] = found
  assert.ok(silence !== undefined && silence.channel === tickers)
  assert.equal(silence.provenMs, 59 * SECOND, 'the look before the one that found its last events')
})
