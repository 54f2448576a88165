import type { ClickHouseClient } from '@clickhouse/client'
import {
  createDatabaseStatement,
  createTableStatement,
  type StorageOptions,
  storedTables,
} from '../engine/record/tables.ts'

/**
 * Rows of some days of four venues, made inside the engine. 200 instruments; the busiest has 17 % of all trades, the
 * quietest 0.17 %. One of them has a book: 10 changes a second of 35 levels a side for an hour, a checkpoint of 1,000
 * levels a side every five minutes.
 */
export const DAYS = 5
export const INSTRUMENTS = 200
const EXCHANGES = ['binance', 'okx', 'deribit', 'bybit']
const MARKETS = ['usdm', 'swap', 'perpetual', 'linear']
const DAY_NS = 86_400_000_000_000n
const CHUNK_ROWS = 2_000_000
/** A ticker has 26 decimals of 32 bytes, a row of a book 140 numbers. */
const WIDE_ROWS = '32768'
export const BOOK_SECONDS = 3_600
export const BOOK_SYMBOL = 'C0USDT'

export interface Name {
  readonly exchange: string
  readonly market: string
  readonly symbol: string
}

export function instrument(index: number): Name {
  const venue = index % EXCHANGES.length
  return { exchange: EXCHANGES[venue] ?? '', market: MARKETS[venue] ?? '', symbol: `C${index}USDT` }
}

const list = (words: readonly string[]) => `[${words.map((word) => `'${word}'`).join(', ')}]`
const NAME_OF = (index: string) =>
  `${list(EXCHANGES)}[${index} % 4 + 1] AS exchange, ${list(MARKETS)}[${index} % 4 + 1] AS market, concat('C', toString(${index}), 'USDT') AS symbol`

export async function createTables(client: ClickHouseClient, storage: StorageOptions): Promise<void> {
  await client.command({ query: createDatabaseStatement(storage.database) })
  for (const table of storedTables(storage))
    await client.command({ query: createTableStatement(table, storage.database) })
}

/** @param startNs begin of the first day */
export async function insertRows(
  client: ClickHouseClient,
  rows: number,
  startNs: bigint,
  say: (line: string) => void,
): Promise<void> {
  const perDay = Math.floor(rows / DAYS)
  const stepNs = DAY_NS / BigInt(perDay)
  for (let day = 0; day < DAYS; day++) {
    for (let first = 0; first < perDay; first += CHUNK_ROWS) {
      const fromNs = startNs + BigInt(day) * DAY_NS + BigInt(first) * stepNs
      await insert(client, tradesSql(day * perDay + first, Math.min(CHUNK_ROWS, perDay - first), fromNs, stepNs))
    }
    say(`gatewayHistory: day ${day + 1} of ${DAYS} is stored`)
  }
  await insert(
    client,
    `INSERT INTO tickers (exchange, market, symbol, received_ns, event_ns, last_price, volume, producer, epoch, block_seq, row_in_block)
     SELECT ${NAME_OF('i')}, ns, ns, toDecimal256(100 + n % 50, 38), toDecimal256(n, 38), 'bench', 1, intDiv(number, 10000), number % 10000
     FROM (SELECT number, number % ${INSTRUMENTS} AS i, intDiv(number, ${INSTRUMENTS}) AS n, fromUnixTimestamp64Nano(${startNs} + toInt64(n) * 300000000000) AS ns
           FROM numbers(${INSTRUMENTS * DAYS * 288}))`,
    WIDE_ROWS,
  )
  await insert(
    client,
    `INSERT INTO instruments (exchange, market, symbol, received_ns, kind, trading, base, quote)
     SELECT ${NAME_OF('number')}, fromUnixTimestamp64Nano(${startNs}), 'perpetual', 'trading', concat('C', toString(number)), 'USDT' FROM numbers(${INSTRUMENTS})`,
  )
  await insertBook(client, startNs)
}

function tradesSql(firstId: number, rows: number, fromNs: bigint, stepNs: bigint): string {
  return `INSERT INTO trades (exchange, market, symbol, received_ns, event_ns, trade_ns, stream, trade_id, first_trade_id, last_trade_id,
      price_mantissa, quantity_mantissa, price_scale, quantity_scale, side, seq, origin, liquidation, producer, epoch, block_seq, row_in_block)
    SELECT ${NAME_OF('i')}, fromUnixTimestamp64Nano(ns + 20000000 + toInt64(h % 30000000)), fromUnixTimestamp64Nano(ns + 1000000),
      fromUnixTimestamp64Nano(ns), 'trade', n, n, n, toInt64(pow(10, 4 + i % 4)) + toInt64(1000 * sin(n / 1e6)) + toInt64(h % 500),
      toInt64(1 + bitShiftRight(h, 20) % 100000), 2, 3, if(h % 2 = 0, 'buy', 'sell'), 0, 'stream', 'none', 'bench', 1, intDiv(n, 16384), n % 16384
    FROM (
      SELECT number + ${firstId} AS n, toInt64(${fromNs}) + toInt64(number) * ${stepNs} AS ns, cityHash64(n) AS h,
        least(${INSTRUMENTS - 1}, toUInt32(floor(${INSTRUMENTS} * pow(toFloat64(cityHash64(n, 1)) / 18446744073709551615., 3)))) AS i
      FROM numbers(${rows})
    )`
}

/** Sequences rise by one; the block ledger has a block a second, so that a book of that hour is proven. */
async function insertBook(client: ClickHouseClient, startNs: bigint): Promise<void> {
  const name = `'binance' AS exchange, 'usdm' AS market, '${BOOK_SYMBOL}' AS symbol`
  const levels = (sign: string, at: string) => `arrayMap(l -> toInt64(1000000 ${sign} 10 * (1 + ${at})), range(35))`
  await insert(
    client,
    `INSERT INTO book_snapshots (exchange, market, symbol, received_ns, event_ns, kind, last_seq, book_epoch, bid_levels, ask_levels,
       bid_price_mantissas, bid_quantity_mantissas, ask_price_mantissas, ask_quantity_mantissas, price_scale, quantity_scale, producer, epoch, block_seq, row_in_block)
     SELECT ${name}, fromUnixTimestamp64Nano(${startNs} + toInt64(number) * 300000000000) AS at, at, if(number = 0, 'anchor', 'checkpoint'),
       100 + number * 3000, 1, 1000, 1000, arrayMap(l -> toInt64(1000000 - 10 * (1 + l)), range(1000)), arrayMap(l -> toInt64(1 + l), range(1000)),
       arrayMap(l -> toInt64(1000000 + 10 * (1 + l)), range(1000)), arrayMap(l -> toInt64(1 + l), range(1000)), 2, 3, 'bench', 1, 1 + number * 300, 100000
     FROM numbers(${BOOK_SECONDS / 300})`,
  )
  await insert(
    client,
    `INSERT INTO book_deltas (exchange, market, symbol, received_ns, event_ns, transaction_ns, first_seq, last_seq, prev_seq, book_epoch, state,
       bid_price_mantissas, bid_quantity_mantissas, ask_price_mantissas, ask_quantity_mantissas, price_scale, quantity_scale, producer, epoch, block_seq, row_in_block)
     SELECT ${name}, fromUnixTimestamp64Nano(${startNs} + 50000000 + toInt64(number) * 100000000) AS at, at, at, 101 + number, 101 + number, 100 + number, 1, 'LIVE',
       ${levels('-', 'cityHash64(number, l) % 900')}, arrayMap(l -> toInt64(cityHash64(l, number) % 5000), range(35)),
       ${levels('+', 'cityHash64(number, l) % 900')}, arrayMap(l -> toInt64(cityHash64(number, l, 1) % 5000), range(35)),
       2, 3, 'bench', 1, 1 + intDiv(number, 10), number % 10
     FROM numbers(${BOOK_SECONDS * 10})`,
    WIDE_ROWS,
  )
  await insert(
    client,
    `INSERT INTO blocks (producer, epoch, block_seq, table, layout, exchange, rows, first_received_ns, last_received_ns, stored_ns)
     SELECT 'bench', 1, 1 + number, 'book_deltas', 1, 'binance', 10, fromUnixTimestamp64Nano(${startNs} + toInt64(number) * 1000000000),
       fromUnixTimestamp64Nano(${startNs} + toInt64(number) * 1000000000 + 950000000), now64(9)
     FROM numbers(${BOOK_SECONDS})`,
  )
}

async function insert(client: ClickHouseClient, query: string, blockRows = '1048576'): Promise<void> {
  await client.command({
    query,
    clickhouse_settings: {
      max_insert_block_size: blockRows,
      min_insert_block_size_rows: blockRows,
      max_block_size: '65536',
      async_insert: 0,
      wait_end_of_query: 1,
    },
  })
}
