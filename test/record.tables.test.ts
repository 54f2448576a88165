import assert from 'node:assert/strict'
import test from 'node:test'
import type { ClickHouseClient } from '@clickhouse/client'
import { seededRandom } from '../engine/base/random.ts'
import { TABLES, tableNamed } from '../engine/record/schema.ts'
import { SCALE_MAX } from '../engine/record/schema-columns.ts'
import { blockSubject, liveTypes, streamShapes } from '../engine/record/streams.ts'
import { createDatabaseStatement, createTableStatement, storedColumns, storedTables } from '../engine/record/tables.ts'
import { ask, clientOf, startClickHouse } from './support/embedded.ts'
import { STORAGE, STREAMS } from './support/settings.ts'

const OPTIONS = { ...STORAGE, database: 'mp', ttlDays: 10_000, syncInserts: true }

test('tables should begin with the instrument and end with the identity', () => {
  for (const table of TABLES) {
    const names = storedColumns(table).map((column) => column.name)
    assert.deepEqual(names.slice(0, 4), ['exchange', 'market', 'symbol', 'received_ns'], table.name)
    assert.deepEqual(names.slice(-4), ['producer', 'epoch', 'block_seq', 'row_in_block'], table.name)
    assert.ok(!names.includes('instrument'))
    assert.equal(
      new Set([...names, ...table.aliases.map((alias) => alias.name)]).size,
      names.length + table.aliases.length,
      `names of ${table.name} differ`,
    )
  }
})

test('streams should refuse when full and take the subjects of blocks', () => {
  const [blocks, letters, ...others] = streamShapes(STREAMS)
  assert.deepEqual(others, [])
  assert.deepEqual([letters?.name, letters?.subjects, letters?.discard], ['DLQ', ['deadletter.>'], 'new'])
  assert.deepEqual([blocks?.subjects, blocks?.discard, blocks?.storage], [['block.>'], 'new', 'file'])
  assert.equal(blocks?.duplicate_window, 300e9)
  assert.equal(blockSubject('trades', 'binance'), 'block.trades.binance')
  const withLive = streamShapes({ ...STREAMS, live: { maxAgeMinutes: 1, bytesMax: 1e6 } })
  assert.deepEqual(
    withLive[2]?.subjects,
    [...liveTypes(), 'orderbook'].map((type) => `${type}.>`),
  )
  assert.ok((withLive[2]?.duplicate_window ?? 0) <= (withLive[2]?.max_age ?? 0)) // the server refuses a window longer than the age
})

async function create(client: ClickHouseClient): Promise<void> {
  await client.command({ query: createDatabaseStatement('mp') })
  for (const table of storedTables(OPTIONS)) await client.command({ query: createTableStatement(table, 'mp') })
}

/** Decimal text of mantissa / 10^scale, by BigInt. */
function decimalText(mantissa: bigint, scale: number): string {
  const digits = (mantissa < 0n ? -mantissa : mantissa).toString().padStart(scale + 1, '0')
  const whole = digits.slice(0, digits.length - scale)
  const rest = digits.slice(digits.length - scale).replace(/0+$/, '')
  return `${mantissa < 0n ? '-' : ''}${whole}${rest === '' ? '' : `.${rest}`}`
}

test('tables', async (t) => {
  const server = await startClickHouse(t)
  const client = clientOf(t, server.url)
  await create(client)

  await t.test('tables should be what the engine then has: engine, keys, TTL, settings', async () => {
    const rows = (
      await ask(
        client,
        "SELECT name, sorting_key, partition_key, engine_full FROM system.tables WHERE database = 'mp' ORDER BY name",
      )
    )
      .split('\n')
      .map((line) => line.split('\t'))
    assert.deepEqual(
      rows.map((row) => row[0]),
      [
        'blocks',
        'book_deltas',
        'book_snapshots',
        'book_tickers',
        'funding_rates',
        'gaps',
        'index_prices',
        'instruments',
        'klines',
        'liquidations',
        'long_short_ratios',
        'mark_prices',
        'open_interests',
        'tickers',
        'trade_bars',
        'trade_hour_bars',
        'trade_hours',
        'trades',
        'volatility_indices',
      ],
    )
    for (const [name, sortingKey, partitionKey, engine] of rows) {
      assert.match(
        engine ?? '',
        /^ReplacingMergeTree\(\w+\) .* TTL toDateTime\(\w+\) \+ toIntervalDay\(10000\) .*non_replicated_deduplication_window = 100000.*fsync_after_insert = 1/,
        name,
      )
      assert.match(partitionKey ?? '', /^toYYYYMMDD\((first_)?received_ns\)$|^toYYYYMMDD\((minute|hour)_ns\)$/)
      const others: Readonly<Record<string, string>> = {
        blocks: 'producer, epoch, block_seq',
        trade_bars: 'exchange, market, symbol, stream, minute_ns',
        trade_hour_bars: 'exchange, market, symbol, stream, hour_ns',
        trade_hours: 'hour_ns, job',
      }
      const wanted =
        others[name ?? ''] ?? ['exchange', 'market', 'symbol', ...tableNamed(name as 'trades').orderBy].join(', ')
      assert.equal(sortingKey, wanted)
    }
  })

  await t.test('tables should show prices, quantities and sums exactly at every scale', async () => {
    const seed = 4711
    const random = seededRandom(seed)
    const biggest = 2n ** 53n - 1n
    const rows = Array.from({ length: 2000 }, (_, n) => {
      const mantissa = () => (n === 0 ? biggest : BigInt(Math.floor(random() * 2 ** Math.floor(random() * 54))))
      return {
        id: n,
        price: mantissa(),
        quantity: mantissa(),
        priceScale: Math.floor(random() * (SCALE_MAX + 1)),
        quantityScale: Math.floor(random() * (SCALE_MAX + 1)),
      }
    })
    const values = rows.map(
      (row) =>
        `('x', 'm', 's', toDateTime64('2026-01-01', 9, 'UTC'), ${row.id}, ${row.price}, ${row.priceScale}, ${row.quantity}, ${row.quantityScale})`,
    )
    await client.command({
      query: `INSERT INTO mp.trades (exchange, market, symbol, received_ns, trade_id, price_mantissa, price_scale, quantity_mantissa, quantity_scale) VALUES ${values.join(',')}`,
    })
    const shown = (await ask(client, 'SELECT price, quantity, notional FROM mp.trades ORDER BY trade_id')).split('\n')
    const wanted = rows.map((row) =>
      [
        decimalText(row.price, row.priceScale),
        decimalText(row.quantity, row.quantityScale),
        decimalText(row.price * row.quantity, row.priceScale + row.quantityScale),
      ].join('\t'),
    )
    for (const [n, line] of wanted.entries()) assert.equal(shown[n], line, `seed ${seed}, row ${n}`)
    const sum = rows.reduce(
      (total, row) =>
        total + row.price * row.quantity * 10n ** BigInt(2 * SCALE_MAX - row.priceScale - row.quantityScale),
      0n,
    )
    const sums = await ask(client, 'SELECT sum(price * quantity), sum(notional) FROM mp.trades')
    assert.equal(sums, `${decimalText(sum, 2 * SCALE_MAX)}\t${decimalText(sum, 2 * SCALE_MAX)}`, `seed ${seed}`)
  })

  await t.test('tables should sum realistic notionals of millions of rows without overflow', async () => {
    // 61837.63 × 10^6, and a price of 12 digits with a quantity of 10^15
    await client.command({
      query: `INSERT INTO mp.trades (exchange, market, symbol, received_ns, trade_id, price_mantissa, price_scale, quantity_mantissa, quantity_scale)
      SELECT 'x', 'm', if(number % 2 = 0, 'big', 'small'), toDateTime64('2026-01-02', 9, 'UTC'), number, if(number % 2 = 0, 6183763000000, 1234567), if(number % 2 = 0, 8, 12), if(number % 2 = 0, 1000000000, 1000000000000000), if(number % 2 = 0, 3, 0) FROM numbers(2000000)`,
    })
    const sums = await ask(
      client,
      "SELECT symbol, count(), sum(price * quantity), sum(notional), max(price), sum(quantity) FROM mp.trades WHERE symbol IN ('big', 'small') GROUP BY symbol ORDER BY symbol",
    )
    assert.deepEqual(sums.split('\n'), [
      'big\t1000000\t61837630000000000\t61837630000000000\t61837.63\t1000000000000',
      'small\t1000000\t1234567000000000\t1234567000000000\t0.000001234567\t1000000000000000000000',
    ])
  })

  await t.test('tables should show levels of books exactly', async () => {
    await client.command({
      query:
        "INSERT INTO mp.book_deltas (exchange, market, symbol, received_ns, bid_price_mantissas, bid_quantity_mantissas, ask_price_mantissas, ask_quantity_mantissas, price_scale, quantity_scale) VALUES ('x', 'm', 's', now64(9), [6183763, 9007199254740991], [0, 1], [], [], 2, 3)",
    })
    assert.equal(
      await ask(client, 'SELECT bid_prices, bid_quantities, ask_prices FROM mp.book_deltas'),
      '[61837.63,90071992547409.91]\t[0,0.001]\t[]',
    )
    assert.equal(
      await ask(client, 'SELECT arraySum((p, q) -> p * q, bid_prices, bid_quantities) FROM mp.book_deltas'),
      '90071992547.40991',
    )
  })

  await t.test('tables should replace the open row of a gap by its closed one', async () => {
    const row = (status: string, receivedNs: string, toNs: string) =>
      `('x', 'm', 's', '${receivedNs}', 'book', 'sequence', '${status}', '2026-01-01 23:59:59.5', '${toNs}')`
    // the closed row lies in the next day's part, and comes first
    for (const values of [
      row('closed', '2026-01-02 00:00:01', '2026-01-02 00:00:01'),
      row('open', '2026-01-01 23:59:59.6', '1970-01-01'),
    ]) {
      await client.command({
        query: `INSERT INTO mp.gaps (exchange, market, symbol, received_ns, channel, cause, status, from_ns, to_ns) VALUES ${values}`,
      })
    }
    assert.equal(await ask(client, 'SELECT status FROM mp.gaps FINAL'), 'closed')
  })

  await t.test('tables should keep what one packet brought as several rows', async () => {
    const at = '2026-03-01 12:00:00'
    const of = (symbol: string, more: string) => `('x', 'm', '${symbol}', '${at}', ${more})`
    await client.command({
      query: `INSERT INTO mp.gaps (exchange, market, symbol, received_ns, channel, cause, status, from_ns, from_seq) VALUES
        ${[7, 9].map((seq) => of('g', `'trades', 'sequence', 'closed', '${at}', ${seq}`)).join()}`,
    })
    await client.command({
      query: `INSERT INTO mp.book_tickers (exchange, market, symbol, received_ns, event_ns, update_id, bid_price_mantissa, row_in_block) VALUES
        ${[1, 2, 1].map((bid, row) => of('t', `'${at}', 0, ${bid}, ${row}`)).join()}`,
    })
    await client.command({
      query: `INSERT INTO mp.book_deltas (exchange, market, symbol, received_ns, event_ns, first_seq, last_seq) VALUES
        ${['10:00', '11:00'].map((hour) => of('d', `'2026-03-01 ${hour}:00', 0, 2`)).join()}`,
    })
    const count = (table: string, symbol: string) =>
      ask(client, `SELECT count() FROM mp.${table} FINAL WHERE symbol = '${symbol}'`)
    assert.deepEqual(
      [await count('gaps', 'g'), await count('book_tickers', 't'), await count('book_deltas', 'd')],
      ['2', '3', '2'],
    )
  })
})
