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
  const future = await rig.get(`/v1/coverage/${BTC}?from=2200-01-01`)
  assert.deepEqual([future.status, future.json.error?.parameter], [400, 'from'], future.text)
})

test('coverage should not call complete what nobody collected', async (t) => {
  const rig = await historyRig(t)
  const NAMES = [BTC, 'binance.usdm.ETHUSDT']
  const trade = (minute: number, instrument: number, boot: number): Row => ({
    instrument,
    received_ns: at(minute),
    trade_ns: at(minute),
    event_ns: at(minute),
    stream: 1,
    trade_id: minute * 10 + instrument + boot,
    seq: minute + 1,
    side: 1,
  })
  const describe = (minute: number, instrument: number, status = 'TRADING'): Row => ({
    instrument,
    received_ns: at(minute),
    status,
  })
  const put = (table: 'trades' | 'gaps' | 'instruments', epoch: bigint, rows: Row[], producer = 'one') =>
    rig.put(table, NAMES, rows, { epoch, producer })
  // the first boot: the second instrument is taken from the list for ten minutes
  await put('instruments', 1n, [describe(0, 0), describe(0, 1), describe(20, 1, 'REMOVED'), describe(30, 1)])
  await put('trades', 1n, [trade(0, 0, 0), trade(0, 1, 0), trade(15, 1, 0), trade(35, 1, 0), trade(40, 0, 0)])
  // the second one is on an empty disk: it knows of no first one; and it does not have the second instrument
  await put('instruments', 2n, [describe(50, 0)])
  await put('trades', 2n, [trade(50, 0, 1), trade(60, 0, 1)])
  // the third one knows of the second, of which all is kept for a minute more, and has both
  const down = (instrument: number): Row => ({
    instrument,
    received_ns: at(70),
    channel: 2,
    cause: 6,
    status: 2,
    from_ns: at(61),
    to_ns: at(70),
  })
  await put('instruments', 3n, [describe(70, 0), describe(70, 1)])
  await put('gaps', 3n, [down(0), down(1)])
  await put('trades', 3n, [trade(70, 0, 2), trade(71, 1, 2), trade(80, 0, 2)])
  const covered = async (name: string | undefined) => {
    const { status, json, text } = await rig.get(`/v1/coverage/${name}?channel=trades&from=${at(0)}&to=${at(80)}`)
    assert.equal(status, 200, text)
    return json
  }
  const shown = async (name: string | undefined) =>
    (await covered(name)).channels[0].intervals.map((one: Record<string, string>) => [
      Number((BigInt(one['from_ns'] as string) - NOON_NS) / 60_000_000_000n),
      one['state'],
      String(one['reasons']),
    ])
  assert.deepEqual(await shown(NAMES[0]), [
    [0, 'complete', ''],
    [40, 'missing', 'not_collected'],
    [50, 'complete', ''],
    [61, 'missing', 'collector_down'],
    [70, 'complete', ''],
  ])
  assert.deepEqual(await shown(NAMES[1]), [
    [0, 'complete', ''],
    [20, 'missing', 'not_collected'],
    [30, 'complete', ''],
    [40, 'missing', 'not_collected'],
    [61, 'missing', 'collector_down'],
    [70, 'complete', ''],
  ])
  // another collector had the first one meanwhile
  await put('trades', 1n, [trade(38, 0, 5), trade(52, 0, 5)], 'two')
  assert.deepEqual((await shown(NAMES[0]))[0], [0, 'complete', ''])
  assert.deepEqual((await shown(NAMES[0]))[1], [61, 'missing', 'collector_down'])
})

test('coverage should not call complete what a block that is not stored may hold', async (t) => {
  const rig = await historyRig(t)
  const put = (minute: number, blockSeq: bigint) => {
    const times = { received_ns: at(minute), trade_ns: at(minute), event_ns: at(minute) }
    const row: Row = { instrument: 0, ...times, stream: 1, trade_id: minute + 1, seq: minute + 1, side: 1 }
    return rig.put('trades', [BTC], [row], { blockSeq })
  }
  await put(0, 1n)
  await put(10, 2n)
  await put(12, 4n) // number 3 became a dead letter, or is on its way
  await put(20, 5n)
  const shown = async () =>
    (await rig.get(`/v1/coverage/${BTC}?channel=trades&from=${at(0)}&to=${at(20)}`)).json.channels[0].intervals.map(
      ({ from_ns, state, reasons }: { from_ns: string; state: string; reasons: string[] }) => [
        Number((BigInt(from_ns) - NOON_NS) / 1_000_000_000n),
        state,
        String(reasons),
      ],
    )
  const [first, hole, last, ...more] = await shown()
  assert.deepEqual([first, hole, more], [[0, 'complete', ''], [590, 'degraded', 'not_stored'], []])
  assert.deepEqual([last[0] >= 720, last[1]], [true, 'complete'])
  await put(11, 3n)
  assert.deepEqual(await shown(), [[0, 'complete', '']])
})

test('gaps that a dead engine left open should end where its successor knows nothing, and others stay open', async (t) => {
  const rig = await historyRig(t)
  const gap = (minute: number, from: number, to: number, cause: number, status: number, channel = 2): Row => ({
    instrument: 0,
    received_ns: at(minute),
    channel,
    cause,
    status,
    from_ns: at(from),
    to_ns: status === 1 ? 0n : at(to),
  })
  await rig.put('gaps', [BTC], [gap(10, 10, 0, 1, 1), gap(12, 12, 0, 1, 1, 1), gap(12, 11, 0, 1, 1, 3)], { epoch: 1n })
  // what was kept is a little older than what was stored
  await rig.put('gaps', [BTC], [gap(20, 9, 0, 6, 1), gap(22, 15, 0, 6, 1, 1)], { epoch: 2n })
  await rig.put('gaps', [BTC], [gap(30, 22, 30, 6, 2), gap(30, 22, 30, 6, 2, 1), gap(40, 40, 0, 2, 1)], { epoch: 3n })
  await rig.put('gaps', [BTC], [gap(60, 60, 60, 6, 2, 3)], { epoch: 1n, producer: 'another' })
  const shown = async (query: string) =>
    (await rig.get(`/v1/gaps?order=asc&${query}`)).json.rows.map((row: Record<string, string>) => [
      row['channel'],
      row['cause'],
      row['status'],
      ...[row['from_ns'], row['to_ns']].map((ns) =>
        ns === '0' ? '' : Number((BigInt(ns as string) - NOON_NS) / 60_000_000_000n),
      ),
    ])
  assert.deepEqual(await shown('channel=trades'), [
    ['trades', 'collector_down', 'closed', 9, 22],
    ['trades', 'disconnect', 'closed', 10, 10],
    ['trades', 'collector_down', 'closed', 22, 30],
    ['trades', 'sequence', 'open', 40, ''],
  ])
  assert.deepEqual(await shown('channel=book'), [
    ['book', 'disconnect', 'closed', 12, 15],
    ['book', 'collector_down', 'closed', 15, 22],
    ['book', 'collector_down', 'closed', 22, 30],
  ])
  assert.deepEqual(await shown('status=open'), [
    ['book_tickers', 'disconnect', 'open', 11, ''],
    ['trades', 'sequence', 'open', 40, ''],
  ])
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
  // a store that was made before there were bars of hours
  for (const table of ['trade_hours', 'trade_hour_bars'])
    await rig.clickhouse.client.command({ query: `DROP TABLE ${table}` })
  assert.deepEqual(await shown('interval=1h'), [...wanted.slice(0, 3), ['13', 'USDT', '13', 2]])
  assert.equal((await rig.get('/v1/volumes?interval=90s')).status, 400)
  assert.equal((await rig.get('/v1/volumes?from=2200-01-01')).status, 400)
})
