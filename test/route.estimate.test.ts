import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Channel, Instrument } from '../engine/exchanges/exchange.ts'
import { feedRules } from '../engine/exchanges/index.ts'
import { weightPoolOf } from '../engine/exchanges/exchange.ts'
import { WEIGHT_DEFAULTS, WeightLedger } from '../engine/feed/weight.ts'
import { PLAN_DEFAULTS, type Plan, plan, type PlanSettings } from '../engine/route/plan.ts'
import { settle, TurnedTime } from './support/feed-time.ts'

/**
 * The estimate against the very parts that make a start last: the ledger of REST weight, with a clock that is turned by
 * hand. No second of the machine's has a say in it.
 */
const rules = feedRules()
const SHARE = 0.8
/** So long a request of this simulation takes, and as many go at once. */
const REQUEST_MS = 200
const AT_ONCE = 4
const MINUTE_MS = 60_000

function planOf(counts: Readonly<Record<string, number>>, startMs: number): Plan {
  const instruments = Object.entries(counts).flatMap(([key, count]): Instrument[] =>
    Array.from({ length: count }, (_, index) => {
      const [exchange = '', market = ''] = key.split('.')
      const symbol = exchange === 'okx' ? `S${index}-USDT${market === 'swap' ? '-SWAP' : ''}` : `S${index}USDT`
      const id = `${key}.${symbol}`
      return { id, exchange, market, symbol, priceScale: 2, quantityScale: 3, status: 'TRADING' }
    }),
  )
  const market = {
    channels: ['book', 'trades', 'book_tickers'] as readonly Channel[],
    wsUrl: '',
    restUrl: '',
    streamsPerConnection: 0,
    connections: 0,
    legs: 1,
    restWeightShare: SHARE,
    snapshotLimit: 0,
  }
  const settings: PlanSettings = {
    ...PLAN_DEFAULTS,
    shardCount: 2,
    ringBytes: 1,
    startMs,
    markets: Object.fromEntries(Object.keys(counts).map((key) => [key, market])),
  }
  return plan(rules, instruments, settings)
}

/** How long the snapshots of this plan take when the real ledger gives out the weight. */
async function measuredMs(made: Plan, exchange: string): Promise<number> {
  const { startMs, connectMs } = made.estimate
  const places = rules.get(exchange)?.markets ?? {}
  const markets = made.markets.filter((market) => market.exchange === exchange)
  const byMarket = <T>(read: (name: string) => T): Record<string, T> =>
    Object.fromEntries(markets.map(({ market }) => [market, read(market)]))
  const place = (name: string) => places[name] as NonNullable<(typeof places)[string]>
  const time = new TurnedTime(startMs)
  const ledger = new WeightLedger(
    {
      ...WEIGHT_DEFAULTS,
      exchange,
      share: SHARE,
      gapReserveShare: 1 - PLAN_DEFAULTS.startWeightShare,
      weightPerMinute: byMarket((name) => place(name).limits.weightPerMinuteMax),
      pools: byMarket((name) => weightPoolOf(place(name))),
    },
    time,
  )
  for (const { market } of markets)
    void ledger.acquire(market, rules.get(exchange)?.instrumentsRequest(market).weight ?? 1, 'start')
  await time.turn(connectMs)
  let waiting = 0
  let lastMs = 0
  for (const { market, instrumentCount, snapshotWeight } of markets) {
    let left = instrumentCount
    waiting += left
    const next = async (): Promise<void> => {
      while (left-- > 0) {
        await ledger.acquire(market, snapshotWeight, 'start')
        await new Promise<void>((done) => time.after(REQUEST_MS, done))
        lastMs = time.nowMs()
        waiting--
      }
    }
    for (let at = 0; at < AT_ONCE; at++) void next()
  }
  await settle()
  for (let minute = 0; waiting > 0 && minute < 30; minute++) await time.turn(MINUTE_MS)
  ledger.close()
  assert.equal(waiting, 0, 'every snapshot came')
  return lastMs - startMs
}

test('estimate should be what the ledger makes of a start, whenever it begins', async (t) => {
  const counts = { 'binance.spot': 84, 'binance.usdm': 83, 'binance.coinm': 83 }
  for (const intoMs of [0, 500, 5_000, 20_000, 40_000, 55_000, 57_000, 58_700, 59_300, 59_900]) {
    const made = planOf(counts, 1_790_000_040_000 + intoMs)
    const took = await measuredMs(made, 'binance')
    const { startupMs } = made.estimate
    t.diagnostic(`${intoMs} ms into a minute: ${Math.round(took)} ms, estimated ${startupMs}`)
    assert.ok(Math.abs(took / startupMs - 1) <= 0.2, `${intoMs} ms into a minute: ${took} ms, estimated ${startupMs}`)
  }
})

test('estimate should be the slowest venue, not the sum of them', () => {
  const startMs = 1_790_000_040_000
  const okx = { 'okx.spot': 60, 'okx.swap': 60 }
  const binance = { 'binance.usdm': 100 }
  const alone = planOf(okx, startMs).estimate
  // 3 sockets a second, of which 2 are ours; books in the stream cost no REST
  const sockets = planOf(okx, startMs).connections.length
  assert.equal(alone.connectMs, Math.floor((sockets - 1) / 2) * 1_000 + 500)
  assert.equal(alone.snapshotMs, 0)
  const slow = planOf(binance, startMs).estimate
  assert.equal(planOf({ ...okx, ...binance }, startMs).estimate.startupMs, Math.max(alone.startupMs, slow.startupMs))
})
