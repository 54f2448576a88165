/** One row of the engine's recorder on both its ways, live and stored: whoever reads one or the other gets the same. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { type OpenBlock, writeIdentity } from '../engine/record/block.ts'
import { DepthEvent, TickerEvent, TradeEvent } from '../engine/record/emit.ts'
import { LiveRows } from '../engine/record/live.ts'
import { Recorder } from '../engine/record/recorder.ts'
import {
  BOOK_STATES,
  GAP_CAUSES,
  GAP_CHANNELS,
  GAP_STATUSES,
  SIDES,
  TABLES,
  TRADE_LIQUIDATIONS,
  TRADE_ORIGINS,
  TRADE_STREAMS,
} from '../engine/record/schema.ts'
import type { CellValue, Column, KindTableName, Table } from '../engine/record/schema-columns.ts'
import type { KindRow } from '../engine/record/schema-kinds.ts'
import { ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { sealedBlock } from '../engine/sinks/sink.ts'
import { cleanUp } from './support/clean-up.ts'
import { startTestClickHouse } from './support/clickhouse.ts'
import { SILENT } from './support/embedded.ts'
import { served } from './support/gateway.ts'
import { Listener, ToldSource } from './support/live.ts'

const NAMES = ['deribit.option.BTC-27NOV26-60000-C', 'deribit.perpetual.BTC-PERPETUAL', 'deribit.spot.BTC_USDC']
const PRICE_SCALES = Uint8Array.of(18, 1, 0)
const QUANTITY_SCALES = Uint8Array.of(0, 8, 18)
const NOON_NS = 1_790_000_000_123_456_789n
const ROWS = 30
const LIVE_TABLES = TABLES.filter(({ liveType }) => liveType !== null)
/** Tables with a list of their own, beside the export that every table has. */
const LISTS: Readonly<Record<string, (name: string) => string>> = {
  ...Object.fromEntries(
    [
      ...['trades', 'book_tickers', 'tickers', 'mark_prices', 'index_prices', 'funding_rates', 'open_interests'],
      ...['liquidations', 'long_short_ratios', 'volatility_indices'],
    ].map((table) => [table, (name: string) => `/v1/${table.replaceAll('_', '-')}/${name}?order=asc&limit=1000`]),
  ),
  klines: (name) => `/v1/klines/${name}?source=venue&interval=1m&order=asc&limit=1000`,
  gaps: (name) => `/v1/gaps?instrument=${name}&order=asc&limit=1000`,
}

const seed = Number(process.env.TEST_SEED ?? freshSeed())
const random = seededRandom(seed)
const below = (bound: number): number => Math.floor(random() * bound)
const oneOf = <Item>(items: readonly Item[]): Item => items[below(items.length)] as Item
const wordOf = (words: Readonly<Record<string, number>>): number => oneOf(Object.values(words))
/** Of any size that a double holds exactly. */
const integer = (): number => Math.floor(random() * 2 ** below(54))
const ms = (): number => (below(5) === 0 ? 0 : 1_790_000_000_000 + below(1_000_000))
const digits = (count: number): string => Array.from({ length: count }, () => below(10)).join('')

/** As venues write numbers: with zeros behind, exponents, signs, many digits. */
function numberText(): string {
  const sign = oneOf(['', '-'])
  return oneOf([
    () => '0',
    () => `${sign}0.${digits(1 + below(38))}`,
    () => `${sign}${1 + below(9)}${digits(below(30))}.${digits(1 + below(20))}000`,
    () => `${sign}${1 + below(9)}.${digits(3)}e${below(40) - 20}`,
    () => `${1 + below(9)}${digits(below(37))}`,
  ])()
}

/** Their axis is the venue's time, which always comes. */
const BY_EVENT: readonly string[] = ['liquidations', 'long_short_ratios']

function cell(table: Table, { name, type, meaning, words }: Column, index: number): CellValue {
  if (name === 'interval') return '1m'
  if (words !== undefined) return oneOf(Object.keys(words))
  const mayBeNone = name === 'event_ns' && !BY_EVENT.includes(table.name)
  if (meaning === 'time') return mayBeNone && below(4) === 0 ? 0n : NOON_NS + BigInt(index) * 60_000_000_000n
  if (type === 'Decimal') return below(4) === 0 ? null : numberText()
  return oneOf(['', 'x', 'no "quote"\n\\', '币安', '\u{1f600}'])
}

function levels(prices: Float64Array, quantities: Float64Array): number {
  const count = below(4)
  for (let index = 0; index < count; index++) {
    prices[index] = integer()
    quantities[index] = below(3) === 0 ? 0 : integer()
  }
  return count
}

/** Two causes end what was left open before them (history/gap-rows.ts): lists would say another status than the stream did. */
const LASTING_CAUSES = Object.entries(GAP_CAUSES).flatMap(([word, value]) =>
  ['collector_down', 'worker_restart'].includes(word) ? [] : [value],
)

/** One row into this table; ids are its index, so that no two rows are one fact. */
function record(recorder: Recorder, table: Table, instrument: number, index: number): void {
  switch (table.name) {
    case 'trades': {
      const event = new TradeEvent()
      Object.assign(event, { instrument, eventMs: ms(), tradeMs: 1_790_000_000_000 + index, tradeId: index })
      Object.assign(event, { stream: wordOf(TRADE_STREAMS), firstTradeId: integer(), lastTradeId: integer() })
      Object.assign(event, { price: integer(), quantity: integer(), side: wordOf(SIDES), lastSeq: below(3) - 1 })
      event.venueTradeId = oneOf(['', 'ETH-12', '5f000000-0000-4000-8000-0001'])
      event.liquidation = wordOf(TRADE_LIQUIDATIONS)
      return recorder.trade(event, wordOf(TRADE_ORIGINS))
    }
    case 'book_tickers': {
      const event = Object.assign(new TickerEvent(), { instrument, eventMs: ms(), transactionMs: ms() })
      Object.assign(event, { updateId: integer(), bidPrice: integer(), bidQuantity: integer() })
      return recorder.ticker(Object.assign(event, { askPrice: integer(), askQuantity: integer() }))
    }
    case 'book_deltas': {
      const event = Object.assign(new DepthEvent(), { instrument, eventMs: ms(), transactionMs: ms() })
      Object.assign(event, { firstSeq: index, lastSeq: index, prevSeq: integer() })
      event.bidCount = levels(event.bidPrices, event.bidQuantities)
      event.askCount = levels(event.askPrices, event.askQuantities)
      return recorder.delta(event, wordOf(BOOK_STATES), below(2 ** 32), recorder.hi, recorder.lo)
    }
    case 'gaps': {
      const { hi, lo } = recorder
      const kinds = { channel: wordOf(GAP_CHANNELS), cause: oneOf(LASTING_CAUSES), status: wordOf(GAP_STATUSES) }
      const span = { fromHi: hi, fromLo: lo, toHi: hi + 1, toLo: lo, fromSeq: index, toSeq: integer() }
      return recorder.gap({ instrument, ...kinds, ...span, lostCount: integer(), detail: oneOf(['', '100 then 103']) })
    }
    default: {
      const row = Object.fromEntries(table.columns.map((column) => [column.name, cell(table, column, index)]))
      const refusal = recorder.row(table.name as KindTableName, instrument, row as KindRow<KindTableName>)
      assert.equal(refusal, '', `${table.name}: ${JSON.stringify(row, (_, value) => String(value))}`)
    }
  }
}

interface Sealed {
  readonly blocks: Uint8Array[]
  readonly messages: { readonly subject: string; readonly bytes: Uint8Array }[]
}

/** Rows of every table through the recorder of a shard: what goes to the store, and what goes out live. */
function recorded(): Sealed {
  const sealed: Sealed = { blocks: [], messages: [] }
  const lives = new Map<OpenBlock, LiveRows>()
  const nameOf = (instrument: number) => {
    const [exchange, market, symbol] = (NAMES[instrument] as string).split('.') as [string, string, string]
    return { exchange, market, symbol }
  }
  const output: ConstructorParameters<typeof LiveRows>[3] = {
    send: (subject, _hi, _lo, encode, bytesMax) => {
      const bytes = new Uint8Array(bytesMax)
      const length = encode(bytes, 0)
      sealed.messages.push({ subject: Buffer.from(subject).toString(), bytes: bytes.slice(0, length) })
      return true
    },
  }
  const recorder = new Recorder(
    { producer: 'collector', exchange: 'deribit', rowsMax: 1_000, bytesMax: 1 << 19 },
    (instrument) => NAMES[instrument] as string,
    PRICE_SCALES,
    QUANTITY_SCALES,
    (block) => {
      lives.get(block)?.flush()
      const bytes = new Uint8Array(block.sealedBytesMax())
      sealed.blocks.push(bytes.slice(0, block.encodeInto(bytes, 0)))
    },
    undefined,
    (block) => {
      if (block.table.liveType !== null) lives.set(block, new LiveRows(block, 'run', nameOf, output))
    },
  )
  for (let index = 1; index <= ROWS; index++) {
    const ns = NOON_NS + BigInt(index) * 1_000_000_007n
    recorder.time.hi = Number(ns >> 32n) | 0
    recorder.time.lo = Number(ns & 0xffffffffn) | 0
    for (const table of LIVE_TABLES) record(recorder, table, index % NAMES.length, index)
    if (index % 7 === 0) for (const live of lives.values()) live.flush()
  }
  recorder.sealAll()
  return sealed
}

async function store(t: TestContext, blocks: readonly Uint8Array[]) {
  const clickhouse = await startTestClickHouse()
  cleanUp(t, () => clickhouse.stop())
  const sink = new ClickHouseSink({ ...clickhouse.options, markDelayMs: 1 }, () => NOON_NS, SILENT)
  cleanUp(t, () => sink.close())
  for (const [index, bytes] of blocks.entries()) {
    writeIdentity(bytes, 1n, BigInt(index + 1))
    assert.equal(await sink.send(sealedBlock(bytes)), 'acknowledged')
  }
  return clickhouse.options
}

type Row = Record<string, unknown>
const order = (left: Row, right: Row): number => (String(left['received_ns']) < String(right['received_ns']) ? -1 : 1)

test(`rows of every live type should be the same on /v1/stream, in lists and in exports, names, order and values (TEST_SEED=${seed})`, async (t) => {
  const { blocks, messages } = recorded()
  const source = new ToldSource()
  const { gateway, get } = await served(t, { clickhouse: await store(t, blocks) }, SILENT, source)
  const types = LIVE_TABLES.map(({ liveType }) => liveType as string)
  const heard = new Map<string, Row[]>()
  for (const format of ['json', 'msgpack']) {
    const client = await Listener.open(t, gateway.url, `/v1/stream?format=${format}`)
    await client.subscribe(types.map((type) => `${type}.>`))
    for (const { subject, bytes } of messages) source.onMessage(subject, bytes)
    // tickers are conflated only for a client that does not read
    const count = () => client.said.reduce((sum, { rows = [] }) => sum + rows.length, 0)
    await client.until(() => (count() === ROWS * types.length ? true : undefined), 'all rows')
    for (const { type, exchange, market, symbol, rows } of client.said) {
      const key = `${format} ${type} ${exchange}.${market}.${symbol}`
      heard.set(key, [...(heard.get(key) ?? []), ...rows])
    }
    client.ws.terminate()
  }
  for (const table of LIVE_TABLES)
    for (const name of NAMES) {
      const live = heard.get(`json ${table.liveType} ${name}`) as Row[]
      const where = `${table.name} of ${name}`
      assert.ok(live.length >= Math.floor(ROWS / NAMES.length), where)
      assert.deepEqual(heard.get(`msgpack ${table.liveType} ${name}`), live, `${where} in msgpack`)
      const same = (rows: readonly Row[], what: string): void => {
        assert.deepEqual([...rows].sort(order), [...live].sort(order), `${where}, ${what}`)
        assert.deepEqual(Object.keys(rows[0] as Row), Object.keys(live[0] as Row), `${where}, ${what}: order of names`)
      }
      const day = `from=${NOON_NS - 86_400_000_000_000n}&to=${NOON_NS + 86_400_000_000_000n}`
      const file = await get(`/v1/export/${table.name}?instrument=${name}&${day}`)
      assert.equal(file.status, 200, file.text)
      const lines = file.text.trimEnd().split('\n')
      same(
        lines.map((line) => withoutName(JSON.parse(line))),
        'exported',
      )
      const list = LISTS[table.name]?.(name)
      if (list === undefined) continue
      const { status, json, text } = await get(list)
      assert.equal(status, 200, text)
      same(json.rows.map(withoutName), list)
    }
})

/** Lists over several instruments say in each row of which it is. */
function withoutName({ exchange: _exchange, market: _market, symbol: _symbol, ...row }: Row): Row {
  return row
}
