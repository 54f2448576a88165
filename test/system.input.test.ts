import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type TestContext, test } from 'node:test'
import { temporaryDirectory } from './support/embedded.ts'
import { type AfterRun, afterRun, arrived, type LossNote, type RigEngine, rigEngine, rigVenue } from './support/rig.ts'

/**
 * Bad input through real sockets: every fault is counted with its reason, what it cost lies inside a gap row, nothing else
 * is disturbed, and the books end as the venue's own.
 */

interface GapRow {
  readonly market: string
  readonly symbol: string
  readonly channel: string
  readonly status: string
  readonly cause: string
  readonly from_seq: string
  readonly to_seq: string
  readonly detail: string
}

const gapsOf = ({ sql }: AfterRun): Promise<GapRow[]> =>
  sql<GapRow>(
    'SELECT market, symbol, toString(channel) AS channel, toString(status) AS status, toString(cause) AS cause, from_seq, to_seq, detail FROM gaps FINAL ORDER BY from_ns',
  )

function channelOf(stream: string): string {
  if (stream.includes('@depth')) return 'book'
  return stream.endsWith('@bookTicker') ? 'book_tickers' : 'trades'
}

const covers = (gap: GapRow, { market, symbol, stream, firstId, lastId }: LossNote): boolean =>
  gap.market === market &&
  gap.symbol === symbol &&
  gap.channel === channelOf(stream) &&
  Number(gap.from_seq) < firstId &&
  (Number(gap.to_seq) === 0 || Number(gap.to_seq) >= lastId)

/** No gap is open any more, and only what REST tells again is repaired. */
function assertEnded(gaps: readonly GapRow[]): void {
  const isEnded = ({ status, channel }: GapRow) =>
    status === 'closed' || (status === 'repaired' && channel === 'trades')
  assert.deepEqual(
    gaps.filter((gap) => !isEnded(gap)),
    [],
  )
}

/** The last book that was stored is the venue's own, level for level as deep as it was stored. */
async function assertBooks({ sql, books }: AfterRun): Promise<void> {
  const rows = await sql<{
    market: string
    symbol: string
    seq: string
    bids: [string, string][]
    asks: [string, string][]
  }>(
    `SELECT market, symbol, toString(last_seq) AS seq, arrayZip(bid_price_mantissas, bid_quantity_mantissas) AS bids, arrayZip(ask_price_mantissas, ask_quantity_mantissas) AS asks
     FROM book_snapshots WHERE kind = 'periodic' ORDER BY received_ns DESC LIMIT 1 BY market, symbol`,
  )
  assert.equal(rows.length, books.length)
  for (const { market, symbol, lastSeq, bids, asks } of books) {
    const row = rows.find((candidate) => candidate.market === market && candidate.symbol === symbol)
    assert.ok(row !== undefined, `${market} ${symbol} has no book`)
    const top = (side: readonly [number, number][], length: number) =>
      side.slice(0, length).map((level) => level.map(String))
    assert.deepEqual(
      {
        seq: row.seq,
        bids: row.bids.map((level) => level.map(String)),
        asks: row.asks.map((level) => level.map(String)),
      },
      { seq: String(lastSeq), bids: top(bids, row.bids.length), asks: top(asks, row.asks.length) },
      `${market} ${symbol}`,
    )
    assert.ok(row.bids.length === 20 && row.asks.length === 20)
  }
}

async function endAndOpen(
  t: TestContext,
  engine: RigEngine,
  venue: Awaited<ReturnType<typeof rigVenue>>,
): Promise<AfterRun & { stderr: string }> {
  await engine.booksLive(6, 5_000)
  await arrived(engine, venue)
  engine.kill('SIGTERM')
  const { code, stderr } = await engine.ended
  assert.equal(code, 0, stderr)
  return { ...(await afterRun(t, engine.dataDirectory, venue)), stderr }
}

test('engine should count, keep and survive messages that cannot be read, and write what they cost as gaps', async (t) => {
  const at = { market: 'usdm', symbol: 'BTCUSDT' }
  const venue = await rigVenue(t, {
    faults: [
      { at: 1.5, kind: 'truncated', stream: 'depth', ...at },
      { at: 2.0, kind: 'truncated', stream: 'trade', ...at },
      { at: 2.5, kind: 'truncated', stream: 'bookTicker', ...at },
      { at: 3.0, kind: 'malformed', market: 'usdm' },
      { at: 3.1, kind: 'nested', market: 'usdm' },
      { at: 3.2, kind: 'unknown', market: 'usdm' },
      { at: 3.5, kind: 'duplicate', stream: 'depth', count: 2, ...at },
      { at: 3.6, kind: 'duplicate', stream: 'trade', count: 2, ...at },
      { at: 3.7, kind: 'duplicate', stream: 'bookTicker', count: 2, ...at },
      { at: 4.0, kind: 'gap', stream: 'trade', count: 3, ...at },
      { at: 4.5, kind: 'gap', stream: 'depth', count: 3, ...at },
      { at: 5.5, kind: 'reorder', stream: 'depth', count: 1, ...at },
      { at: 6.0, kind: 'reorder', stream: 'trade', count: 1, ...at },
    ],
  })
  const engine = await rigEngine(t, temporaryDirectory(t), ['--delivery', 'direct', ...venue.flags])
  await engine.booksLive(6, 10_000)
  await sleep(7_500)
  const rejected = await engine.metric('marketprism_rejected_total')
  const reasons = await Promise.all(
    ['truncated', 'syntax', 'unknown_event'].map((reason) => engine.metric('marketprism_rejected_total', { reason })),
  )
  const duplicates = await engine.metric('marketprism_duplicates_total')
  const closes = await engine.metric('marketprism_closes_total')
  const result = await endAndOpen(t, engine, venue)
  const gaps = await gapsOf(result)
  assert.deepEqual([rejected, ...reasons], [6, 2, 3, 1])
  assert.ok(duplicates >= 4, 'trades and tickers that came twice')
  assert.equal(closes, 0)
  assert.deepEqual([result.doubled, result.wrong], [0, 0], JSON.stringify(result.check))
  for (const loss of result.losses)
    assert.ok(
      gaps.some((gap) => covers(gap, loss)),
      `no gap row for ${JSON.stringify(loss)}`,
    )
  assert.equal(result.missing, 0, 'nothing is missing of what was really sent')
  assert.deepEqual(
    gaps.filter(({ market, symbol }) => market !== at.market || symbol !== at.symbol),
    [],
  )
  assertEnded(gaps)
  const missed = gaps.filter(({ channel, cause }) => channel === 'trades' && cause === 'sequence')
  assert.deepEqual(
    missed.map(({ status }) => status),
    ['repaired', 'repaired', 'repaired'],
    'the venue tells trades again when it is asked',
  )
  await assertBooks(result)
  const kept = readFileSync(path.join(engine.dataDirectory, 'rejected.ndjson'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  assert.equal(kept.length, rejected)
  assert.match(result.stderr, /a message could not be read; it and the like are in .*rejected\.ndjson/)
})

test('engine should come through everything that a venue does to its connections and its REST', async (t) => {
  const venue = await rigVenue(t, {
    faults: [
      { at: 1.5, kind: 'huge', market: 'spot', bytes: 3_000_000 },
      { at: 2.0, kind: 'broken_frame', market: 'coinm' },
      { at: 2.5, kind: 'close', market: 'usdm', rst: true },
      { at: 4.0, kind: 'stale_snapshot', market: 'usdm', symbol: 'ETHUSDT', count: 1 },
      { at: 4.2, kind: 'gap', market: 'usdm', symbol: 'ETHUSDT', stream: 'depth' },
      { at: 5.0, kind: 'rest_429', market: 'spot', seconds: 1.5 },
      { at: 5.1, kind: 'gap', market: 'spot', symbol: 'ETHUSDT', stream: 'depth' },
      { at: 5.2, kind: 'close_all', market: 'coinm', code: 1008 },
      { at: 6.0, kind: 'silent', market: 'coinm', symbol: 'ETHUSD_PERP', stream: 'depth', seconds: 1 },
    ],
  })
  const engine = await rigEngine(t, temporaryDirectory(t), ['--delivery', 'direct', ...venue.flags])
  await engine.booksLive(6, 10_000)
  await sleep(9_000)
  const connects = await engine.metric('marketprism_connects_total')
  const closes = await engine.metric('marketprism_closes_total')
  const planned = await engine.metric('marketprism_sockets_planned')
  const result = await endAndOpen(t, engine, venue)
  const gaps = await gapsOf(result)
  assert.deepEqual([closes, connects], [4, planned + 4], 'each cut is one close and one connect')
  assert.deepEqual([result.doubled, result.wrong], [0, 0], JSON.stringify(result.check))
  for (const loss of result.losses)
    assert.ok(
      gaps.some((gap) => covers(gap, loss)),
      `no gap row for ${JSON.stringify(loss)}`,
    )
  assertEnded(gaps)
  await assertBooks(result)
})

test('engine should stay off a venue that bans it, and go on when the ban is over', async (t) => {
  const venue = await rigVenue(t, {
    markets: ['spot'],
    faults: [
      { at: 1.0, kind: 'rest_418', market: 'spot', seconds: 2.5 },
      { at: 1.1, kind: 'gap', market: 'spot', symbol: 'BTCUSDT', stream: 'depth' },
    ],
  })
  const engine = await rigEngine(t, temporaryDirectory(t), ['--delivery', 'direct', ...venue.flags])
  await engine.booksLive(2, 10_000)
  await sleep(2_000)
  assert.ok((await engine.metric('marketprism_rest_banned_until_timestamp_seconds')) > Date.now() / 1000)
  assert.equal(await engine.metric('marketprism_books', { state: 'LIVE' }), 1, 'the other book goes on')
  await engine.booksLive(2, 8_000)
  engine.kill('SIGTERM')
  const { code, stderr } = await engine.ended
  assert.equal(code, 0, stderr)
})
