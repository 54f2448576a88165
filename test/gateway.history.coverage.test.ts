import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Clock } from '../engine/base/clock.ts'
import { seededRandom } from '../engine/base/random.ts'
import { CandleJob } from '../engine/gateway/history/candle-job.ts'
import { COVERAGE_STATES, type CoverageState, type Span, sweep } from '../engine/gateway/history/coverage.ts'
import type { Row } from './support/blocks.ts'
import { historyRig } from './support/history.ts'

const BTC = 'binance.usdm.BTCUSDT'
const NOON_NS = BigInt(Date.parse('2026-10-01T12:00:00Z')) * 1_000_000n
const at = (minute: number): bigint => NOON_NS + BigInt(minute) * 60_000_000_000n

test('coverage should say of every moment what a look at each moment says', (t) => {
  const seed = 1 + (Math.trunc(performance.now() * 1000) % 1_000_000)
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const pick = (max: number) => Math.floor(random() * max)
  for (let round = 0; round < 300; round++) {
    const spans: Span[] = Array.from({ length: pick(8) }, () => ({
      fromNs: BigInt(pick(40) - 5),
      toNs: BigInt(pick(40) - 5),
      state: COVERAGE_STATES[pick(4)] as CoverageState,
      reason: `r${pick(3)}`,
    }))
    const intervals = sweep(5n, 30n, 'complete', spans)
    assert.deepEqual([intervals[0]?.from_ns, intervals.at(-1)?.to_ns], ['5', '30'])
    for (const [index, one] of intervals.entries())
      assert.ok(index === 0 || intervals[index - 1]?.to_ns === one.from_ns)
    for (let moment = 5n; moment < 30n; moment++) {
      const over = spans.filter(({ fromNs, toNs }) => fromNs <= moment && moment < toNs)
      const state = COVERAGE_STATES.find((one) => over.some((span) => span.state === one)) ?? 'complete'
      const found = intervals.find((one) => BigInt(one.from_ns) <= moment && moment < BigInt(one.to_ns))
      assert.equal(found?.state, state, `${moment} of ${JSON.stringify(spans, (_, value) => String(value))}`)
    }
  }
})

test('coverage of a channel should follow its rows, its gaps and what is stored so far', async (t) => {
  const rig = await historyRig(t)
  const trade = (minute: number, more: Row = {}): Row => ({
    instrument: 0,
    received_ns: at(minute),
    trade_ns: at(minute),
    event_ns: at(minute),
    stream: 1,
    trade_id: minute + 1,
    seq: minute + 1,
    price_mantissa: 5n,
    quantity_mantissa: 2n,
    side: 1,
    ...more,
  })
  const gap = (from: number, to: number, cause: number, status: number): Row => ({
    instrument: 0,
    received_ns: at(to),
    channel: 2,
    cause,
    status,
    from_ns: at(from),
    to_ns: status === 1 ? 0n : at(to),
  })
  await rig.put('trades', [BTC], [trade(10), trade(50)])
  await rig.put('gaps', [BTC], [gap(12, 14, 1, 2), gap(20, 22, 2, 2), gap(30, 31, 1, 3)])
  const ask = async (query: string, instrument = BTC) => (await rig.get(`/v1/coverage/${instrument}?${query}`)).json
  const { channels } = await ask(`channel=trades&from=${at(0)}&to=${at(60)}`)
  const shown = channels[0].intervals.map((one: Record<string, string>) => [
    Number((BigInt(one['from_ns'] as string) - NOON_NS) / 60_000_000_000n),
    one['state'],
    String(one['reasons']),
  ])
  assert.deepEqual(shown, [
    [0, 'missing', 'no_rows'],
    [10, 'complete', ''],
    [12, 'missing', 'disconnect'],
    [14, 'complete', ''],
    [20, 'degraded', 'sequence'],
    [22, 'complete', ''],
    [30, 'backfilled', 'disconnect'],
    [31, 'complete', ''],
    [50, 'missing', 'not_stored'],
  ])
  assert.deepEqual(channels[0].seconds, {
    missing: '1320',
    degraded: '120',
    backfilled: '60',
    unverifiable: '0',
    complete: '2100',
  })
  // a venue that numbers nothing
  await rig.put('trades', ['bybit.linear.X'], [trade(1, { seq: 0 }), trade(5, { seq: 0 })])
  const [unnumbered] = (await ask(`channel=trades&from=${at(2)}&to=${at(4)}`, 'bybit.linear.X')).channels
  assert.deepEqual(
    unnumbered.intervals.map(({ state }: { state: string }) => state),
    ['unverifiable'],
  )
  const both = await ask(`from=${at(0)}&to=${at(60)}`)
  assert.deepEqual(
    both.channels.map(({ channel, first_received_ns }: Record<string, unknown>) => [
      channel,
      first_received_ns === null,
    ]),
    [
      ['book', true],
      ['trades', false],
    ],
  )
  assert.equal((await rig.get('/v1/coverage/okx.spot.NONE')).status, 404)
})

test('volumes should be worth in the currency of each, whether bars are kept or not, and count nothing twice', async (t) => {
  const rig = await historyRig(t)
  const names = ['binance.usdm.AUSDT', 'binance.coinm.BUSD_PERP', 'binance.usdm.CUSDT', 'binance.usdm.D']
  await rig.put('instruments', names.slice(0, 3), [
    { instrument: 0, received_ns: at(0), kind: 2, base: 'A', quote: 'USDT', contract_size: null },
    {
      instrument: 1,
      received_ns: at(0),
      kind: 2,
      base: 'B',
      quote: 'USD',
      contract_size: 100n * 10n ** 38n,
      contract_unit: 'USD',
    },
    {
      instrument: 2,
      received_ns: at(0),
      kind: 2,
      base: 'C',
      quote: 'USDT',
      contract_size: 5n * 10n ** 37n,
      contract_unit: 'C',
    },
  ])
  const trade = (id: number, instrument: number, minute: number, price: bigint, quantity: bigint, stream = 1): Row => ({
    instrument,
    received_ns: at(minute),
    trade_ns: at(minute),
    event_ns: at(minute),
    stream,
    trade_id: id,
    first_trade_id: id,
    last_trade_id: id,
    price_mantissa: price,
    quantity_mantissa: quantity,
    price_scale: 1,
    quantity_scale: 0,
    side: 1,
  })
  await rig.put('trades', names, [
    trade(1, 0, 1, 25n, 4n),
    trade(2, 0, 2, 25n, 2n, 2), // the second is an aggregate of what the first says
    trade(3, 1, 3, 999n, 7n),
    trade(4, 2, 4, 30n, 10n),
    trade(5, 3, 5, 11n, 1n),
    trade(6, 0, 65, 10n, 3n),
  ])
  const wanted = [
    ['12', '', '1.1', 1],
    ['12', 'USD', '700', 1],
    ['12', 'USDT', '25', 2],
    ['13', 'USDT', '3', 1],
  ]
  const range = `from=${at(0)}&to=${at(120)}`
  const shown = async (query: string) => {
    const { status, json, text } = await rig.get(`/v1/volumes?${query}&${range}`)
    assert.equal(status, 200, text)
    return json.rows.map((row: Record<string, unknown>) => [
      new Date(Number(BigInt(row['open_ns'] as string) / 1_000_000n)).toISOString().slice(11, 13),
      row['currency'],
      row['quote_volume'],
      row['trade_count'],
    ])
  }
  assert.deepEqual(await shown('by=exchange&interval=1h'), wanted)
  const job = new CandleJob(rig.clickhouse.options, new Clock(), () => false)
  t.after(() => job.close())
  await job.run(new AbortController().signal)
  assert.deepEqual(await shown('by=exchange&interval=1h'), wanted)
  await rig.put('trades', names, [trade(7, 0, 70, 10n, 10n)]) // younger than what is kept
  assert.deepEqual(await shown('interval=1h'), [...wanted.slice(0, 3), ['13', 'USDT', '13', 2]])
  const markets = (await rig.get(`/v1/volumes?by=market&interval=1d&${range}`)).json.rows
  assert.deepEqual(
    markets.map(({ market, currency, quote_volume }: Record<string, string>) => [market, currency, quote_volume]),
    [
      ['coinm', 'USD', '700'],
      ['usdm', '', '1.1'],
      ['usdm', 'USDT', '38'],
    ],
  )
  assert.equal((await rig.get(`/v1/volumes?by=instrument&interval=1d&${range}`)).json.rows.length, 4)
  assert.equal((await rig.get('/v1/volumes?interval=90s')).status, 400)
})
