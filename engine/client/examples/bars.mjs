/*
 * Bars of a day as CSV, and as columns that NumPy reads: numpy.load('bars/close.npy').
 *
 *   node engine/client/examples/bars.mjs [gateway] [instrument] [day] [interval] > bars.csv
 *   node engine/client/examples/bars.mjs http://127.0.0.1:9480 binance.usdm.BTCUSDT 2026-11-21 1m bars > bars.csv
 *
 * CSV keeps every digit as the gateway says it; doubles round to 15 to 17 digits.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { query } from 'marketprism/client'

const [url = 'http://127.0.0.1:9480', wanted, day, interval = '1m', directory] = process.argv.slice(2)
const api = query({ url, key: process.env.MARKETPRISM_CONSUME_KEY })
const instrument = wanted ?? (await api.get('/v1/books')).books[0]?.instrument
const from = new Date(`${day || new Date().toISOString().slice(0, 10)}T00:00:00Z`)
const to = new Date(from.getTime() + 86_400_000)

const NAMES = ['open_ns', 'open', 'high', 'low', 'close', 'volume', 'notional', 'trade_count']
const bars = []
for await (const bar of api.allKlines(instrument, { interval, from, to, order: 'asc', limit: 1440 })) bars.push(bar)

process.stdout.write(`${NAMES.join(',')}\n`)
for (const bar of bars) process.stdout.write(`${NAMES.map((name) => bar[name] ?? '').join(',')}\n`)
process.stderr.write(`${bars.length} bars of ${instrument}, ${from.toISOString()} to ${to.toISOString()}\n`)

if (directory !== undefined) {
  mkdirSync(directory, { recursive: true })
  for (const name of NAMES) {
    const isTime = name === 'open_ns'
    const values = isTime
      ? BigInt64Array.from(bars, (bar) => BigInt(bar[name]))
      : Float64Array.from(bars, (bar) => Number(bar[name] ?? Number.NaN))
    writeFileSync(join(directory, `${name}.npy`), npy(isTime ? '<M8[ns]' : '<f8', values))
  }
}

/** NumPy's own file format, version 1.0: a head of a multiple of 64 bytes, then the values. */
function npy(type, values) {
  const head = `{'descr': '${type}', 'fortran_order': False, 'shape': (${values.length},), }`
  const padding = 63 - ((10 + head.length) % 64)
  const start = Buffer.from(`\u0093NUMPY\u0001\u0000\u0000\u0000${head}${' '.repeat(padding)}\n`, 'latin1')
  start.writeUInt16LE(start.length - 10, 8)
  return Buffer.concat([start, Buffer.from(values.buffer)])
}
