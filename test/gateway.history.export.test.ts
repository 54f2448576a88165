import assert from 'node:assert/strict'
import http from 'node:http'
import { test } from 'node:test'
import { tableFromIPC } from 'apache-arrow'
import { parquetReadObjects } from 'hyparquet'
import { UnpackrStream } from 'msgpackr'
import { seededRandom } from '../engine/base/random.ts'
import type { Row } from './support/blocks.ts'
import { type HistoryRig, historyRig } from './support/history.ts'

const NAMES = ['binance.usdm.BTCUSDT', 'binance.usdm.ETHUSDT']
const NOON_NS = BigInt(Date.parse('2026-10-01T12:00:00Z')) * 1_000_000n
const SECOND_NS = 1_000_000_000n
const HOUR = `from=${NOON_NS}&to=${NOON_NS + 3600n * SECOND_NS}`

interface File {
  readonly status: number
  readonly bytes: Buffer
  readonly headers: http.IncomingHttpHeaders
  readonly trailers: NodeJS.Dict<string>
  readonly isWhole: boolean
}

/** With trailers, which `fetch` does not show. */
function download(rig: HistoryRig, path: string): Promise<File> {
  return new Promise((resolve, reject) => {
    http
      .get(`${rig.url}${path}`, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', () => undefined)
        response.on('close', () => {
          const { statusCode: status = 0, headers, trailers, complete: isWhole } = response
          resolve({ status, headers, trailers, isWhole, bytes: Buffer.concat(chunks) })
        })
      })
      .on('error', reject)
  })
}

type Cells = Record<string, unknown>

/** RFC 4180, with lists as JSON; \N without quotes is nothing. */
function readCsv(text: string): (string | null)[][] {
  const rows: (string | null)[][] = []
  const row: (string | null)[] = []
  let [cell, isText, isQuoted] = ['', false, false]
  for (let at = 0; at < text.length; at++) {
    const character = text[at] as string
    if (isText && character === '"' && text[at + 1] === '"') {
      cell += '"'
      at++
    } else if (character === '"') {
      isText = !isText
      isQuoted = true
    } else if (!isText && (character === ',' || character === '\n')) {
      row.push(cell === '\\N' && !isQuoted ? null : cell)
      cell = ''
      isQuoted = false
      if (character === '\n') rows.push(row.splice(0))
    } else cell += character
  }
  assert.ok(cell === '' && row.length === 0, 'the last line is whole')
  return rows
}

/** What every format has to say, in the form of the columnar ones: whole numbers as text, whatever they were. */
function plain(row: Cells): Cells {
  const cell = (value: unknown): unknown => {
    if (value === null || value === undefined) return null
    if (typeof value === 'bigint' || typeof value === 'number') return String(value)
    if (typeof value === 'object')
      return JSON.parse(JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? String(one) : one)))
    return value
  }
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, cell(value)]))
}

async function readers(rig: HistoryRig, table: string, query = HOUR): Promise<Record<string, Cells[]>> {
  const get = async (format: string) => {
    const file = await download(rig, `/v1/export/${table}?format=${format}&${query}`)
    assert.equal(file.status, 200, file.bytes.toString())
    assert.equal(file.trailers['x-export-complete'], 'true', format)
    assert.match(file.headers['content-disposition'] ?? '', new RegExp(`^attachment; filename="${table}_.*\\."?`))
    return file
  }
  const counted: [string, number, File][] = []
  const keep = (format: string, rows: Cells[], file: File): Cells[] => {
    counted.push([format, rows.length, file])
    return rows.map(plain)
  }
  const json = await get('json')
  const whole = JSON.parse(json.bytes.toString())
  assert.deepEqual([whole.table, whole.count, whole.complete], [table, whole.rows.length, true])
  const ndjson = await get('ndjson')
  const lines = ndjson.bytes.toString().split('\n')
  assert.equal(lines.pop(), '')
  const msgpack = await get('msgpack')
  const unpacked: Cells[] = []
  const stream = new UnpackrStream({ useRecords: false, mapsAsObjects: true } as ConstructorParameters<
    typeof UnpackrStream
  >[0])
  stream.on('data', (row) => unpacked.push(row))
  stream.end(msgpack.bytes)
  await new Promise((resolve) => stream.once('end', resolve))
  const csv = await get('csv')
  const [names = [], ...cells] = readCsv(csv.bytes.toString())
  const arrow = await get('arrow')
  const arrowRows = [...tableFromIPC(arrow.bytes)].map((row) => row?.toJSON() as Cells)
  const parquet = await get('parquet')
  const bytes = parquet.bytes
  const parquetRows = await parquetReadObjects({
    file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer,
  })
  const result = {
    json: keep('json', whole.rows, json),
    ndjson: keep(
      'ndjson',
      lines.map((line) => JSON.parse(line)),
      ndjson,
    ),
    msgpack: keep('msgpack', unpacked, msgpack),
    csv: keep(
      'csv',
      cells.map((row) =>
        Object.fromEntries(
          names.map((name, at) => [name ?? '', /^(bids|asks)$/.test(name ?? '') ? JSON.parse(row[at] ?? '') : row[at]]),
        ),
      ),
      csv,
    ),
    arrow: keep('arrow', arrowRows, arrow),
    parquet: keep('parquet', parquetRows, parquet),
  }
  for (const [format, rows, file] of counted) assert.equal(file.trailers['x-export-rows'], String(rows), format)
  return result
}

test('export', async (t) => {
  const seed = 1 + (Math.trunc(performance.now() * 1000) % 1_000_000)
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const rig = await historyRig(t)
  const trades = Array.from({ length: 24_000 }, (_, index): Row => {
    const ns = NOON_NS + BigInt(Math.floor(index / 3)) * 200_000_000n
    return {
      instrument: random() < 0.5 ? 0 : 1,
      received_ns: ns + 1_000n,
      event_ns: ns,
      trade_ns: ns,
      stream: 1,
      trade_id: index,
      first_trade_id: index,
      last_trade_id: index,
      price_mantissa: BigInt(Math.floor(random() * 1e12)),
      quantity_mantissa: BigInt(Math.floor(random() * 2 ** 53)),
      price_scale: 4,
      quantity_scale: 8,
      side: 1 + (index % 2),
    }
  })
  for (let at = 0; at < trades.length; at += 8_000) await rig.put('trades', NAMES, trades.slice(at, at + 8_000))
  await rig.put('trades', NAMES, trades.slice(0, 500)) // the same facts in another block
  const oracle = async (query: string) => (await rig.clickhouse.query(query)).map((row) => plain(row as Cells))

  await t.test('trades should be the same in every format, once each, in the order of time', async () => {
    const wanted = await oracle(
      `SELECT exchange, market, symbol, toString(toUnixTimestamp64Nano(trade_ns)) AS trade_ns, trade_id, toString(price) AS price, toString(quantity) AS quantity, toString(side) AS side
       FROM trades FINAL ORDER BY trades.trade_ns, symbol, stream, trades.trade_id`,
    )
    assert.equal(wanted.length, trades.length)
    const names = Object.keys(wanted[0] as Cells)
    for (const [format, rows] of Object.entries(await readers(rig, 'trades', HOUR.replace('3600', '7200')))) {
      assert.equal(rows.length, wanted.length, format)
      assert.deepEqual(
        rows.map((row) => Object.fromEntries(names.map((name) => [name, row[name]]))),
        wanted,
        format,
      )
    }
  })

  await t.test('rows of every kind should be the same in every format: levels, NULL, text of any sort', async () => {
    const levels = (count: number) => Array.from({ length: count }, (_, at) => BigInt(at * 1_000_003))
    await rig.put(
      'book_deltas',
      NAMES,
      Array.from(
        { length: 50 },
        (_, index): Row => ({
          instrument: index % 2,
          received_ns: NOON_NS + BigInt(index),
          event_ns: NOON_NS,
          first_seq: index,
          last_seq: index,
          book_epoch: 1,
          state: 2,
          bid_price_mantissas: levels(index),
          bid_quantity_mantissas: levels(index),
          ask_price_mantissas: levels(3),
          ask_quantity_mantissas: levels(3),
          price_scale: 2,
          quantity_scale: 3,
        }),
      ),
    )
    await rig.put(
      'instruments',
      NAMES,
      ['a,b', 'say "no"', 'two\nlines', "it's", '\\N', '', 'käse\t∞'].map(
        (status, index): Row => ({
          instrument: index % 2,
          received_ns: NOON_NS + BigInt(index),
          kind: 2,
          trading: 1,
          status,
          tick_size: index % 2 === 0 ? null : 10n ** 36n,
        }),
      ),
    )
    for (const table of ['book_deltas', 'instruments']) {
      const { json, ...others } = await readers(rig, table)
      assert.ok((json?.length ?? 0) >= 7)
      for (const [format, rows] of Object.entries(others)) {
        assert.deepEqual(rows, json, `${table} ${format}`)
      }
    }
    const [first] = await readers(rig, 'book_deltas').then(({ json }) => json?.slice(2) ?? [])
    assert.deepEqual(first?.['bids'], [
      ['0', '0'],
      ['10000.03', '1000.003'],
    ])
  })

  await t.test('an export should be narrowed by instrument and time, and be whole when there is nothing', async () => {
    const { json } = await readers(rig, 'trades', `${HOUR}&instrument=${NAMES[1]}`)
    assert.ok(json?.every(({ symbol }) => symbol === 'ETHUSDT') && json.length > 0)
    const early = `from=${NOON_NS - 7200n * SECOND_NS}&to=${NOON_NS - 3600n * SECOND_NS}`
    for (const [format, rows] of Object.entries(await readers(rig, 'trades', early))) assert.deepEqual(rows, [], format)
  })

  await t.test('an export should be refused before it begins when the question is none', async () => {
    for (const [query, code] of [
      ['trades?format=ndjson', 'invalid_parameter'],
      [`trades?format=xlsx&${HOUR}`, 'invalid_parameter'],
      [`blocks?${HOUR}`, 'invalid_parameter'],
      [`trades?${HOUR}&symbol=x`, 'unknown_parameter'],
    ] as const) {
      const { status, bytes } = await download(rig, `/v1/export/${query}`)
      assert.deepEqual([status, JSON.parse(bytes.toString()).error.code], [400, code], query)
    }
  })

  await t.test('an export that breaks on its way should not look whole', async () => {
    const file = await new Promise<File>((resolve) => {
      http.get(`${rig.url}/v1/export/trades?${HOUR.replace('3600', '7200')}`, (response) => {
        const chunks: Buffer[] = []
        response.on('error', () => undefined)
        response.pause()
        response.once('readable', () => {
          // the engine dies while the client has not read on
          process.kill(rig.clickhouse.server.pid, 'SIGKILL')
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
        })
        response.on('close', () =>
          resolve({
            status: 200,
            headers: {},
            trailers: response.trailers,
            isWhole: response.complete,
            bytes: Buffer.concat(chunks),
          }),
        )
      })
    })
    assert.deepEqual([file.isWhole, file.trailers['x-export-complete']], [false, undefined])
  })
})
