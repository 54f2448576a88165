import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { findNatsServer } from '../engine/embedded/nats-install.ts'
import { cleanUp } from './support/clean-up.ts'
import { startCli } from './support/cli.ts'
import { CACHE, SILENT, temporaryDirectory, until } from './support/embedded.ts'
import { rigVenue } from './support/rig.ts'

/**
 * What the README and the examples say, run as somebody else would: in a directory of its own, where `marketprism` is
 * installed as its package.json says, beside `nats`, `msgpackr` and `ws`.
 */
const OUTPUT = fileURLToPath(new URL('..', import.meta.url))
const ROOT = rootOf(OUTPUT)
const INSTRUMENT = 'binance.usdm.BTCUSDT'

function rootOf(directory: string): string {
  return existsSync(join(directory, 'package.json')) ? directory : rootOf(dirname(directory))
}

/** A user's project. */
function project(t: TestContext): string {
  const directory = temporaryDirectory(t)
  const modules = join(directory, 'node_modules')
  mkdirSync(join(modules, 'marketprism'), { recursive: true })
  copyFileSync(join(ROOT, 'package.json'), join(modules, 'marketprism', 'package.json'))
  symlinkSync(OUTPUT, join(modules, 'marketprism', 'dist'))
  for (const name of ['nats', 'msgpackr', 'ws']) symlinkSync(join(ROOT, 'node_modules', name), join(modules, name))
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
  return directory
}

interface Run {
  readonly code: number | null
  readonly lines: readonly string[]
  readonly stderr: string
}

function run(directory: string, file: string, words: readonly string[], signalAfterMs?: number): Promise<Run> {
  const child = spawn(process.execPath, [file, ...words], { cwd: directory, env: { PATH: process.env.PATH } })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (piece: Buffer) => {
    stdout += piece.toString()
  })
  child.stderr.on('data', (piece: Buffer) => {
    stderr += piece.toString()
  })
  const giveUp = setTimeout(() => child.kill('SIGKILL'), 30_000)
  if (signalAfterMs !== undefined) setTimeout(() => child.kill('SIGKILL'), signalAfterMs)
  return new Promise((resolve) => {
    child.once('close', (code) => {
      clearTimeout(giveUp)
      resolve({ code, lines: stdout.split('\n').filter((line) => line !== ''), stderr })
    })
  })
}

/** A gateway on a machine that has too much to do says so, and is asked again. */
async function runWhenWell(directory: string, file: string, words: readonly string[]): Promise<Run> {
  for (let attempt = 1; ; attempt++) {
    const ended = await run(directory, file, words)
    if (ended.code === 0 || attempt === 5 || !/overload|ask again/.test(ended.stderr)) return ended
    await new Promise((resolve) => setTimeout(resolve, 2_000))
  }
}

function objects<Line>({ lines, code, stderr }: Run): Line[] {
  assert.equal(code, 0, stderr)
  return lines.map((line) => JSON.parse(line) as Line)
}

interface TradeLine {
  readonly market?: string
  readonly symbol?: string
  readonly trade_id: string
  readonly price: string
  readonly quantity: string
  readonly side: string
}

test('client: the declarations of the package should be all that a strict program needs', async (t) => {
  const directory = temporaryDirectory(t)
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  const client = join(directory, 'node_modules', 'marketprism')
  mkdirSync(client, { recursive: true })
  copyFileSync(join(ROOT, 'package.json'), join(client, 'package.json'))
  const made = spawnSync(process.execPath, [
    tsc,
    '-p',
    join(ROOT, 'engine', 'client', 'tsconfig.json'),
    '--outDir',
    join(client, 'dist'),
  ])
  assert.equal(made.status, 0, made.stdout.toString())
  writeFileSync(
    join(directory, 'program.ts'),
    [
      "import { connectStream, decodeBlock, decodeLive, query, type TradeRow } from 'marketprism/client'",
      'export async function read(bytes: Uint8Array): Promise<readonly TradeRow[]> {',
      '  const live = decodeLive(bytes)',
      "  if (live.type === 'kline') return [] satisfies readonly TradeRow[] & (typeof live.rows[0] extends { volume: string | null } | undefined ? unknown : never)",
      "  for await (const message of connectStream({ url: '', patterns: [] })) if (message.type === 'trade') return message.rows",
      "  decodeBlock(bytes).doubles('price').at(0)?.toFixed(2)",
      '  // @ts-expect-error no such column',
      "  if (live.type === 'trade') live.rows[0]?.prise",
      "  return (await query({ url: '' }).series('trades', 'a.b.c')).rows",
      '}',
    ].join('\n'),
  )
  const strict = [
    '--strict',
    '--noUncheckedIndexedAccess',
    '--exactOptionalPropertyTypes',
    '--noEmit',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--types',
    '',
    '--lib',
    'es2022,dom',
  ]
  const checked = spawnSync(process.execPath, [tsc, ...strict, 'program.ts'], { cwd: directory })
  assert.equal(checked.status, 0, checked.stdout.toString())
})

test('README and examples: programs without our code, and three with it, should read what the store has', async (t) => {
  const found = await findNatsServer({ cacheDirectory: CACHE, mayFetch: true, log: SILENT })
  if ('reason' in found) {
    assert.equal(process.env.CI, undefined, found.reason)
    return t.skip(found.reason)
  }
  const venue = await rigVenue(t, { markets: ['spot', 'usdm'], instruments: 2, rate: 400 })
  const data = temporaryDirectory(t)
  const engine = startCli(['collect', 'store', 'serve', '--data', data, ...venue.flags])
  cleanUp(t, () => engine.kill('SIGKILL'))
  const address = async (line: RegExp, url: RegExp) => (url.exec(await engine.line(line)) as RegExpExecArray)[0]
  const [nats, clickhouse, gateway] = await Promise.all([
    address(/^marketprism: NATS: /, /nats:\/\/[\d.:]+/),
    address(/^marketprism: ClickHouse: /, /http:\/\/[\d.:]+/),
    address(/^marketprism: gateway: /, /http:\/\/[\d.:]+/),
  ])
  const sql = async <Line>(query: string): Promise<Line[]> => {
    const answer = await fetch(`${clickhouse}/?database=marketprism`, {
      method: 'POST',
      body: `${query} FORMAT JSONEachRow`,
    })
    const text = await answer.text()
    assert.equal(answer.status, 200, text)
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line)
  }
  const directory = project(t)
  for (const [name, text] of readmePrograms()) writeFileSync(join(directory, name), text)
  const isGood = async (path: string) => (await fetch(`${gateway}${path}`)).status === 200
  await until(() => isGood(`/v1/books/${INSTRUMENT}`), 30_000, 'the book is LIVE')
  await until(() => isGood(`/v1/trades/${INSTRUMENT}?limit=5`), 30_000, 'trades are stored')

  const examples = join(ROOT, 'engine', 'client', 'examples')
  for (const name of readdirSync(examples)) copyFileSync(join(examples, name), join(directory, `example-${name}`))
  const state = join(directory, 'state.json')
  const [live, blocks, browser, exampleLive] = await Promise.all([
    run(directory, 'live.mjs', [nats, '40']),
    run(directory, 'blocks.mjs', [nats, '3']),
    runWhenWell(directory, 'gateway.mjs', [gateway, INSTRUMENT, '25']),
    run(directory, 'example-live.mjs', [gateway, INSTRUMENT, '6']),
    run(directory, 'example-blocks.mjs', [nats, state, '20'], 4_000), // killed on its way
  ])

  venue.finish()
  await venue.over
  const storedRows = async () =>
    (await sql<{ rows: string }>('SELECT toString(sum(rows)) AS rows FROM blocks FINAL'))[0]?.rows
  let before: string | undefined
  const isStored = async () => {
    const now = await storedRows()
    const isQuiet = now === before
    before = now
    if (!isQuiet) await new Promise((resolve) => setTimeout(resolve, 1_500)) // six times the age of a block
    return isQuiet
  }
  await until(isStored, 40_000, 'all is stored')
  type StoredTrade = TradeLine & { market: string; symbol: string }
  const trades = new Map(
    (
      await sql<StoredTrade>(
        "SELECT market, symbol, toString(trade_id) AS trade_id, toString(price) AS price, toString(quantity) AS quantity, side FROM trades WHERE stream = 'trade'",
      )
    ).map((trade) => [`${trade.market}.${trade.symbol}.${trade.trade_id}`, trade]),
  )
  const assertStored = (lines: readonly TradeLine[], what: string) => {
    assert.ok(lines.length > 10, `${what}: only ${lines.length} trades`)
    for (const { market = 'usdm', symbol = 'BTCUSDT', trade_id, price, quantity, side } of lines) {
      const stored = trades.get(`${market}.${symbol}.${trade_id}`)
      assert.deepEqual(
        { price, quantity, side },
        { price: stored?.price, quantity: stored?.quantity, side: stored?.side },
        `${what} ${trade_id}`,
      )
    }
  }

  await t.test('README: live trades by plain nats and msgpackr should be those of the store', () => {
    assertStored(objects<TradeLine>(live), 'live')
  })

  await t.test('README: blocks by plain nats and msgpackr should have the rows of the store', () => {
    const lines = objects<{ instrument: string; trade_id: string; price: [string, number] }>(blocks)
    assert.ok(lines.length > 10, `${lines.length} rows`)
    for (const {
      instrument,
      trade_id,
      price: [mantissa, scale],
    } of lines) {
      const stored = trades.get(`${instrument.slice('binance.'.length)}.${trade_id}`)
      assert.equal(Number(mantissa) / 10 ** scale, Number(stored?.price), trade_id)
    }
  })

  await t.test(
    'README: a page that speaks fetch and WebSocket should see the trades of the store and a book with both sides',
    () => {
      const lines = objects<TradeLine & { last_seq?: number; bids?: number; asks?: number }>(browser)
      const [seen, books] = [
        lines.filter((line) => line.last_seq === undefined),
        lines.filter((line) => line.last_seq !== undefined),
      ]
      for (const { trade_id, price } of seen) assert.equal(price, trades.get(`usdm.BTCUSDT.${trade_id}`)?.price)
      assert.ok(seen.length > 0 && books.length > 0)
      assert.deepEqual([books.at(-1)?.bids, books.at(-1)?.asks], [10, 10])
    },
  )

  await t.test('example live should count trades and changes of a book that is LIVE', () => {
    assert.equal(exampleLive.code, 0, exampleLive.stderr)
    const counts = JSON.parse(exampleLive.lines.at(-1) ?? '') as {
      trades: number
      bookChanges: number
      resets: number
      isLive: boolean
    }
    assert.ok(counts.trades > 0 && counts.bookChanges > 0, JSON.stringify(counts))
    assert.deepEqual([counts.isLive, counts.resets], [true, 0])
  })

  await t.test('example blocks should count every row once, though it was killed on its way', async () => {
    const again = await run(directory, 'example-blocks.mjs', [nats, state, '2'])
    assert.equal(again.code, 0, again.stderr)
    const { tables } = JSON.parse(again.lines.at(-1) ?? '') as {
      tables: Record<string, { rows: number; volume: number }>
    }
    const stored = await sql<{ table: string; rows: string }>(
      'SELECT table, toString(sum(rows)) AS rows FROM blocks FINAL GROUP BY table',
    )
    assert.ok(stored.length >= 3)
    assert.deepEqual(
      Object.fromEntries(
        Object.entries(tables)
          .map(([table, { rows }]) => [table, String(rows)])
          .sort(),
      ),
      Object.fromEntries(stored.map(({ table, rows }) => [table, rows]).sort()),
    )
    const [sum] = await sql<{ volume: number }>('SELECT toFloat64(sum(quantity)) AS volume FROM trades')
    assert.ok(Math.abs((tables['trades']?.volume ?? 0) / (sum?.volume ?? 1) - 1) < 1e-9)
  })

  await t.test('example bars should write the bars of the day, exact in CSV and as columns for NumPy', async () => {
    await until(() => isGood(`/v1/klines/${INSTRUMENT}?interval=1s&limit=1`), 30_000, 'bars are answered')
    const { code, lines, stderr } = await runWhenWell(directory, 'example-bars.mjs', [
      gateway,
      INSTRUMENT,
      '',
      '1s',
      'bars',
    ])
    assert.equal(code, 0, stderr)
    const wanted = await sql<Record<string, string>>(
      `SELECT toString(toUnixTimestamp64Nano(toDateTime64(toStartOfSecond(trade_ns), 9, 'UTC'))) AS open_ns, toString(max(price)) AS high,
              toString(min(price)) AS low, toString(sum(quantity)) AS volume, toString(count()) AS trade_count
       FROM trades WHERE market = 'usdm' AND symbol = 'BTCUSDT' AND stream = 'trade' GROUP BY open_ns ORDER BY open_ns`,
    )
    const names = (lines[0] ?? '').split(',')
    const bars = lines
      .slice(1)
      .map((line) => Object.fromEntries(line.split(',').map((value, at) => [names[at] as string, value])))
    assert.deepEqual(
      bars.map(({ open_ns, high, low, volume, trade_count }) => ({ open_ns, high, low, volume, trade_count })),
      wanted,
    )
    const closes = readFileSync(join(directory, 'bars', 'close.npy'))
    assert.equal(closes.subarray(1, 6).toString(), 'NUMPY')
    const start = 10 + closes.readUInt16LE(8)
    assert.equal(start % 64, 0)
    const values = new Float64Array(Uint8Array.from(closes.subarray(start)).buffer)
    assert.deepEqual(
      [...values],
      bars.map(({ close }) => Number(close)),
    )
  })
})

/** JavaScript of the README, by the name in its first line. */
function readmePrograms(): (readonly [string, string])[] {
  const text = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const programs = [...text.matchAll(/```js\n\/\/ (\w+\.mjs): .*\n([\s\S]*?)```/g)].map(
    ([, name, code]) => [name as string, code as string] as const,
  )
  assert.deepEqual(
    programs.map(([name]) => name),
    ['live.mjs', 'blocks.mjs', 'gateway.mjs'],
  )
  return programs
}
