import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { WebSocket } from 'ws'
import { createLog } from '../engine/base/log.ts'
import type { Channel, FeedRules, Instrument } from '../engine/exchanges/exchange.ts'
import { feedRules } from '../engine/exchanges/index.ts'
import type { Network } from '../engine/roles/network.ts'
import { chosenMarkets, type MarketChoice, planSettings } from '../engine/roles/settings.ts'
import { Traffic } from '../engine/roles/traffic.ts'
import { GAP_CHANNELS } from '../engine/record/schema.ts'
import { WANT_RESUBSCRIBE } from '../engine/ring/frame.ts'
import { type ContentChange, Placement } from '../engine/route/placement.ts'
import { plan } from '../engine/route/plan.ts'
import type { Router } from '../engine/route/router.ts'
import { until } from './support/feed-time.ts'
import { CONFIG } from './support/settings.ts'
import { type Observed, observe, startVenue } from './support/venue.ts'

/** What is said to OKX about streams that many options share: greeks by family, liquidations by type. */
const KEY = 'okx.option'
const OKX = feedRules().get('okx') as FeedRules
const RULES = new Map([['okx', OKX]])
const [FIRST, SECOND, THIRD] = ['BTC-USD-261225-70000-C', 'BTC-USD-261225-80000-C', 'ETH-USD-261225-4000-P'].map(
  option,
) as [Instrument, Instrument, Instrument]

function option(symbol: string): Instrument {
  const [, family = ''] = /^(\w+-\w+)-/.exec(symbol) ?? []
  const scales = { priceScale: 4, quantityScale: 0, status: 'live', isTrading: true }
  return { id: `${KEY}.${symbol}`, exchange: 'okx', market: 'option', symbol, underlying: family, ...scales }
}

/** A venue that acknowledges each stream by its name and writes down what it was asked: `+books:X`, `-books:X`. */
async function rig(t: TestContext, instruments: readonly Instrument[], channels: readonly Channel[]) {
  const said: string[] = []
  const onRequest = (socket: WebSocket, request: object) => {
    const { op, args } = request as { op: string; args: Record<string, string>[] }
    for (const arg of args) {
      said.push(`${op === 'subscribe' ? '+' : '-'}${Object.values(arg).join(':')}`)
      socket.send(JSON.stringify({ event: op, arg, connId: 'a' }))
    }
  }
  const venue = await startVenue({ onRequest })
  const choice = { ...(chosenMarkets(CONFIG)[0] as MarketChoice), channels, streamsPerConnection: 100 }
  const settings = { ...planSettings(CONFIG), shardCount: 1, markets: { [KEY]: choice } }
  const placement = new Placement(RULES, settings, plan(RULES, instruments, settings))
  const sockets = new Map<number, Observed>()
  const network = {
    connection: (index: number) => (sockets.get(index) as Observed).connection,
    snapshots: { cancel: () => {} },
  }
  const joined: string[] = []
  const downs: object[] = []
  const router = {
    open: () => {},
    join: (index: number, _generation: number, notice: { instruments: { channels: string[] }[] }) =>
      joined.push(`${index} ${notice.instruments.map((each) => each.channels.join('+')).join()}`),
    part: () => {},
    down: (notice: object, shard?: number) => downs.push({ ...notice, shard }),
    endOfBurst: () => {},
  }
  const log = createLog('silent', 'test')
  const clock = { ms: 0 }
  const traffic = new Traffic({
    rules: RULES,
    placement,
    network: network as unknown as Network,
    router: router as unknown as Router,
    time: { monotonicMs: () => clock.ms },
    log,
  })
  for (const { index, streams } of placement.connections) {
    const socket = observe(venue.url, { streams, clientMessagesPerSecondMax: 1_000 }, { rules: OKX })
    sockets.set(index, socket)
    socket.connection.start()
    await until('open', () => socket.connection.state === 'open')
    traffic.onOpen({ index }, 1)
  }
  t.after(async () => {
    for (const { connection } of sockets.values()) connection.stop()
    await venue.close()
  })
  const heard = async (...streams: readonly string[]): Promise<void> => {
    await until(`${streams}, not ${said}`, () => said.length >= streams.length)
    await new Promise((resolve) => setTimeout(resolve, 30)) // what should not be said has time to be said
    assert.deepEqual(said.splice(0).sort(), [...streams].sort())
  }
  const change = (changes: readonly ContentChange[], take: (one: ContentChange) => void) => changes.forEach(take)
  return { placement, traffic, heard, joined, change, clock, downs }
}

/** A request of a shard as it lies in its ring: 24 bytes of head, then the channel. */
function resubscribe(traffic: Traffic, index: number, channel: number): void {
  const bytes = new Uint8Array(32)
  const view = new DataView(bytes.buffer)
  view.setUint32(16, 1, true)
  view.setUint32(20, index, true)
  bytes[24] = channel
  traffic.onRequest(0, WANT_RESUBSCRIBE, bytes, 24, 1)
}

test('traffic should ask once for a stream that instruments share, and end it with the last of them', async (t) => {
  const { placement, traffic, heard, joined, change } = await rig(t, [FIRST], ['tickers', 'liquidations'])
  const shared = ['opt-summary:BTC-USD', 'liquidation-orders:OPTION']
  await heard(`+tickers:${FIRST.symbol}`, ...shared.map((stream) => `+${stream}`))
  const join = (instrument: Instrument) => change(placement.add(instrument).joins, (one) => traffic.onJoin(one))
  const part = ({ id }: Instrument) => change(placement.remove(id).parts, (one) => traffic.onPart(one))
  join(SECOND)
  await heard(`+tickers:${SECOND.symbol}`)
  assert.deepEqual(joined, ['0 tickers+liquidations'], 'each channel once, in one notice')
  join(THIRD)
  await heard(`+tickers:${THIRD.symbol}`, '+opt-summary:ETH-USD')
  part(FIRST)
  await heard(`-tickers:${FIRST.symbol}`)
  part(THIRD)
  await heard(`-tickers:${THIRD.symbol}`, '-opt-summary:ETH-USD')
  join(FIRST)
  await heard(`+tickers:${FIRST.symbol}`)
  part(SECOND)
  await heard(`-tickers:${SECOND.symbol}`)
  part(FIRST)
  await heard(`-tickers:${FIRST.symbol}`, ...shared.map((stream) => `-${stream}`))
})

test('traffic should not take a shared stream from the others when one instrument starts anew', async (t) => {
  const { traffic, heard } = await rig(t, [FIRST, SECOND], ['tickers', 'liquidations'])
  await heard(
    ...[FIRST, SECOND].map(({ symbol }) => `+tickers:${symbol}`),
    '+opt-summary:BTC-USD',
    '+liquidation-orders:OPTION',
  )
  resubscribe(traffic, 0, GAP_CHANNELS.tickers)
  await heard(`-tickers:${FIRST.symbol}`, `+tickers:${FIRST.symbol}`)
})

test('traffic should tell a new worker again what the runs before missed, while the one before may have lost it', async (t) => {
  const { traffic, clock, downs } = await rig(t, [FIRST], ['tickers'])
  traffic.onShardRestarted(0)
  assert.deepEqual(downs, [], 'nothing was missed')
  const notice = { sinceNs: '1795253359000000000', lost: [] }
  traffic.down(notice)
  clock.ms = 9_999
  traffic.onShardRestarted(0)
  clock.ms = 10_001
  traffic.onShardRestarted(0)
  const written = { lost: [], shard: 0, connections: [0], carried: [{ instrument: 0, channels: ['tickers'] }] }
  assert.deepEqual(downs, [
    { ...notice, shard: undefined },
    written, // at once, for all that the connections will carry
    { ...notice, shard: 0, connections: [0] },
    written,
  ])
})
