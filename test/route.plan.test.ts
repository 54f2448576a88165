import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { type Channel, type Instrument, instrumentId } from '../engine/exchanges/exchange.ts'
import { feedRules } from '../engine/exchanges/index.ts'
import { PLAN_DEFAULTS, type MarketSettings, type Plan, type PlanSettings, plan } from '../engine/route/plan.ts'
import { spread } from '../engine/route/spread.ts'
import { formatPlan } from '../engine/tools/plan.ts'

const rules = feedRules()

function instruments(market: string, count: number, suffix = 'USDT'): Instrument[] {
  return Array.from({ length: count }, (_, index) => {
    const symbol = `S${index}${suffix}`
    return {
      id: instrumentId('binance', market, symbol),
      exchange: 'binance',
      market,
      symbol,
      priceScale: 2,
      quantityScale: 3,
      status: 'TRADING',
    }
  })
}

const CHANNELS: readonly Channel[] = ['book', 'agg_trades', 'book_tickers']

function set(change: Partial<MarketSettings> = {}): MarketSettings {
  return {
    channels: CHANNELS,
    wsUrl: '',
    restUrl: '',
    streamsPerConnection: 0,
    connections: 0,
    legs: 1,
    restWeightShare: 0.5,
    snapshotLimit: 0,
    ...change,
  }
}

function settings(shardCount: number, change: Partial<MarketSettings> = {}): PlanSettings {
  const market = set(change)
  return {
    ...PLAN_DEFAULTS,
    shardCount,
    ringBytes: 32 * 1024 * 1024,
    startMs: 0,
    markets: { 'binance.spot': market, 'binance.usdm': market, 'binance.coinm': market },
  }
}

/** What must hold of every plan, checked the slow way. */
function check(made: Plan, chosen: readonly Instrument[], channels: readonly Channel[]): void {
  const shardOf = new Map(made.shards.flatMap((members, shard) => members.map((member) => [member.id, shard] as const)))
  assert.equal(shardOf.size, chosen.length, 'every instrument has one shard')
  const planned = made.connections.flatMap((each) =>
    each.instruments.flatMap((own) => own.channels.map((channel) => `${own.instrument.id}/${channel}`)),
  )
  const wanted = chosen.flatMap((instrument) => channels.map((channel) => `${instrument.id}/${channel}`))
  assert.deepEqual(planned.sort(), wanted.sort(), 'every channel of every instrument is on one connection')
  made.connections.forEach((connection, index) => {
    assert.equal(connection.index, index)
    assert.ok(connection.streams.length > 0)
    assert.equal(new Set(connection.streams).size, connection.streams.length)
    for (const { instrument } of connection.instruments) {
      assert.equal(instrument.market, connection.market)
      assert.equal(shardOf.get(instrument.id), connection.shard, 'a connection has one shard')
    }
    const allowed = rules.get('binance')?.markets[connection.market]?.limits.streamsPerConnectionMax ?? 0
    assert.ok(connection.streams.length <= allowed)
  })
}

test('plan should give BTCUSDT of USD-M its two URL classes', () => {
  const [btc] = instruments('usdm', 1)
  const made = plan(rules, [{ ...(btc as Instrument), symbol: 'BTCUSDT', id: 'binance.usdm.BTCUSDT' }], settings(1))
  assert.deepEqual(
    made.connections.map(({ name, url, streams }) => ({ name, url, streams })),
    [
      { name: 'binance.usdm/market#0', url: 'wss://fstream.binance.com/market/stream', streams: ['btcusdt@aggTrade'] },
      {
        name: 'binance.usdm/public#1',
        url: 'wss://fstream.binance.com/public/stream',
        streams: ['btcusdt@depth@0ms', 'btcusdt@bookTicker'],
      },
    ],
  )
  assert.equal(made.markets[0]?.startWeight, 21)
  assert.equal(made.markets[0]?.weightPerMinute, 720) // 2,400 × 0.5 × 0.6
})

test('plan should hold its promises for any universe', () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const random = seededRandom(seed)
  for (let round = 0; round < 60; round++) {
    const chosen = ['spot', 'usdm', 'coinm'].flatMap((market) => instruments(market, Math.floor(random() * 60)))
    if (chosen.length === 0) continue
    const streamsPerConnection = 1 + Math.floor(random() * 200)
    const made = plan(rules, chosen, {
      ...settings(1 + Math.floor(random() * 5), { streamsPerConnection }),
      connectShare: 1,
    })
    check(made, chosen, CHANNELS)
    for (const connection of made.connections) assert.ok(connection.streams.length <= streamsPerConnection)
    const shuffled = chosen.map((instrument) => ({ instrument, at: random() })).sort((a, b) => a.at - b.at)
    assert.deepEqual(
      plan(
        rules,
        shuffled.map((each) => each.instrument),
        { ...settings(made.shards.length, { streamsPerConnection }), connectShare: 1 },
      ),
      made,
      `seed ${seed}: order must not matter`,
    )
  }
})

test('plan should put two instruments on two shards and keep shards within a tenth', () => {
  assert.deepEqual(
    plan(rules, instruments('spot', 2), settings(2)).shards.map((shard) => shard.length),
    [1, 1],
  )
  for (const count of [7, 40, 300]) {
    const sizes = plan(rules, instruments('spot', count), settings(4)).shards.map((shard) => shard.length)
    assert.ok(Math.max(...sizes) <= Math.ceil(count / 4) + Math.floor(count / 40), `${sizes}`)
  }
})

test('plan should move few instruments when one is added', () => {
  let movedCount = 0
  let placedCount = 0
  for (let count = 20; count < 120; count++) {
    const before = plan(rules, instruments('spot', count), settings(4, { streamsPerConnection: 30 }))
    const after = plan(rules, instruments('spot', count + 1), settings(4, { streamsPerConnection: 30 }))
    const shardsBefore = new Map(before.shards.flatMap((members, shard) => members.map((member) => [member.id, shard])))
    after.shards.forEach((members, shard) => {
      for (const member of members) {
        const was = shardsBefore.get(member.id)
        if (was === undefined) continue
        placedCount++
        if (was !== shard) movedCount++
      }
    })
  }
  assert.ok(movedCount / placedCount < 0.03, `${movedCount} of ${placedCount} changed their shard`)
})

test('plan should open at least as many connections as asked for, by splitting down to single streams', () => {
  const few = instruments('usdm', 50)
  const made = plan(rules, few, settings(2, { connections: 150 }))
  assert.ok(made.connections.length >= 150 && made.connections.length <= 160, `${made.connections.length}`)
  check(made, few, CHANNELS)
  for (const connections of [3, 20, 51, 77, 119]) {
    const some = plan(rules, few, settings(3, { connections })).connections.length
    assert.ok(some >= connections && some <= connections + 6, `${some} for ${connections}`)
  }
  assert.throws(() => plan(rules, few, settings(2, { connections: 151 })), {
    code: 'PLAN_REFUSED',
    exitCode: 78,
    message: /151 connections to binance\.usdm, there are only 150 streams; lower connections/,
  })
})

test('plan should refuse what a venue does not allow, naming the limit and the remedy', () => {
  const some = instruments('usdm', 40)
  const cases: [() => Plan, RegExp][] = [
    [
      () => plan(rules, some, settings(1, { streamsPerConnection: 300 })),
      /binance\.usdm allows 200 \(streamsPerConnectionMax\); set streamsPerConnection to at most 200/,
    ],
    [
      () => plan(rules, instruments('spot', 400), settings(1, { connections: 400 })),
      /allows 300 attempts in 5 min \(connectsMax\), of which 270 are ours; raise streamsPerConnection/,
    ],
    [
      () => plan(rules, instruments('spot', 1), settings(1, { snapshotLimit: 5000, restWeightShare: 0.04 })),
      /weight 250, our share of the 6000 .*\(weightPerMinuteMax\) is 240; raise restWeightShare/,
    ],
    [() => plan(rules, some, settings(1, { channels: [] })), /no channels; set channels of binance\.usdm/],
    [
      () => plan(rules, some, settings(1, { channels: ['book', 'funding' as Channel] })),
      /has no channel funding; remove it/,
    ],
    [() => plan(rules, [], settings(1)), /no instruments are chosen/],
    [() => plan(rules, [...some, ...some], settings(1)), /is listed twice/],
    [() => plan(rules, instruments('margin', 1), settings(1)), /binance\.margin is not a known market/],
  ]
  for (const [make, message] of cases) assert.throws(make, { code: 'PLAN_REFUSED', exitCode: 78, message })
  assert.throws(() => plan(rules, some, settings(1, { snapshotLimit: 5000 })), {
    code: 'SNAPSHOT_DEPTH',
    exitCode: 78,
    message: /allowed are 1 to 1000/,
  })
})

test('plan should estimate by figures that can be followed', () => {
  const made = plan(rules, instruments('spot', 100), settings(2, { channels: ['book'], snapshotLimit: 5000 }))
  // half of 6,000 a minute is ours, 60 % of that for the start: 7 snapshots of weight 250; after 14 turns of the minute 2
  // are left. Two sockets are open 540 ms after the start of the minute, and the ledger waits 1 s after its turn.
  assert.equal(made.markets[0]?.startWeight, 25_020)
  assert.equal(made.estimate.connectMs, 540)
  assert.equal(made.estimate.snapshotMs, 14 * 60_000 - 540 + 1_000 + 2 * 50)
  const later = plan(rules, instruments('spot', 100), {
    ...settings(2, { channels: ['book'], snapshotLimit: 5000 }),
    startMs: 1_700_000_040_000 + 45_000, // a minute begins at …040
  })
  assert.equal(later.estimate.startupMs, made.estimate.startupMs - 45_000, 'the next budget comes sooner')
  assert.equal(made.estimate.messagesPerSecond, 100 * 10)
  assert.equal(
    made.estimate.shardMessagesPerSecond.reduce((sum, each) => sum + each, 0),
    1_000,
  )
  assert.ok(made.estimate.assumptions.length >= 3)
})

test('plan should count what markets share into the time of the snapshots of each', () => {
  const set = settings(1, { channels: ['book'], snapshotLimit: 1000 })
  const snapshotMs = (...lists: readonly Instrument[][]) => plan(rules, lists.flat(), set).estimate.snapshotMs
  // 1,200 of 2,400 are ours, 720 of them for the start: 36 snapshots of weight 20 a minute, both futures markets together
  assert.equal(snapshotMs(instruments('usdm', 30)), 30 * 50)
  assert.equal(snapshotMs(instruments('usdm', 30), instruments('spot', 30)), 30 * 50, 'spot counts for itself')
  const both = snapshotMs(instruments('usdm', 30), instruments('coinm', 30))
  assert.ok(both > 50_000 && both <= 61_000 + 24 * 25, `${both}`)
})

test('plan should use other hosts where they are set', () => {
  const made = plan(
    rules,
    instruments('coinm', 1),
    settings(1, { wsUrl: 'ws://127.0.0.1:9/', restUrl: 'http://127.0.0.1:8' }),
  )
  assert.equal(made.connections[0]?.url, 'ws://127.0.0.1:9/stream')
  assert.equal(made.markets[0]?.restBase, 'http://127.0.0.1:8')
})

test('plan should print every connection, market and shard', () => {
  const text = formatPlan(plan(rules, [...instruments('usdm', 3), ...instruments('spot', 6)], settings(2)))
  for (const part of [
    'binance.usdm/public#',
    'wss://fstream.binance.com/market/stream',
    'binance.spot',
    'weight a minute',
    'messages/s',
    'a day on disk',
    'assumes:',
  ]) {
    assert.ok(text.includes(part), `${part} is missing in\n${text}`)
  }
})

test('spread should move only newcomers when nothing is full', () => {
  const names = Array.from({ length: 1_000 }, (_, index) => `binance.spot.S${index}`)
  const before = spread(names.slice(0, 999), 1, 2_000)
  assert.deepEqual(before, new Array(999).fill(0))
  const bins = spread(names, 8, 2_000)
  const more = spread(names, 9, 2_000)
  const moved = names.filter((_, index) => bins[index] !== more[index]).length
  assert.ok(moved < 300, `${moved} of 1,000 moved to make room for a ninth bin`)
})
