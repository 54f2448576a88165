import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { temporaryDirectory, until } from './support/embedded.ts'
import { hasNatsServer } from './support/nats.ts'
import { type AfterRun, afterRun, arrived, isAlive, type RigEngine, rigEngine, rigVenue } from './support/rig.ts'

/**
 * The engine as a process, with its parts killed under load. What counts is what stands in ClickHouse at the end, held
 * against what the venue wrote down.
 */

const STOP_MS_MAX = 10_000
const TABLE_IDS = { trades: 'trade_id', book_deltas: 'last_seq', book_tickers: 'update_id' } as const

function assertWhole({ check, missing, doubled, wrong }: AfterRun): void {
  assert.deepEqual([missing, doubled, wrong], [0, 0, 0], JSON.stringify(check))
}

/** What is missing of an instrument lies in one piece: nothing was stored from its first to its last id. */
async function assertOneHole({ sql }: AfterRun, truthDirectory: string): Promise<number> {
  let missing = 0
  for (const [table, id] of Object.entries(TABLE_IDS)) {
    const truth = `file('${truthDirectory}/${table}.rowbinary', 'RowBinary', '${await structureOf(truthDirectory, table)}')`
    const [row] = await sql<{ missing: string; inside: string }>(`
      WITH stored AS (SELECT market, symbol, toUInt64(${id}) AS id FROM ${table}),
           lost AS (SELECT market, symbol, toUInt64(${id}) AS id FROM ${truth} WHERE (market, symbol, id) NOT IN (SELECT * FROM stored)),
           holes AS (SELECT market, symbol, min(id) AS low, max(id) AS high, count() AS ids FROM lost GROUP BY market, symbol)
      SELECT (SELECT sum(ids) FROM holes) AS missing, count() AS inside FROM stored JOIN holes USING (market, symbol) WHERE id BETWEEN low AND high`)
    assert.equal(Number(row?.inside), 0, `${table}: rows between rows that are missing`)
    missing += Number(row?.missing)
  }
  return missing
}

async function structureOf(directory: string, table: string): Promise<string> {
  const { readFileSync } = await import('node:fs')
  const { structure } = JSON.parse(readFileSync(`${directory}/${table}.json`, 'utf8')) as {
    structure: { name: string; type: string }[]
  }
  return structure
    .map(({ name, type }) => `${name} ${type}`)
    .join(', ')
    .replaceAll("'", "\\'")
}

test('engine should store every event once when its ClickHouse is killed under load', async (t) => {
  const venue = await rigVenue(t)
  const engine = await rigEngine(t, temporaryDirectory(t), ['--delivery', 'direct', ...venue.flags])
  await engine.booksLive(6, 10_000)
  await sleep(500)
  const victim = engine.child('clickhouse-server')
  process.kill(victim, 'SIGKILL')
  await until(() => !isAlive(victim), 1_000, 'the ClickHouse process is gone')
  await until(() => childAgain(() => engine.child('clickhouse-server')), 10_000, 'another one runs')
  await sleep(1_500)
  await arrived(engine, venue)
  engine.kill('SIGTERM')
  const { code, stderr } = await engine.ended
  assert.equal(code, 0, stderr)
  const result = await afterRun(t, engine.dataDirectory, venue)
  assertWhole(result)
})

/** What was on its way from NATS to the store when NATS died comes again only when its time to be acknowledged is over. */
async function stored(engine: RigEngine): Promise<void> {
  const made = await engine.metric('marketprism_spool_blocks_total')
  const count = async (): Promise<number> => {
    const [row] = await engine.sql<{ blocks: string }>('SELECT uniqExact(block_seq) AS blocks FROM blocks')
    return Number(row?.blocks)
  }
  await until(async () => (await count()) >= made, 90_000, 'all blocks are stored')
}

function childAgain(find: () => number): boolean {
  try {
    return find() > 0
  } catch {
    return false
  }
}

test('engine should store every event once when its nats-server is killed under load', async (t) => {
  const reason = await hasNatsServer()
  if (reason !== '') return t.skip(reason)
  const venue = await rigVenue(t)
  const engine = await rigEngine(t, temporaryDirectory(t), ['--delivery', 'jetstream', ...venue.flags])
  await engine.booksLive(6, 10_000)
  await sleep(500)
  const victim = engine.child('nats-server')
  process.kill(victim, 'SIGKILL')
  await until(() => !isAlive(victim), 1_000, 'the nats-server is gone')
  await until(() => childAgain(() => engine.child('nats-server')), 10_000, 'another one runs')
  await sleep(1_500)
  await arrived(engine, venue)
  await stored(engine)
  engine.kill('SIGTERM')
  const { code, stderr } = await engine.ended
  assert.equal(code, 0, stderr)
  assertWhole(await afterRun(t, engine.dataDirectory, venue))
})

test('engine should end within 10 s of SIGTERM under load, and the next one deliver what stayed in the spool', async (t) => {
  const venue = await rigVenue(t)
  const data = temporaryDirectory(t)
  const flags = ['--delivery', 'direct', ...venue.flags]
  const first = await rigEngine(t, data, flags)
  await first.booksLive(6, 10_000)
  await sleep(1_000)
  process.kill(first.child('clickhouse-server'), 'SIGSTOP') // so that something stays
  await sleep(700)
  const atMs = performance.now()
  first.kill('SIGTERM')
  const { code, stderr } = await first.ended
  const tookMs = performance.now() - atMs
  assert.equal(code, 0, stderr)
  assert.ok(tookMs < STOP_MS_MAX, `took ${Math.round(tookMs)} ms`)
  assert.match(stderr, /\d+ blocks stay in the spool and go out at the next start/)
  assert.doesNotMatch(stderr, /ended by force/)
  const second = await rigEngine(t, data, flags)
  await second.booksLive(6, 10_000)
  await sleep(1_000)
  await arrived(second, venue)
  second.kill('SIGTERM')
  assert.equal((await second.ended).code, 0)
  const result = await afterRun(t, data, venue)
  assert.deepEqual([result.doubled, result.wrong], [0, 0], JSON.stringify(result.check))
  const missing = await assertOneHole(result, venue.truthDirectory)
  assert.ok(missing + result.losses.length > 0, 'the venue went on between the two lives')
})

test('engine should keep what it accepted when it is killed under load, and bring new rows within 10 s of its next start', async (t) => {
  const venue = await rigVenue(t)
  const data = temporaryDirectory(t)
  const flags = ['--delivery', 'direct', ...venue.flags]
  const first = await rigEngine(t, data, flags)
  await first.booksLive(6, 10_000)
  await sleep(1_500)
  const accepted = await first.metric('marketprism_spool_blocks_total')
  const server = first.child('clickhouse-server')
  first.kill('SIGKILL')
  await first.ended
  const killedMs = Date.now()
  await until(() => !isAlive(server), 10_000, 'its ClickHouse ends with it')
  const startedMs = performance.now()
  const second = await rigEngine(t, data, flags)
  await until(
    async () => {
      const [row] = await second.sql<{ rows: string }>(
        `SELECT count() AS rows FROM trades WHERE received_ns > fromUnixTimestamp64Milli(${killedMs})`,
      )
      return Number(row?.rows) > 0
    },
    10_000,
    'new rows are stored',
  )
  const tookMs = performance.now() - startedMs
  assert.ok(tookMs < 10_000, `first new row after ${Math.round(tookMs)} ms`)
  await second.booksLive(6, 10_000)
  await sleep(1_000)
  await arrived(second, venue)
  second.kill('SIGTERM')
  assert.equal((await second.ended).code, 0)
  const result = await afterRun(t, data, venue)
  assert.deepEqual([result.doubled, result.wrong], [0, 0], JSON.stringify(result.check))
  const [blocks] = await result.sql<{ blocks: string }>(
    'SELECT count() AS blocks FROM blocks FINAL WHERE epoch = (SELECT min(epoch) FROM blocks)',
  )
  assert.ok(Number(blocks?.blocks) >= accepted, `${blocks?.blocks} blocks stored of ${accepted} accepted`)
  assert.ok((await assertOneHole(result, venue.truthDirectory)) > 0)
})
