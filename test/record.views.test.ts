import assert from 'node:assert/strict'
import test from 'node:test'
import { createDatabaseStatement, createTableStatement, storedTables } from '../engine/record/tables.ts'
import { storedViews } from '../engine/record/views.ts'
import { ask, clientOf, startClickHouse } from './support/embedded.ts'
import { STORAGE } from './support/settings.ts'

const AT = "toDateTime64('2026-01-01 00:00:00', 9, 'UTC')"

test('views should show amounts in base currency, exactly where that is a product, and NULL where nothing is known', async (t) => {
  const { url } = await startClickHouse(t)
  const client = clientOf(t, url)
  await client.command({ query: createDatabaseStatement('mp') })
  for (const table of storedTables({ ...STORAGE, database: 'mp' }))
    await client.command({ query: createTableStatement(table, 'mp') })
  for (const view of storedViews('mp')) await client.command({ query: view.create })
  const instruments: [string, string, string, string, string][] = [
    // symbol, base, quote, contract_size, contract_unit
    ['SPOT', 'BTC', 'USDT', 'NULL', ''],
    ['LINEAR', 'BTC', 'USDT', '0.01', 'BTC'],
    ['INVERSE', 'BTC', 'USD', '100', 'USD'],
  ]
  const row = ([symbol, base, quote, size, unit]: (typeof instruments)[number], second: number) =>
    `('v', 'm', '${symbol}', ${AT} + INTERVAL ${second} SECOND, '${base}', '${quote}', ${size}, '${unit}')`
  const stale = row(['LINEAR', 'BTC', 'USDT', '1000', 'BTC'], 0)
  await client.command({
    query: `INSERT INTO mp.instruments (exchange, market, symbol, received_ns, base, quote, contract_size, contract_unit) VALUES ${[stale, ...instruments.map((each) => row(each, 1))].join(',')}`,
  })
  const trades: [string, string, number, string, number][] = [
    ['SPOT', '5012345', 2, '123456789', 8], // 1.23456789 BTC
    ['LINEAR', '5012345', 2, '7', 0], // 7 × 0.01
    ['INVERSE', '5000000', 2, '3', 0], // 3 × 100 / 50,000 = 0.006
    ['INVERSE', '30000', 0, '1', 0], // 1 × 100 / 30,000 = 0.00333…, cut at 18 digits
    ['INVERSE', '0', 0, '1', 0], // no price, no answer
    ['UNKNOWN', '1', 0, '5', 0],
  ]
  const values = trades.map(
    ([symbol, price, priceScale, quantity, quantityScale], id) =>
      `('v', 'm', '${symbol}', ${AT}, ${id}, ${price}, ${priceScale}, ${quantity}, ${quantityScale})`,
  )
  await client.command({
    query: `INSERT INTO mp.trades (exchange, market, symbol, received_ns, trade_id, price_mantissa, price_scale, quantity_mantissa, quantity_scale) VALUES ${values.join(',')}`,
  })
  const shown = await ask(
    client,
    "SELECT trade_id, toString(price), toString(base_quantity), concat(base, '/', contract_unit) FROM mp.trades_in_base ORDER BY trade_id",
  )
  assert.deepEqual(
    shown.split('\n').map((line) => line.split('\t')),
    [
      ['0', '50123.45', '1.23456789', 'BTC/'],
      ['1', '50123.45', '0.07', 'BTC/BTC'],
      ['2', '50000', '0.006', 'BTC/USD'],
      ['3', '30000', '0.003333333333333333', 'BTC/USD'],
      ['4', '0', '\\N', 'BTC/USD'],
      ['5', '1', '\\N', '/'],
    ],
  )
  assert.equal(await ask(client, "SELECT count() FROM mp.trades_in_base WHERE symbol = 'LINEAR' AND notional > 0"), '1')
  for (const name of ['book_tickers_in_base', 'liquidations_in_base'])
    assert.equal(await ask(client, `SELECT count() FROM mp.${name}`), '0')
})
