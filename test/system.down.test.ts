import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import type { CheckedTable } from '../engine/tools/demo/check.ts'
import { temporaryDirectory } from './support/embedded.ts'
import { afterRun, arrived, type RigEngine, rigEngine, rigVenue } from './support/rig.ts'

/** What a collector missed while it did not run, and what its disk lost, stands in the table of gaps. */

/** A batch age and a margin, the time between two notes, and a busy machine. */
const EARLY_MS_MAX = 10_000
/** From a simulator's send to our read, on a busy machine. */
const ON_THE_WIRE_MS_MAX = 1_000
const CHANNELS: Readonly<Record<CheckedTable, string>> = {
  trades: 'trades',
  book_deltas: 'book',
  book_tickers: 'book_tickers',
}

for (const [ending, signal] of [
  ['killed', 'SIGKILL'],
  ['stopped in order', 'SIGTERM'],
] as const) {
  test(`engine that was ${ending} should write a gap for every channel from its last kept rows to its first new ones`, async (t) => {
    const venue = await rigVenue(t, { markets: ['spot', 'usdm'], instruments: 2, rate: 1000 })
    const data = temporaryDirectory(t)
    const flags = ['--delivery', 'direct', ...venue.flags]
    const first = await rigEngine(t, data, flags)
    await first.booksLive(4, 20_000)
    await sleep(4_000) // so long that what was kept is noted
    const endedMs = Date.now()
    first.kill(signal)
    await first.ended
    const second = await rigEngine(t, data, flags)
    await second.booksLive(4, 20_000)
    const liveMs = Date.now()
    await sleep(500)
    await arrived(second, venue)
    second.kill('SIGTERM')
    assert.equal((await second.ended).code, 0)
    const result = await afterRun(t, data, venue)
    assert.deepEqual([result.doubled, result.wrong], [0, 0], JSON.stringify(result.check))
    const gaps = await result.sql<{
      market: string
      symbol: string
      channel: string
      status: string
      a: string
      z: string
    }>(
      `SELECT market, symbol, toString(channel) AS channel, toString(status) AS status, toUnixTimestamp64Milli(from_ns) AS a, toUnixTimestamp64Milli(to_ns) AS z
       FROM gaps FINAL WHERE cause = 'collector_down'`,
    )
    assert.equal(gaps.length, 4 * 3, 'one a channel of each instrument')
    for (const gap of gaps) {
      assert.equal(gap.status, 'closed', JSON.stringify(gap))
      assert.ok(Number(gap.a) <= endedMs && Number(gap.a) > endedMs - EARLY_MS_MAX, `${endedMs} ${JSON.stringify(gap)}`)
      assert.ok(Number(gap.z) > endedMs && Number(gap.z) <= liveMs + 1_000, `${liveMs} ${JSON.stringify(gap)}`)
    }
    // what the venue put on the wire in the moment of an orderly end is missing, nothing from before
    for (const [channel, { missingRows }] of Object.entries(result.check))
      for (const { market, symbol, ms } of signal === 'SIGTERM' ? missingRows : []) {
        const gap = gaps.find(
          (row) =>
            `${row.market} ${row.symbol} ${row.channel}` === `${market} ${symbol} ${CHANNELS[channel as CheckedTable]}`,
        )
        assert.ok(Number(ms) === 0 || Number(ms) >= Number(gap?.a) - ON_THE_WIRE_MS_MAX, `${ms} ${JSON.stringify(gap)}`)
      }
    // no row was received before the gap and lost: what is stored of the first run ends after the gap begins
    const late = await result.sql<{ market: string; symbol: string; last: string }>(
      `SELECT market, symbol, toUnixTimestamp64Milli(max(received_ns)) AS last FROM trades WHERE epoch = (SELECT min(epoch) FROM blocks) GROUP BY market, symbol`,
    )
    const begins = Math.max(...gaps.map(({ a }) => Number(a)))
    assert.ok(late.length === 4 && late.some(({ last }) => Number(last) >= begins), JSON.stringify(late))
  })
}

test('engine that ends before its sockets open should leave no time untold to the next one', async (t) => {
  const venue = await rigVenue(t, { markets: ['spot'], instruments: 1, rate: 200 })
  const data = temporaryDirectory(t)
  const flags = ['--delivery', 'direct', ...venue.flags]
  const endedMs: number[] = []
  const end = async (engine: RigEngine): Promise<void> => {
    await sleep(4_500) // so long that what was kept is noted
    endedMs.push(Date.now())
    engine.kill('SIGKILL')
    await engine.ended
  }
  const first = await rigEngine(t, data, flags)
  await first.booksLive(1, 20_000)
  await end(first)
  const nowhere = flags.map((flag) => flag.replace(/(?<=wsUrl=).*/, 'ws://127.0.0.1:1'))
  await end(await rigEngine(t, data, nowhere))
  const third = await rigEngine(t, data, flags)
  await third.booksLive(1, 20_000)
  const liveMs = Date.now()
  await arrived(third, venue)
  third.kill('SIGTERM')
  await third.ended
  const { sql } = await afterRun(t, data, venue)
  const gaps = await sql<{ channel: string; status: string; a: string; z: string }>(
    `SELECT toString(channel) AS channel, toString(status) AS status, toUnixTimestamp64Milli(from_ns) AS a, toUnixTimestamp64Milli(to_ns) AS z
     FROM gaps FINAL WHERE cause = 'collector_down' ORDER BY channel, from_ns`,
  )
  assert.deepEqual(
    gaps.map(({ channel, status }) => `${channel} ${status}`),
    ['book', 'book_tickers', 'trades'].flatMap((channel) => [`${channel} open`, `${channel} closed`]),
  )
  for (const [index, { status, a, z }] of gaps.entries()) {
    // an open row lasts until that of who comes after: from the first end to the third run all is told
    assert.ok(Number(a) <= (endedMs[index % 2] as number), `${endedMs} ${JSON.stringify(gaps)}`)
    if (status === 'closed') assert.ok(Number(z) <= liveMs + 1_000 && Number(z) > (endedMs[1] as number))
  }
})

test('engine should write gaps for blocks of its spool that a bad disk has damaged before they were delivered', async (t) => {
  const venue = await rigVenue(t, { markets: ['spot'], instruments: 2, rate: 1000 })
  const data = temporaryDirectory(t)
  const flags = ['--delivery', 'direct', ...venue.flags]
  const first = await rigEngine(t, data, flags)
  await first.booksLive(2, 20_000)
  const server = first.child('clickhouse-server')
  process.kill(server, 'SIGSTOP') // nothing is delivered from now on
  await sleep(3_000)
  first.kill('SIGKILL')
  process.kill(server, 'SIGKILL')
  await first.ended
  const directory = path.join(data, 'spool')
  const file = path.join(directory, readdirSync(directory).find((name) => name.endsWith('.seg')) as string)
  const bytes = readFileSync(file)
  const at = bytes.length - (bytes.length >> 2)
  bytes[at] = (bytes[at] as number) ^ 1
  writeFileSync(file, bytes)
  const second = await rigEngine(t, data, flags)
  await second.booksLive(2, 20_000)
  await sleep(500)
  await arrived(second, venue)
  second.kill('SIGTERM')
  const { code, stderr } = await second.ended
  assert.equal(code, 0)
  assert.match(stderr, /blocks of the spool are damaged and lost/)
  const result = await afterRun(t, data, venue)
  assert.deepEqual([result.doubled, result.wrong], [0, 0], JSON.stringify(result.check))
  const gaps = await result.sql<{ detail: string; status: string; ms: string }>(
    `SELECT detail, toString(status) AS status, dateDiff('millisecond', from_ns, to_ns) AS ms FROM gaps FINAL WHERE cause = 'spool_corrupt'`,
  )
  assert.equal(gaps.length, 2 * 3)
  for (const { detail, status, ms } of gaps) {
    assert.match(detail, /^blocks \d+\/\d+ to \d+ are damaged in \d+-\d+\.seg$/)
    assert.equal(status, 'closed')
    assert.ok(Number(ms) >= 0 && Number(ms) < 5_000, ms)
  }
})
