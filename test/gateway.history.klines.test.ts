import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Clock } from '../engine/base/clock.ts'
import { seededRandom } from '../engine/base/random.ts'
import { CandleJob } from '../engine/gateway/history/candle-job.ts'
import type { Row } from './support/blocks.ts'
import { type HistoryRig, historyRig } from './support/history.ts'

const BTC = 'binance.usdm.BTCUSDT'
const UUID = 'bybit.linear.ETHUSDT'
const SECOND_NS = 1_000_000_000n
const MINUTE_NS = 60n * SECOND_NS
const DAY_NS = 86_400n * SECOND_NS
const STARTED_NS = 1_789_948_800_000_000_000n // a Monday, 00:00

interface Trade {
  readonly ns: bigint
  readonly id: number
  readonly price: bigint // at 10^-8
  readonly quantity: bigint // at 10^-8
  readonly isBuy: boolean
  readonly row: Row
}

/** Mantissas at a scale that changes, so that bars have to add what is not of one scale. */
function trades(count: number, random: () => number, spanNs: bigint): Trade[] {
  const times = Array.from(
    { length: count },
    () => BigInt(Math.floor(random() * Number(spanNs / 1_000_000n))) * 1_000_000n,
  )
  times.sort((a, b) => (a < b ? -1 : 1))
  return times.map((offset, index) => {
    const scale = random() < 0.5 ? 2 : 8
    const quantityScale = random() < 0.5 ? 0 : 5
    const price = BigInt(1 + Math.floor(random() * 1_000_000))
    const quantity = BigInt(1 + Math.floor(random() * 1_000_000_000))
    const isBuy = random() < 0.5
    const ns = STARTED_NS + offset
    return {
      ns,
      id: index + 1,
      price: price * 10n ** BigInt(8 - scale),
      quantity: quantity * 10n ** BigInt(8 - quantityScale),
      isBuy,
      row: {
        instrument: 0,
        received_ns: ns + 3_000_000n,
        event_ns: ns,
        trade_ns: ns,
        stream: 1,
        trade_id: index + 1,
        first_trade_id: index + 1,
        last_trade_id: index + 1,
        price_mantissa: price,
        quantity_mantissa: quantity,
        price_scale: scale,
        quantity_scale: quantityScale,
        side: isBuy ? 1 : 2,
      },
    }
  })
}

function decimal(value: bigint, scale: number): string {
  const digits = String(value).padStart(scale + 1, '0')
  const rest = digits.slice(digits.length - scale).replace(/0+$/, '')
  return `${digits.slice(0, digits.length - scale)}${rest === '' ? '' : `.${rest}`}`
}

/** Candles by a loop over the trades, in BigInt. */
function oracle(list: readonly Trade[], startOf: (ns: bigint) => bigint) {
  const bars = new Map<bigint, Trade[]>()
  for (const trade of list) {
    const start = startOf(trade.ns)
    bars.set(start, [...(bars.get(start) ?? []), trade])
  }
  const sum = (of: readonly Trade[], value: (trade: Trade) => bigint) =>
    of.reduce((total, one) => total + value(one), 0n)
  return [...bars]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([start, of]) => {
      const prices = of.map(({ price }) => price).sort((a, b) => (a < b ? -1 : 1))
      const bought = of.filter(({ isBuy }) => isBuy)
      return {
        open_ns: String(start),
        open: decimal(of[0]?.price ?? 0n, 8),
        high: decimal(prices.at(-1) ?? 0n, 8),
        low: decimal(prices[0] ?? 0n, 8),
        close: decimal(of.at(-1)?.price ?? 0n, 8),
        volume: decimal(
          sum(of, ({ quantity }) => quantity),
          8,
        ),
        notional: decimal(
          sum(of, ({ price, quantity }) => price * quantity),
          16,
        ),
        taker_buy_volume: decimal(
          sum(bought, ({ quantity }) => quantity),
          8,
        ),
        taker_buy_notional: decimal(
          sum(bought, ({ price, quantity }) => price * quantity),
          16,
        ),
        trade_count: of.length,
        match_count: of.length,
        first_trade_id: of[0]?.id,
        last_trade_id: of.at(-1)?.id,
      }
    })
}

const multiple = (ns: bigint) => (time: bigint) => time - (time % ns)
const STARTS: Readonly<Record<string, (ns: bigint) => bigint>> = {
  '1s': multiple(SECOND_NS),
  '90s': multiple(90n * SECOND_NS),
  '1m': multiple(MINUTE_NS),
  '7m': multiple(7n * MINUTE_NS),
  '1h': multiple(60n * MINUTE_NS),
  '1d': multiple(DAY_NS),
  '1w': (ns) => ns - ((ns - 4n * DAY_NS) % (7n * DAY_NS)),
  '1M': (ns) => BigInt(Date.parse(`${new Date(Number(ns / 1_000_000n)).toISOString().slice(0, 7)}-01`)) * 1_000_000n,
  '3M': (ns) => {
    const [year = 0, month = 0] = new Date(Number(ns / 1_000_000n)).toISOString().split('-').map(Number)
    return BigInt(Date.UTC(year, Math.floor((month - 1) / 3) * 3)) * 1_000_000n
  },
}

async function candles(rig: HistoryRig, query: string, instrument = BTC) {
  const { status, json, text } = await rig.get(`/v1/klines/${instrument}?order=asc&limit=10000&${query}`)
  assert.equal(status, 200, text)
  const rows = json.rows.map(
    ({ close_ns, is_closed, gap, first_trade_ns, last_trade_ns, ...row }: Record<string, unknown>) => row,
  )
  return { rows, json }
}

test('klines', async (t) => {
  const seed = 1 + (Math.trunc(performance.now() * 1000) % 1_000_000)
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const rig = await historyRig(t)
  const all = trades(900, random, 2n * DAY_NS)
  const late = all.filter((_, index) => index % 97 === 5)
  const first = all.filter((trade) => !late.includes(trade))
  for (const day of [0n, 1n]) {
    const rows = first.filter(
      ({ ns }) => (ns - STARTED_NS) / DAY_NS === day && (ns + 3_000_000n - STARTED_NS) / DAY_NS === day,
    )
    await rig.put(
      'trades',
      [BTC],
      rows.map(({ row }) => row),
    )
  }
  const stored = first.filter(({ ns }) => (ns - STARTED_NS) / DAY_NS === (ns + 3_000_000n - STARTED_NS) / DAY_NS)
  const range = `from=${STARTED_NS - 200n * DAY_NS}&to=${STARTED_NS + 3n * DAY_NS}`
  const short = `from=${STARTED_NS}&to=${STARTED_NS + 6000n * SECOND_NS}`

  await t.test('klines counted from trades should be exact at every interval and scale', async () => {
    for (const [interval, startOf] of Object.entries(STARTS)) {
      const few = interval.endsWith('s')
      const wanted = oracle(stored, startOf).filter(
        ({ open_ns }) => !few || BigInt(open_ns) < STARTED_NS + 6000n * SECOND_NS,
      )
      const wide =
        interval === '1m' || interval === '7m' ? `from=${STARTED_NS - DAY_NS}&to=${STARTED_NS + 3n * DAY_NS}` : range
      const { rows, json } = await candles(rig, `interval=${interval}&${few ? short : wide}`)
      assert.deepEqual(rows, wanted, interval)
      assert.equal(json.volume_check, 'counted')
    }
  })

  const job = new CandleJob(rig.clickhouse.options, new Clock(), () => false)
  t.after(() => job.close())
  const signal = new AbortController().signal

  await t.test('klines kept by the job should be the same, and proven', async () => {
    const said = await job.run(signal)
    assert.match(said, /^compared all days, computed \d+ hours$/)
    const kept = await rig.clickhouse.query('SELECT sum(trade_count) AS trades FROM trade_bars FINAL')
    assert.deepEqual(kept, [{ trades: String(stored.length) }])
    for (const interval of ['1m', '7m', '1h', '1d', '1w', '1M', '3M']) {
      const wide =
        interval === '1m' || interval === '7m' ? `from=${STARTED_NS - DAY_NS}&to=${STARTED_NS + 3n * DAY_NS}` : range
      const { rows, json } = await candles(rig, `interval=${interval}&${wide}`)
      assert.deepEqual(rows, oracle(stored, STARTS[interval] as (ns: bigint) => bigint), interval)
      assert.deepEqual([json.volume_check, json.recounted_minutes], ['proven', 0], interval)
      const summed = await candles(rig, `interval=${interval}&check=sum&${wide}`)
      assert.equal(summed.json.volume_check, 'equal', interval)
    }
  })

  await t.test('klines should hold trades that came late before the job has seen them, and after', async () => {
    const rows = late.map(({ row, ns }) => ({ ...row, origin: 1, received_ns: ns + 3n * DAY_NS }))
    for (const day of [3n, 4n, 5n]) {
      const of = rows.filter(({ received_ns }) => (received_ns - STARTED_NS) / DAY_NS === day)
      if (of.length > 0) await rig.put('trades', [BTC], of)
    }
    const whole = [...stored, ...late].sort((a, b) => a.id - b.id)
    for (const interval of ['1m', '1h', '1M']) {
      const wide = interval === '1m' ? `from=${STARTED_NS}&to=${STARTED_NS + 3n * DAY_NS}` : range
      const { rows: found, json } = await candles(rig, `interval=${interval}&${wide}`)
      assert.deepEqual(found, oracle(whole, STARTS[interval] as (ns: bigint) => bigint), interval)
      assert.ok(json.recounted_minutes > 0 && json.recounted_minutes <= late.length, interval)
    }
    assert.match(await job.run(signal), /^\d blocks?.*, minutes of \d+ hours$/)
    const after = await candles(rig, `interval=1h&${range}`)
    assert.deepEqual(after.rows, oracle(whole, STARTS['1h'] as (ns: bigint) => bigint))
    assert.deepEqual([after.json.volume_check, after.json.recounted_minutes], ['proven', 0])
    assert.equal(await job.run(signal), 'no new trades')
  })

  await t.test('klines should not count a block twice that came twice', async () => {
    const again = stored.slice(0, 20).map(({ row, ns }) => ({ ...row, received_ns: ns + 4_000_000n }))
    await rig.put('trades', [BTC], again, { producer: 'second' })
    const { rows, json } = await candles(rig, `interval=1h&${range}&check=sum`)
    const whole = [...stored, ...late].sort((a, b) => a.id - b.id)
    assert.deepEqual(rows, oracle(whole, STARTS['1h'] as (ns: bigint) => bigint))
    assert.equal(json.volume_check, 'equal')
  })

  await t.test('klines whose sum is not that of the trades should be told to be unequal', async () => {
    await rig.clickhouse.client.command({
      query: `INSERT INTO trade_bars SELECT * REPLACE (volume + 1 AS volume, computed_ns + 1 AS computed_ns)
              FROM trade_bars FINAL WHERE symbol = 'BTCUSDT' ORDER BY minute_ns DESC LIMIT 1`,
    })
    assert.equal((await candles(rig, `interval=1h&${range}&check=sum`)).json.volume_check, 'unequal')
  })

  await t.test('klines should come page by page, whole, in both orders', async () => {
    const wide = `interval=1h&from=${STARTED_NS}&to=${STARTED_NS + 3n * DAY_NS}`
    const whole = (await rig.get(`/v1/klines/${BTC}?order=asc&limit=10000&${wide}`)).json.rows
    for (const order of ['asc', 'desc']) {
      const found: unknown[] = []
      for (let cursor = ''; ; ) {
        const { json, status, text } = await rig.get(`/v1/klines/${BTC}?${wide}&limit=5&order=${order}${cursor}`)
        assert.equal(status, 200, text)
        found.push(...json.rows)
        if (json.next_cursor === null) break
        cursor = `&cursor=${json.next_cursor}`
      }
      assert.deepEqual(order === 'asc' ? found : found.reverse(), whole, order)
    }
  })

  await t.test('klines without a begin should come page by page to the first trade, in both orders', async () => {
    const whole = (await candles(rig, `interval=1h&${range}`)).rows
    for (const order of ['asc', 'desc']) {
      const found: Record<string, unknown>[] = []
      let pages = 0
      for (let cursor = ''; ; pages++) {
        const { json } = await rig.get(`/v1/klines/${BTC}?interval=1h&limit=1000&order=${order}${cursor}`)
        found.push(...json.rows)
        if (json.next_cursor === null) break
        cursor = `&cursor=${json.next_cursor}`
      }
      const opens = (order === 'asc' ? found : found.reverse()).map(({ open_ns }) => open_ns)
      assert.deepEqual(
        opens,
        whole.map(({ open_ns }: Record<string, unknown>) => open_ns),
        `${order}, ${pages} pages`,
      )
    }
  })

  await t.test('klines of trades with ids of text should open and close in the order in which they came', async () => {
    const row = (place: number, price: bigint): Row => ({
      instrument: 0,
      received_ns: STARTED_NS + 5_000_000n,
      event_ns: STARTED_NS,
      trade_ns: STARTED_NS,
      stream: 1,
      venue_trade_id: ['f', 'a', 'c'][place] as string,
      price_mantissa: price,
      quantity_mantissa: 1n,
      side: 1,
    })
    await rig.put('trades', [UUID], [row(0, 7n), row(1, 9n), row(2, 8n)])
    const { rows } = await candles(rig, `interval=1m&from=${STARTED_NS}&to=${STARTED_NS + MINUTE_NS}`, UUID)
    assert.deepEqual([rows.length, rows[0].open, rows[0].high, rows[0].close], [1, '7', '9', '8'])
  })

  await t.test('klines of agg_trade should be given where there are no others, or when asked for', async () => {
    const row: Row = {
      instrument: 0,
      received_ns: STARTED_NS,
      trade_ns: STARTED_NS,
      event_ns: STARTED_NS,
      stream: 2,
      trade_id: 9,
      first_trade_id: 11,
      last_trade_id: 15,
      price_mantissa: 3n,
      quantity_mantissa: 4n,
      side: 2,
    }
    await rig.put('trades', ['binance.spot.X'], [row])
    const { rows, json } = await candles(
      rig,
      `interval=1m&from=${STARTED_NS}&to=${STARTED_NS + MINUTE_NS}`,
      'binance.spot.X',
    )
    assert.deepEqual([json.stream, rows[0].trade_count, rows[0].match_count, rows[0].volume], ['agg_trade', 1, 5, '4'])
    const none = await rig.get(`/v1/klines/binance.spot.X?stream=trade&from=${STARTED_NS}&to=${STARTED_NS + MINUTE_NS}`)
    assert.deepEqual([none.status, none.json.rows], [200, []])
    assert.equal((await rig.get('/v1/klines/binance.spot.Y')).status, 404)
  })

  await t.test('klines should say which bars a gap lies in', async () => {
    const at = (minute: number) => STARTED_NS + BigInt(minute) * MINUTE_NS
    const gap = (fromMinute: number, toMinute: number, status: number): Row => ({
      instrument: 0,
      received_ns: at(fromMinute),
      channel: 2,
      cause: 1,
      status,
      from_ns: at(fromMinute) + 1n,
      to_ns: status === 1 ? 0n : at(toMinute) + 1n,
    })
    await rig.put('gaps', [BTC], [gap(10, 20, 2), gap(60, 61, 3), gap(2000, 0, 1)])
    const { json } = await candles(rig, `interval=1h&from=${STARTED_NS}&to=${STARTED_NS + 2n * DAY_NS}`)
    const gaps = Object.fromEntries(
      json.rows.map((row: { open_ns: string; gap: string }) => [
        Number((BigInt(row.open_ns) - STARTED_NS) / (60n * MINUTE_NS)),
        row.gap,
      ]),
    )
    assert.deepEqual([gaps[0], gaps[1], gaps[5], gaps[40]], ['closed', 'repaired', 'none', 'open'])
  })

  await t.test('klines of the venue should be given as it sent them', async () => {
    const row = (minute: bigint, volume: bigint): Row => ({
      instrument: 0,
      received_ns: STARTED_NS + minute * MINUTE_NS + 61n * SECOND_NS,
      interval: 2,
      open_ns: STARTED_NS + minute * MINUTE_NS,
      close_ns: STARTED_NS + (minute + 1n) * MINUTE_NS - 1n,
      open: 10n ** 38n,
      volume,
    })
    await rig.put('klines', [BTC], [row(0n, 10n ** 38n), row(1n, 5n * 10n ** 37n)])
    await rig.put('klines', [BTC], [{ ...row(1n, 7n * 10n ** 37n), received_ns: STARTED_NS + DAY_NS }]) // corrected later
    const { json } = await candles(rig, 'interval=1m&source=venue')
    assert.deepEqual(
      json.rows.map((bar: Record<string, unknown>) => [bar.open_ns, bar.open, bar.volume, bar.high]),
      [
        [String(STARTED_NS), '1', '1', null],
        [String(STARTED_NS + MINUTE_NS), '1', '0.7', null],
      ],
    )
    assert.equal((await rig.get(`/v1/klines/${BTC}?interval=7m&source=venue`)).status, 400)
  })

  await t.test('klines of an interval that is none should be refused', async () => {
    for (const interval of ['0m', '1', 'm', '1y', '-1m', '13M', '367d', '1.5h', '1m;'])
      assert.equal((await rig.get(`/v1/klines/${BTC}?interval=${encodeURIComponent(interval)}`)).status, 400, interval)
  })
})
