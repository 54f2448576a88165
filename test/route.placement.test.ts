import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { type Channel, type FeedRules, type Instrument, instrumentId } from '../engine/exchanges/exchange.ts'
import { feedRules } from '../engine/exchanges/index.ts'
import { Placement } from '../engine/route/placement.ts'
import {
  type MarketSettings,
  PLAN_DEFAULTS,
  type Plan,
  type PlannedConnection,
  type PlanSettings,
  plan,
} from '../engine/route/plan.ts'

const BINANCE = feedRules().get('binance') as FeedRules

/**
 * A venue with all that makes a plan hard: few sockets an address, few books a socket, one stream for three channels, one
 * for all instruments.
 */
const VENUE: FeedRules = {
  ...BINANCE,
  exchange: 'venue',
  markets: Object.fromEntries(
    ['swap', 'spot'].map((name) => [
      name,
      {
        ...(BINANCE.markets['spot'] as FeedRules['markets'][string]),
        name,
        snapshotDepth: 0,
        wsBase: 'wss://venue.invalid',
        limits: {
          ...(BINANCE.markets['spot'] as FeedRules['markets'][string]).limits,
          streamsPerConnectionMax: 40,
          booksPerConnectionMax: 9,
          connectionsMax: 30,
          connectsMax: 3,
          connectsWindowMs: 1_000,
        },
        polls: [],
        load: {},
      },
    ]),
  ),
  streams: ({ market, symbol }, channel) => {
    const route = 'public'
    switch (channel) {
      case 'book':
      case 'trades':
        return [{ name: `${channel}.${symbol}`, route }]
      case 'klines':
        return ['1m', '1h'].map((interval) => ({ name: `kline.${interval}.${symbol}`, route: 'business' }))
      case 'tickers':
      case 'mark_prices':
      case 'funding_rates':
        return [{ name: `ticker.${symbol}`, route }]
      case 'liquidations':
        return [{ name: `liquidations.${market}`, route }]
      default:
        return []
    }
  },
  socketUrl: (_market, route, wsBase) => `${wsBase}/${route}`,
  instrumentsRequest: () => ({ path: '/instruments', weight: 1 }),
}
const RULES = new Map([['venue', VENUE]])
const CHANNELS: readonly Channel[] = [
  'book',
  'trades',
  'klines',
  'tickers',
  'mark_prices',
  'funding_rates',
  'liquidations',
]

function instrument(index: number, market = 'swap'): Instrument {
  const symbol = `S${index}`
  const id = instrumentId('venue', market, symbol)
  return { id, exchange: 'venue', market, symbol, priceScale: 1, quantityScale: 1, status: 'live', isTrading: true }
}

const many = (count: number, market = 'swap') => Array.from({ length: count }, (_, index) => instrument(index, market))

function settings(shardCount: number, change: Partial<MarketSettings> = {}): PlanSettings {
  const market: MarketSettings = {
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
  return {
    ...PLAN_DEFAULTS,
    shardCount,
    ringBytes: 1,
    startMs: 0,
    markets: { 'venue.swap': market, 'venue.spot': market },
  }
}

/** What must hold of every set of connections, checked the slow way. */
function check(
  connections: readonly PlannedConnection[],
  collected: readonly Instrument[],
  shardOf: (instrument: Instrument) => number,
  legs: number,
): void {
  const open = connections.filter(({ streams }) => streams.length > 0)
  assert.ok(open.length <= 27, `${open.length} sockets`)
  for (const { streams, instruments, shard, leg, name } of open) {
    assert.ok(streams.length <= 40 && new Set(streams).size === streams.length, name)
    assert.ok(instruments.filter(({ channels }) => channels.includes('book')).length <= 9, name)
    for (const each of instruments) assert.equal(shardOf(each.instrument), shard)
    assert.ok(leg < legs)
    const needed = new Set(
      instruments
        .flatMap((each) => each.channels.flatMap((channel) => VENUE.streams(each.instrument, channel)))
        .map((stream) => stream.name),
    )
    assert.deepEqual([...streams].sort(), [...needed].sort(), `${name} has exactly the streams of its instruments`)
  }
  const carried = new Map<string, number>()
  for (const { instruments } of open) {
    for (const each of instruments)
      for (const channel of each.channels) {
        const key = `${each.instrument.id}/${channel}`
        carried.set(key, (carried.get(key) ?? 0) + 1)
      }
  }
  const wanted = collected.flatMap(({ id }) => CHANNELS.map((channel) => [`${id}/${channel}`, legs] as const))
  assert.deepEqual(
    [...carried].sort(),
    [...wanted].sort(),
    'every channel of every instrument is on one connection and its copies',
  )
  const sharedStreams = open.flatMap(({ streams, shard, leg }) =>
    streams
      .filter((stream) => stream.startsWith('liquidations'))
      .map((stream) => `${stream} in shard ${shard}, leg ${leg}`),
  )
  assert.equal(new Set(sharedStreams).size, sharedStreams.length, 'a shared stream comes once a shard')
}

const shardsOf = (made: Plan) => (wanted: Instrument) =>
  made.shards.findIndex((members) => members.some(({ id }) => id === wanted.id))

test('plan should ask once for a stream that several channels or instruments share', () => {
  const made = plan(RULES, many(4), settings(1))
  const streams = made.connections.flatMap((connection) => connection.streams)
  assert.equal(streams.filter((name) => name === 'liquidations.swap').length, 1)
  assert.equal(streams.filter((name) => name === 'ticker.S2').length, 1)
  check(made.connections, many(4), shardsOf(made), 1)
})

test('plan should keep to the books of a connection and the sockets of an address, with fewer shards where it must', () => {
  const few = [...many(30), ...many(30, 'spot')]
  for (const shardCount of [1, 2, 8, 32]) {
    const made = plan(RULES, few, settings(shardCount))
    assert.equal(made.shards.length, shardCount)
    check(made.connections, few, shardsOf(made), 1)
  }
  assert.throws(() => plan(RULES, [...many(200), ...many(200, 'spot')], settings(2)), {
    code: 'PLAN_REFUSED',
    message: /connections to venue, one address may have 30 \(connectionsMax\), of which 3 are spare; raise/,
  })
})

test('plan should open each connection as often as there are legs, with the leg in the name', () => {
  const made = plan(RULES, many(9), settings(2, { legs: 3 }))
  check(made.connections, many(9), shardsOf(made), 3)
  const [first, second, third] = made.connections as [PlannedConnection, PlannedConnection, PlannedConnection]
  assert.deepEqual(
    [first, second, third].map(({ name, leg, original, index }) => [name, leg, original, index]),
    [
      ['venue.swap/business#0', 0, 0, 0],
      ['venue.swap/business#1/B', 1, 0, 1],
      ['venue.swap/business#2/C', 2, 0, 2],
    ],
  )
  assert.deepEqual(second.streams, first.streams)
})

test('plan should count the attempts that a venue allows in a second into the time of the start', () => {
  const made = plan(RULES, many(60), settings(1))
  const count = made.connections.length
  assert.ok(count >= 8, `${count}`)
  assert.equal(made.estimate.connectMs, Math.floor((count - 1) / 2) * 1_000 + 500, 'two of three a second are ours')
  assert.equal(made.estimate.snapshotMs, 0)
})

test('placement should take instruments in and out and touch nothing of the others', () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const random = seededRandom(seed)
  for (let round = 0; round < 12; round++) {
    const legs = 1 + Math.floor(random() * 2)
    const set = settings(1 + Math.floor(random() * 4), { legs })
    const wanted = new Map(many(1 + Math.floor(random() * 10)).map((each) => [each.id, each]))
    const placement = new Placement(RULES, set, plan(RULES, [...wanted.values()], set))
    const shardOf = (each: Instrument) => placement.find(each.id)?.shard ?? -1
    const placed = new Map<string, string>()
    for (let step = 0; step < 60; step++) {
      const one = instrument(Math.floor(random() * 24))
      const before = placement.connections.map(({ streams }) => new Set(streams))
      const others = [...wanted.values()].filter(({ id }) => id !== one.id)
      if (wanted.has(one.id)) {
        wanted.delete(one.id)
        const { parts, closed } = placement.remove(one.id)
        for (const { connection, streams, instruments } of parts) {
          assert.deepEqual(
            instruments.map((each) => each.instrument.id),
            [one.id],
          )
          for (const stream of streams) {
            assert.ok(before[connection]?.has(stream), 'only what was there is taken away')
            assert.ok(stream.endsWith(`.${one.symbol}`) || stream === 'liquidations.swap', `seed ${seed}: ${stream}`)
          }
        }
        for (const index of closed) assert.equal(placement.connection(index).streams.length, 0)
      } else {
        wanted.set(one.id, one)
        const { joins, opened, place } = placement.add(one)
        assert.equal(placement.members(place.shard)[place.index], one)
        for (const { connection, streams } of joins)
          for (const stream of streams) assert.ok(!before[connection]?.has(stream), 'only what is new is asked for')
        for (const { instruments } of opened)
          assert.deepEqual(
            instruments.map((each) => each.instrument.id),
            [one.id],
          )
      }
      for (const [index, connection] of placement.connections.entries()) assert.equal(connection.index, index)
      check(placement.connections, [...wanted.values()], shardOf, legs)
      for (const { id } of [...others, one]) {
        const at = JSON.stringify([placement.find(id)?.shard, placement.find(id)?.index])
        assert.equal(placed.get(id) ?? at, at, `seed ${seed}: ${id} moved`)
        placed.set(id, at)
      }
      assert.deepEqual(
        placement
          .collected('venue.swap')
          .map(({ id }) => id)
          .sort(),
        [...wanted.keys()].sort(),
      )
    }
  }
})

test('placement should refuse what the venue does not allow, and change nothing then', () => {
  const set = settings(1)
  const placement = new Placement(RULES, set, plan(RULES, many(1), set))
  let index = 1
  const fill = () => {
    for (; index < 2_000; index++) placement.add(instrument(index))
  }
  assert.throws(fill, { code: 'PLAN_REFUSED', message: /connections to venue, one address may have/ })
  assert.ok(index > 100, `${index}`)
  check(placement.connections, many(index), (each) => placement.find(each.id)?.shard ?? -1, 1)
  assert.throws(() => placement.remove('venue.swap.NOBODY'), /is not collected/)
})
