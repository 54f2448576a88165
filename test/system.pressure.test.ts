import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { cleanUp } from './support/clean-up.ts'
import { temporaryDirectory, until } from './support/embedded.ts'
import { type AfterRun, afterRun, arrived, type RigEngine, rigEngine, rigVenue } from './support/rig.ts'

/** Sick workers, full rings, full spools and full disks of the whole engine. */

/** Ids that were sent and are not stored, by instrument and table, and whether a gap row of the channel holds them. */
async function assertInGaps({ sql }: AfterRun, truthDirectory: string): Promise<number> {
  const { readFileSync } = await import('node:fs')
  let missing = 0
  for (const [table, id, channel] of [
    ['trades', 'trade_id', 'trades'],
    ['book_deltas', 'last_seq', 'book'],
    ['book_tickers', 'update_id', 'book_tickers'],
  ] as const) {
    const { structure } = JSON.parse(readFileSync(path.join(truthDirectory, `${table}.json`), 'utf8')) as {
      structure: { name: string; type: string }[]
    }
    const columns = structure
      .map(({ name, type }) => `${name} ${type}`)
      .join(', ')
      .replaceAll("'", "\\'")
    const [row] = await sql<{ missing: string; outside: string }>(`
      WITH lost AS (SELECT market, symbol, toUInt64(${id}) AS id FROM file('${truthDirectory}/${table}.rowbinary', 'RowBinary', '${columns}')
                    WHERE (market, symbol, id) NOT IN (SELECT market, symbol, toUInt64(${id}) FROM ${table})),
           holes AS (SELECT market, symbol, from_seq, to_seq FROM gaps FINAL WHERE channel = '${channel}')
      SELECT count() AS missing, countIf(gaps = 0) AS outside FROM (
        SELECT market, symbol, id, countIf(from_seq <= id AND (to_seq = 0 OR id <= to_seq)) AS gaps
        FROM lost LEFT JOIN holes USING (market, symbol) GROUP BY market, symbol, id)`)
    assert.equal(Number(row?.outside), 0, `${table}: missing and in no gap row`)
    missing += Number(row?.missing)
  }
  return missing
}

const SICK = fileURLToPath(new URL('../../test/support/sick-worker.cjs', import.meta.url))

for (const illness of ['crash', 'hang'])
  test(`engine should replace a book worker after a ${illness}: gaps for its books, nothing for the others`, async (t) => {
    const venue = await rigVenue(t, { instruments: 3 })
    const data = temporaryDirectory(t)
    const order = path.join(temporaryDirectory(t), 'order')
    // a busy machine alone must not make a worker look hung that is to crash
    const hangMs = illness === 'hang' ? 1_000 : 10_000
    const flags = ['--delivery', 'direct', '--workers', '2', '--set', `workers.hangMs=${hangMs}`, ...venue.flags]
    const engine = await rigEngine(t, data, flags, { NODE_OPTIONS: `--require=${SICK}`, SICK_WORKER_FILE: order })
    await engine.booksLive(9, 10_000)
    await sleep(1_000)
    writeFileSync(order, illness)
    await until(
      async () => (await engine.metric('marketprism_worker_restarts_total', { kind: 'book' })) === 1,
      8_000,
      'a worker is replaced',
    )
    await engine.booksLive(9, 10_000)
    await sleep(1_000)
    await arrived(engine, venue)
    engine.kill('SIGTERM')
    const { code, stderr } = await engine.ended
    assert.equal(code, 0, stderr)
    assert.match(stderr, illness === 'crash' ? /sick on order.*worker lost/ : /no heart beat.*worker lost/)
    const result = await afterRun(t, data, venue)
    assert.deepEqual([result.doubled, result.wrong], [0, 0], JSON.stringify(result.check))
    assert.ok((await assertInGaps(result, venue.truthDirectory)) > 0)
    const gaps = await result.sql<{ market: string; symbol: string; causes: string[]; open: string[] }>(
      `SELECT market, symbol, groupUniqArray(toString(cause)) AS causes, groupArrayIf(toString(channel), status = 'open') AS open FROM gaps FINAL GROUP BY market, symbol`,
    )
    assert.ok(gaps.length > 0 && gaps.length < 9, `gaps of ${gaps.length} of 9 instruments`)
    for (const { market, symbol, causes, open } of gaps) {
      assert.deepEqual(causes, ['worker_restart'])
      // a gap lasts until something of its channel comes; a quiet instrument may have brought nothing since
      for (const channel of open) {
        const [after] = await result.sql<{ rows: string }>(
          `SELECT count() AS rows FROM ${channel} WHERE market = '${market}' AND symbol = '${symbol}' AND received_ns >
           (SELECT max(from_ns) FROM gaps WHERE market = '${market}' AND symbol = '${symbol}' AND channel = '${channel}')`,
        )
        assert.equal(Number(after?.rows), 0, `${market} ${symbol} ${channel}`)
      }
    }
  })

const TINY = [
  'rings.framesBytes=262144',
  'rings.batchesBytes=262144',
  'batch.bytesMax=32768',
  'spool.segmentBytes=262144',
  'spool.maxBytes=2097152',
  'spool.retainSeconds=0',
  'spool.freeBytesMin=0',
  ...['spot', 'usdm', 'coinm'].map((market) => `exchanges.binance.${market}.maxPayloadBytes=65536`),
].flatMap((text) => ['--set', text])

async function paused(engine: RigEngine): Promise<boolean> {
  return (await engine.metric('marketprism_sockets_paused')) > 0
}

/** What was given up (+) and taken up again (-), in the order of its lines. */
function shedOf(stderr: string): string[] {
  const words = { backfill: 'backfill', 'the gateway': 'gateway', 'candles are': 'candles' } as const
  return stderr.split('\n').flatMap((line) => {
    const back = /overload: (\w+) goes on again/.exec(line)?.[1]
    if (back !== undefined) return [`-${back}`]
    const given = Object.entries(words).find(([word]) => line.includes(`overload: ${word}`) && !line.includes('again'))
    return given === undefined ? [] : [`+${given[1]}`]
  })
}

test('engine should hold the sockets back when nothing takes its rows, give up the rest first, and tell each loss as a gap', async (t) => {
  const venue = await rigVenue(t, { rate: 10_000 }) // fills the spool in seconds, and leaves a busy machine room to catch up
  const data = temporaryDirectory(t)
  const engine = await rigEngine(t, data, ['--delivery', 'direct', ...TINY, ...venue.flags])
  await engine.booksLive(6, 10_000)
  await sleep(1_000)
  const server = engine.child('clickhouse-server')
  process.kill(server, 'SIGSTOP')
  await until(() => paused(engine), 60_000, 'sockets are paused')
  const before = await engine.metric('marketprism_resident_memory_bytes')
  await sleep(4_000)
  const after = await engine.metric('marketprism_resident_memory_bytes')
  assert.ok(after - before < 32 * 2 ** 20, `${Math.round((after - before) / 2 ** 20)} MiB more while nothing was taken`)
  assert.ok((await engine.metric('marketprism_spool_bytes')) <= 2.2 * 2 ** 20)
  assert.equal(await engine.metric('marketprism_pressure_level'), 3)
  assert.match(
    await (await engine.page('health')).text(),
    /given up: backfill, gateway, candles; [^"]*sockets are paused/,
  )
  process.kill(server, 'SIGCONT')
  await until(async () => !(await paused(engine)), 60_000, 'sockets are read again')
  await engine.booksLive(6, 20_000)
  await sleep(1_000)
  await arrived(engine, venue)
  await until(
    async () => (await engine.metric('marketprism_spool_undelivered_blocks')) === 0,
    10_000,
    'all is delivered',
  )
  await until(async () => (await engine.metric('marketprism_pressure_level')) === 0, 120_000, 'all is taken up again')
  engine.kill('SIGTERM')
  const { code, stderr } = await engine.ended
  assert.equal(code, 0, stderr)
  const shed = shedOf(stderr)
  const first = ['+backfill', '+gateway', '+candles'].map((word) => shed.indexOf(word))
  const last = ['-candles', '-gateway', '-backfill'].map((word) => shed.lastIndexOf(word))
  assert.deepEqual(first, [0, 1, 2], `${shed}`)
  assert.ok(last.every((place, index) => place > (last[index - 1] ?? 2)) && last[2] === shed.length - 1, `${shed}`)
  const result = await afterRun(t, data, venue)
  assert.deepEqual([result.doubled, result.wrong], [0, 0], JSON.stringify(result.check))
  await assertInGaps(result, venue.truthDirectory)
})

/** @returns why there is no small disk here, or '' when one is mounted on `directory`. */
function mountSmallDisk(t: TestContext, directory: string, mebibytes: number): string {
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', directory])
  if (status !== 0) return `no small disk can be mounted here: ${String(stderr ?? 'mount is not there').trim()}`
  cleanUp(t, () => {
    spawnSync('umount', ['-l', directory])
    rmdirSync(directory)
  })
  return ''
}

test('engine should wait for room on a full disk, say so once, and go on when there is room', async (t) => {
  const spool = mkdtempSync(path.join(tmpdir(), 'marketprism-small-disk-'))
  const reason = mountSmallDisk(t, spool, 8)
  if (reason !== '') return t.skip(reason)
  const venue = await rigVenue(t, { rate: 20_000 })
  const data = temporaryDirectory(t)
  const room = [
    '--set',
    'spool.freeBytesMin=0',
    '--set',
    'spool.maxBytes=1073741824',
    '--set',
    'spool.segmentBytes=1048576',
    '--set',
    'spool.retainSeconds=0',
  ]
  const engine = await rigEngine(t, data, [
    '--delivery',
    'direct',
    '--set',
    `spool.directory=${spool}`,
    ...room,
    ...venue.flags,
  ])
  await engine.booksLive(6, 10_000)
  await sleep(1_000)
  const server = engine.child('clickhouse-server')
  process.kill(server, 'SIGSTOP') // else delivered segments would make room, now and then
  const ballast = path.join(spool, 'ballast')
  spawnSync('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=64k', 'count=1024']) // to the last byte
  assert.ok(existsSync(ballast))
  await engine.line(/has no room/)
  await sleep(2_000)
  assert.equal((await engine.page('livez')).status, 200)
  spawnSync('rm', [ballast])
  process.kill(server, 'SIGCONT')
  await engine.booksLive(6, 20_000)
  await sleep(1_500)
  await arrived(engine, venue)
  await until(
    async () => (await engine.metric('marketprism_spool_undelivered_blocks')) === 0,
    10_000,
    'all is delivered',
  )
  engine.kill('SIGTERM')
  const { code, stderr } = await engine.ended
  assert.equal(code, 0, stderr)
  const told = stderr.split('\n').filter((line) => /has no room|has room again/.test(line))
  for (const [index, line] of told.entries())
    assert.match(line, index % 2 === 0 ? /has no room/ : /has room again/, stderr)
  assert.ok((told[0] as string).includes(spool), stderr)
  assert.match(stderr, /has room again/)
  const result = await afterRun(t, data, venue)
  assert.deepEqual([result.doubled, result.wrong], [0, 0], JSON.stringify(result.check))
  await assertInGaps(result, venue.truthDirectory)
})

test('engine that starts on a full disk should wait for room, say so once, and start when there is some', async (t) => {
  const spool = mkdtempSync(path.join(tmpdir(), 'marketprism-small-disk-'))
  const reason = mountSmallDisk(t, spool, 8)
  if (reason !== '') return t.skip(reason)
  const ballast = path.join(spool, 'ballast')
  spawnSync('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=4k']) // to the last byte
  const venue = await rigVenue(t, { markets: ['spot'], instruments: 1, rate: 200 })
  const settings = [`spool.directory=${spool}`, 'spool.freeBytesMin=0', 'spool.segmentBytes=1048576']
  const flags = ['--delivery', 'direct', ...settings.flatMap((text) => ['--set', text]), ...venue.flags]
  const starting = rigEngine(t, temporaryDirectory(t), flags)
  await until(() => readdirSync(spool).includes('LOCK'), 20_000, 'the spool is to be opened')
  await sleep(2_500)
  spawnSync('rm', [ballast])
  const engine = await starting
  await engine.booksLive(1, 20_000)
  engine.kill('SIGTERM')
  const { code, stderr } = await engine.ended
  assert.equal(code, 0, stderr)
  assert.equal(stderr.match(/is full, so nothing is collected yet: free some space/g)?.length, 1, stderr)
  assert.match(stderr, /has room again: it is opened/)
  assert.doesNotMatch(stderr, /worker lost/)
})
