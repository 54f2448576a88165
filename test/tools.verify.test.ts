import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, statfsSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { JetStreamManager, NatsConnection, StreamConfig } from 'nats'
import { loadConfig } from '../engine/base/config.ts'
import type { Run } from '../engine/base/run.ts'
import { startEmbeddedNats } from '../engine/embedded/nats.ts'
import { findNatsServer } from '../engine/embedded/nats-install.ts'
import { BLOCK_STREAM, DEAD_LETTER_STREAM } from '../engine/record/streams.ts'
import { consumerShapes, storageOptions, streamOptions } from '../engine/roles/settings.ts'
import { CLICKHOUSE_DEFAULT, createClickHouseClient } from '../engine/sinks/clickhouse.ts'
import { connectNats, NATS_DEFAULT } from '../engine/sinks/nats.ts'
import { REGISTRY_DEFAULT, ROLES_BUCKET } from '../engine/sinks/registry.ts'
import { provesDeduplication, provisionTables } from '../engine/sinks/provision.ts'
import { provisionStreams } from '../engine/sinks/provision-streams.ts'
import { verify } from '../engine/tools/verify.ts'
import type { Finding } from '../engine/tools/verify/findings.ts'
import { Findings } from '../engine/tools/verify/findings.ts'
import { checkNode } from '../engine/tools/verify/machine.ts'
import { cleanUp } from './support/clean-up.ts'
import { lastJson, runCli } from './support/cli.ts'
import { CACHE, SILENT, startClickHouse, temporaryDirectory, until } from './support/embedded.ts'
import { served } from './support/gateway.ts'
import { rigEngine, rigVenue } from './support/rig.ts'

type Flags = readonly string[]

/** A run as the command line makes it, with these keys; nothing of this machine comes in. */
function runWith(keys: Flags): Run {
  const effective = loadConfig({ variables: {}, flags: keys.map((text) => ({ text, label: '--set' })) })
  return {
    config: effective.config,
    effective,
    log: SILENT,
    version: '0',
    roles: [],
    stop: new AbortController().signal,
  }
}

async function verifyWith(keys: Flags, isOffline = true): Promise<Record<string, Finding>> {
  const found = await verify(isOffline, () => runWith(keys))
  return Object.fromEntries(found.map((finding) => [finding.what, finding]))
}

/** What is wrong, by name. */
const wrong = (found: Record<string, Finding>): string[] =>
  Object.values(found).flatMap(({ verdict, what }) => (verdict === 'bad' ? [what] : []))

/** Every line that says what is wrong says what to do. */
function assertWrong(found: Record<string, Finding>, what: string, detail: RegExp, remedy: RegExp): void {
  assert.deepEqual(wrong(found), [what], JSON.stringify(found[what]))
  assert.match(found[what]?.detail ?? '', detail)
  assert.match(found[what]?.remedy ?? '', remedy)
}

async function listen(t: TestContext, server: ReturnType<typeof createTcpServer>): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUp(t, () => server.close())
  return (server.address() as AddressInfo).port
}

/** An HTTP server that answers with this JSON. */
const answering = (t: TestContext, body: () => unknown, status = 200): Promise<number> =>
  listen(
    t,
    createServer((_, response) => {
      response.statusCode = status
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify(body()))
    }).on('connection', (socket) => socket.unref()),
  )

/** A way to ClickHouse on which statements are changed, or answered by somebody else. @param change gets what the URL says, too */
async function tampered(t: TestContext, url: string, change: (sql: string, inUrl: string) => string): Promise<string> {
  const target = new URL(url)
  const server = createServer((incoming: IncomingMessage, outgoing) => {
    const pieces: Buffer[] = []
    incoming.on('data', (piece: Buffer) => pieces.push(piece))
    incoming.on('end', () => {
      const inUrl = new URL(incoming.url ?? '', url).searchParams.get('query') ?? ''
      const sql = change(Buffer.concat(pieces).toString(), inUrl)
      if (sql === '0') return outgoing.end('0\n')
      if (sql === 'denied') {
        outgoing.writeHead(500, { 'x-clickhouse-exception-code': '497' })
        return outgoing.end('Code: 497. DB::Exception: engine: Not enough privileges. (ACCESS_DENIED) (version 26.7)')
      }
      const { 'transfer-encoding': _whole, ...kept } = incoming.headers
      const headers = { ...kept, 'content-length': String(Buffer.byteLength(sql)) }
      const { method, url: path } = incoming
      const onward = request({ host: target.hostname, port: target.port, method, path, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers)
        answer.pipe(outgoing)
      })
      onward.end(sql)
    })
  })
  return `http://127.0.0.1:${await listen(t, server)}`
}

/** By ClickHouse's own rules (InterpreterCreateQuery::getRequiredAccess and its neighbours; GRANT in its reference). */
function rightsNeededBy(sql: string): readonly string[] {
  const here = (...names: string[]) => names.map((name) => `${name} ON \`rights\`.*`)
  if (sql.startsWith('CREATE DATABASE ')) return here('CREATE DATABASE')
  const [, engine] = /^CREATE TABLE [\s\S]*\bENGINE = (\w+)/.exec(sql) ?? []
  if (engine !== undefined) return [...here('CREATE TABLE'), `TABLE ENGINE ON ${engine}`]
  if (sql.startsWith('CREATE OR REPLACE VIEW ')) return here('CREATE VIEW', 'DROP VIEW', 'SELECT')
  if (sql.startsWith('ALTER TABLE ')) return here('ALTER TABLE')
  if (sql.startsWith('DROP TABLE ')) return here('DROP TABLE')
  if (sql.startsWith('INSERT INTO ')) return here('INSERT')
  const [, place = ''] = /^SELECT [\s\S]* FROM (\S+)/.exec(sql) ?? []
  if (/^system\.(tables|columns)$/.test(place)) return [] // always readable
  if (/^system\.\w+$/.test(place)) return [`SELECT ON ${place}`]
  assert.match(place, /^`rights`\./, `a statement whose rights nobody has looked up: ${sql}`)
  return here('SELECT')
}

test('verify should know the oldest Node that will do', () => {
  const verdicts = ['18.20.0', '20.18.9', '20.19.0', '22.1.0', '24.0.0'].map((version) => {
    const findings = new Findings()
    checkNode(findings, version)
    return findings.list[0]?.verdict
  })
  assert.deepEqual(verdicts, ['bad', 'bad', 'good', 'good', 'good'])
})

test('verify should say what is wrong with the configuration, each mistake in a line, and exit with 1', async () => {
  const result = await runCli(['verify', '--json', '--set', 'no.such=1', '--set', 'workers.count=0'])
  const { pass, checks } = lastJson<{ pass: boolean; checks: Finding[] }>(result)
  assert.deepEqual([result.code, pass], [1, false])
  const lines = checks.filter(({ what }) => what === 'configuration').map(({ detail }) => detail)
  assert.match(lines.join('\n'), /unknown key no\.such[\s\S]*workers\.count = "0"/)
})

test('verify should find too few open files', { skip: process.platform !== 'linux' && 'only Linux tells' }, () => {
  const main = fileURLToPath(new URL('../engine/main.js', import.meta.url))
  const script = 'ulimit -n 200; exec "$0" "$@" verify --offline'
  const { status, stdout } = spawnSync('sh', ['-c', script, process.execPath, main], {
    env: { PATH: process.env.PATH, MARKETPRISM_DATA_DIRECTORY: '/tmp/marketprism-nowhere', NO_COLOR: '1' },
    encoding: 'utf8',
  })
  assert.equal(status, 1)
  assert.match(stdout, /^✗ open files +up to 200: .*\n +→ allow 1024 or more/m)
})

test('verify should look after engines of our own: before the first start, beside a running one, and after it', async (t) => {
  const venue = await rigVenue(t, { markets: ['usdm'], instruments: 1, rate: 100 })
  const data = join(temporaryDirectory(t), 'data')
  const here = [
    `data.directory=${data}`,
    `cache.directory=${CACHE}`,
    'serve.port=0',
    ...venue.flags.filter((flag) => flag !== '--set'),
  ]
  const look = (...more: string[]) => verifyWith([...here, ...more], false)
  const holder = await listen(
    t,
    createTcpServer((socket) => socket.destroy()),
  )
  const before = await look(`observe.port=${holder}`)
  assertWrong(before, 'port of the pages', /in use by another program/, /observe\.port/)
  assert.match(before['data directory']?.detail ?? '', /made at the first start/)
  assert.equal(before['venue binance.usdm']?.verdict, 'good')
  assert.equal(before['clock against venues']?.verdict, 'good')

  const engine = await rigEngine(t, data, venue.flags)
  const pages = new URL((await engine.page('livez')).url).port
  const beside = await look(`observe.port=${pages}`)
  assert.deepEqual(wrong(beside), [])
  assert.match(beside['port of the pages']?.detail ?? '', /is ours/)
  assert.equal(beside.ClickHouse?.detail.startsWith(engine.clickHouseUrl), true)
  if (beside.NATS?.verdict === 'good')
    for (const what of ['JetStream', `stream ${BLOCK_STREAM}`, 'stream DLQ', 'consumer store', 'list of roles'])
      assert.equal(beside[what]?.verdict, 'good', what)
  for (const what of ['ClickHouse rights', 'ClickHouse schema', 'ClickHouse deduplication', 'ClickHouse disk'])
    assert.equal(beside[what]?.verdict, 'good', what)
  const tables = await engine.sql<{ name: string }>("SELECT name FROM system.tables WHERE database = 'marketprism'")
  const probes = tables.filter(({ name }) => name.startsWith('dedupe'))
  assert.deepEqual(probes, [], 'the probe is gone')
  engine.kill('SIGTERM')
  await engine.ended
  const afterwards = await look('observe.port=0')
  assert.deepEqual(wrong(afterwards), [])
  assert.match(afterwards.ClickHouse?.detail ?? '', /started for these checks/)
})

test('verify of servers', async (t) => {
  const { url } = await startClickHouse(t)
  const keys = [`data.directory=${temporaryDirectory(t)}`, `clickhouse.url=${url}`, 'serve.port=0', 'observe.port=0']
  const nats = await startEmbeddedNats({
    storeDirectory: temporaryDirectory(t),
    cacheDirectory: CACHE,
    port: 0,
    mayFetch: true,
    log: SILENT,
  })
  let manager: JetStreamManager | undefined
  let connection: NatsConnection | undefined
  if ('reason' in nats) {
    assert.equal(process.env.CI, undefined, nats.reason)
    keys.push('delivery=direct')
  } else {
    cleanUp(t, () => nats.stop())
    keys.push(`nats.url=${nats.url}`, 'nats.maxBytes=64MiB', 'nats.deadLetterBytes=16MiB')
    connection = await connectNats({ ...NATS_DEFAULT, url: nats.url }, 'test')
    cleanUp(t, () => connection?.close())
    manager = await connection.jetstreamManager()
    const { config } = runWith(keys)
    await provisionStreams(manager, streamOptions(config), ...consumerShapes(config))
  }
  const storage = storageOptions(runWith(keys).config)
  const client = createClickHouseClient({ ...CLICKHOUSE_DEFAULT, url, database: 'default' })
  cleanUp(t, () => client.close())
  const command = (query: string) => client.command({ query })
  await provisionTables(client, { storage, mayChange: true })

  await t.test('verify should find all well, and exit with 0', async () => {
    assert.deepEqual(wrong(await verifyWith(keys)), [])
    const result = await runCli(['verify', '--offline', ...keys.flatMap((key) => ['--set', key])], { NO_COLOR: '1' })
    assert.deepEqual([result.code, result.stderr], [0, ''])
    assert.match(result.stdout, /^✓ ClickHouse schema +as the schema wants it$/m)
    assert.match(result.stdout, /^– venues +not asked \(--offline\)/m)
    assert.match(result.stdout, /all is well\n$/)
  })

  await t.test('verify should find servers that do not answer', async () => {
    const noStore = await verifyWith([...keys, 'clickhouse.url=http://127.0.0.1:1'])
    assertWrong(noStore, 'ClickHouse', /127\.0\.0\.1:1\/? cannot be reached \(ECONNREFUSED\)/, /start it/)
    const noNats = await verifyWith([...keys, 'delivery=auto', 'nats.url=nats://127.0.0.1:1'])
    assertWrong(noNats, 'NATS', /127\.0\.0\.1:1 cannot be reached/, /start it, or correct nats\.url/)
  })

  await t.test('verify should find a wrong schema: what a start mends, and what a person must', async () => {
    await command('ALTER TABLE marketprism.trades DROP COLUMN notional')
    await command('DROP TABLE marketprism.tickers')
    const mendable = await verifyWith(keys)
    assertWrong(
      mendable,
      'ClickHouse schema',
      /marketprism\.tickers is missing.*has no alias notional/,
      /start the engine/,
    )
    await command('CREATE TABLE marketprism.tickers (a Int8) ENGINE = MergeTree ORDER BY a')
    assertWrong(await verifyWith(keys), 'ClickHouse schema', /tickers has the engine MergeTree/, /rename the table/)
    await command('DROP TABLE marketprism.tickers')
    await provisionTables(client, { storage, mayChange: true })
    assert.deepEqual(wrong(await verifyWith(keys)), [])
  })

  await t.test('verify should find rights that a user lacks, and a server that stores twice', async (t) => {
    const forbid = await tampered(t, url, (sql) => (sql.startsWith('CHECK GRANT INSERT') ? '0' : sql))
    assertWrong(
      await verifyWith([...keys, `clickhouse.url=${forbid}`]),
      'ClickHouse rights',
      /lacks INSERT on/,
      /^GRANT INSERT ON/,
    )
    const noDisks = await tampered(t, url, (sql) => (sql.includes('system.disks') ? 'denied' : sql))
    const unseen = await verifyWith([...keys, `clickhouse.url=${noDisks}`])
    assert.deepEqual(wrong(unseen), [])
    assert.equal(unseen['ClickHouse disk']?.verdict, 'skipped')
    const forget = await tampered(t, url, (sql) => sql.replace('deduplication_window = 10', 'deduplication_window = 0'))
    const twice = await verifyWith([...keys, `clickhouse.url=${forget}`])
    assertWrong(twice, 'ClickHouse deduplication', /sent twice twice/, /non_replicated_deduplication_window/)
  })

  await t.test('verify should ask for every right that provisioning needs, and name all that lack', async (t) => {
    const heard: string[] = []
    const listener = await tampered(t, url, (sql, inUrl) => {
      heard.push(inUrl === '' ? sql : inUrl)
      return sql
    })
    const other = createClickHouseClient({ ...CLICKHOUSE_DEFAULT, url: listener, database: 'default' })
    cleanUp(t, () => other.close())
    const elsewhere = { ...storage, database: 'rights' }
    await provisionTables(other, { storage: elsewhere, mayChange: true })
    await command('ALTER TABLE rights.trades DROP COLUMN notional')
    await command('CREATE OR REPLACE VIEW rights.trades_in_base AS SELECT 1 AS old')
    const { created, changed } = await provisionTables(other, { storage: elsewhere, mayChange: true })
    assert.deepEqual([created.length, changed.length], [0, 2])
    assert.equal(await provesDeduplication(other, 'rights'), true)
    const needed = new Set(heard.flatMap(rightsNeededBy))

    const lacking = await tampered(t, url, (sql) => (sql.startsWith('CHECK GRANT ') ? '0' : sql))
    const { 'ClickHouse rights': finding } = await verifyWith([
      ...keys,
      `clickhouse.url=${lacking}`,
      'clickhouse.database=rights',
    ])
    const named = (finding?.remedy ?? '').split('; ').flatMap((grant) => {
      const [, names = '', on = ''] = /^GRANT (.*) ON (.*) TO default$/.exec(grant) ?? []
      return names.split(', ').map((name) => `${name} ON ${on}`)
    })
    assert.deepEqual(
      named.filter((right) => right !== 'SELECT ON system.parts').sort(), // for the candles of a gateway
      [...needed].sort(),
    )
    await command('DROP DATABASE rights')
  })

  await t.test('verify should find a user whose profile lets him write nothing, whatever is granted', async () => {
    const found = await verifyWith([...keys, `clickhouse.url=${url}/?clickhouse_setting_readonly=1`])
    assert.match(found['ClickHouse rights']?.detail ?? '', /readonly = 1: it may not write/)
    assert.match(found['ClickHouse rights']?.remedy ?? '', /^set readonly = 0/)
  })

  await t.test('verify should find a stream or consumer that is not as the schema wants it', async (t) => {
    if (manager === undefined) return t.skip('no nats-server here')
    const { config } = await manager.streams.info(DEAD_LETTER_STREAM)
    await manager.streams.update(DEAD_LETTER_STREAM, { ...config, discard: 'old' } as StreamConfig)
    assertWrong(await verifyWith(keys), 'stream DLQ', /discard old, wanted is new/, /start the engine/)
    await manager.streams.delete(DEAD_LETTER_STREAM)
    assertWrong(await verifyWith(keys), 'stream DLQ', /is missing/, /start the engine again/)
    await manager.streams.add(config)
    const consumer = await manager.consumers.info(BLOCK_STREAM, 'store')
    await manager.consumers.update(BLOCK_STREAM, 'store', { ...consumer.config, max_deliver: 3 })
    assertWrong(await verifyWith(keys), 'consumer store', /max_deliver 3, wanted is -1/, /start the store/)
    await manager.consumers.update(BLOCK_STREAM, 'store', consumer.config)
    assert.deepEqual(wrong(await verifyWith(keys)), [])
  })

  await t.test(
    'verify should find a gateway that is listed and does not answer, and a list that forgets nobody',
    async (t) => {
      if (connection === undefined) return t.skip('no nats-server here')
      const { views } = connection.jetstream()
      assert.equal((await verifyWith(keys))['list of roles']?.verdict, 'skipped')
      const kv = await views.kv(ROLES_BUCKET, { ttl: REGISTRY_DEFAULT.ttlMs, history: 1 })
      const put = (name: string, port: number) => {
        const entry = {
          name,
          roles: ['serve'],
          host: 'h',
          pid: port,
          version: '1',
          startedMs: 1,
          gateway: `http://127.0.0.1:${port}`,
        }
        return kv.put(`serve.${name}`, JSON.stringify(entry))
      }
      await Promise.all([put('well', await answering(t, () => ({ processes: [] }))), put('ill', 1)])
      const found = await verifyWith(keys)
      assertWrong(found, 'gateway ill', /127\.0\.0\.1:1 does not answer/, /log/)
      assert.equal(found['gateway well']?.verdict, 'good')
      assert.match(found['list of roles']?.detail ?? '', /ill: serve .*; well: serve/)
      await kv.destroy()
      const forEver = await views.kv(ROLES_BUCKET, { history: 1 })
      assertWrong(await verifyWith(keys), 'list of roles', /keeps entries for ever/, /delete the bucket/)
      await forEver.destroy()
    },
  )

  await t.test('verify should find a NATS server without JetStream, or with too small messages', async (t) => {
    if (manager === undefined) return t.skip('no nats-server here')
    const found = await findNatsServer({ cacheDirectory: CACHE, mayFetch: false, log: SILENT })
    assert.ok(!('reason' in found))
    const port = await new Promise<number>((resolve) => {
      const probe = createTcpServer().listen(0, '127.0.0.1', () => {
        const { port: free } = probe.address() as AddressInfo
        probe.close(() => resolve(free))
      })
    })
    const conf = join(temporaryDirectory(t), 'nats.conf')
    writeFileSync(conf, `host: 127.0.0.1\nport: ${port}\nmax_payload: 65536\n`)
    const child = spawn(found.command, ['-c', conf], { stdio: 'ignore' })
    cleanUp(t, () => child.kill('SIGKILL'))
    const options = { ...NATS_DEFAULT, url: `nats://127.0.0.1:${port}` }
    const answers = () =>
      connectNats(options, 'test').then(
        (link) => link.close().then(() => true),
        () => false,
      )
    await until(answers, 5_000, 'nats-server answers')
    const poor = await verifyWith([...keys, `nats.url=${options.url}`])
    assert.deepEqual(wrong(poor), ['NATS messages', 'JetStream'])
    assert.match(poor['NATS messages']?.remedy ?? '', /max_payload/)
    assert.match(poor.JetStream?.remedy ?? '', /-js/)
  })

  await t.test('verify should find directories that cannot be, and a disk without room', async (t) => {
    const file = join(temporaryDirectory(t), 'file')
    writeFileSync(file, '')
    const noData = await verifyWith([
      ...keys,
      `data.directory=${join(file, 'data')}`,
      `spool.directory=${temporaryDirectory(t)}`,
    ])
    assertWrong(noData, 'data directory', /file is a file/, /set data\.directory/)
    const { bavail, bsize } = statfsSync('/tmp')
    if (bavail * bsize > 1024 ** 4) return t.skip('this disk is too large to be called full')
    const full = await verifyWith([...keys, 'spool.freeBytesMin=1TiB'])
    assert.deepEqual(wrong(full), ['free disk', 'ClickHouse disk'])
  })

  await t.test('verify should tell ports of our own from those of others', async (t) => {
    const silent = await listen(
      t,
      createTcpServer((socket) => socket.destroy()),
    )
    const others = await answering(t, () => ({ hello: 'world' }))
    const ours = await answering(t, () => ({ processes: [] }))
    const pages = await answering(t, () => ({ service: 'marketprism-collect' }))
    for (const port of [silent, others])
      assertWrong(
        await verifyWith([...keys, `serve.port=${port}`]),
        'port of the gateway',
        /another program/,
        /serve\.port/,
      )
    const found = await verifyWith([...keys, `serve.port=${ours}`, `observe.port=${pages}`])
    assert.deepEqual(wrong(found), [])
    assert.match(found['port of the gateway']?.detail ?? '', /is ours/)
    assertWrong(
      await verifyWith([...keys, 'serve.port=9480', 'serve.host=192.0.2.1', 'observe.port=0']),
      'port of the gateway',
      /cannot be opened \(EADDRNOTAVAIL\)/,
      /what this machine has/,
    )
  })

  await t.test('verify should tell a gateway that refuses the host name from one that answers', async (t) => {
    const hidden = { host: '0.0.0.0', security: { exposed: true, hosts: ['prism.example'] } }
    const { gateway } = await served(t, hidden)
    const everywhere = ['serve.host=0.0.0.0', 'serve.exposed=true', 'serve.hosts=prism.example']
    const well = await verifyWith([...keys, ...everywhere, `serve.port=${gateway.port}`])
    assert.deepEqual(wrong(well), [])
    assert.match(well['port of the gateway']?.detail ?? '', /is ours: it answers \/v1\/status with 200/)
    // what it says to other names, from an address that is there on every machine
    const refusal = await new Promise<string>((resolve) => {
      const headers = { host: '10.0.0.5', connection: 'close' }
      request({ host: '127.0.0.1', port: gateway.port, path: '/v1/status', headers }, (answer) => {
        let text = ''
        answer.on('data', (piece) => (text += piece))
        answer.on('end', () => resolve(text))
      }).end()
    })
    const refusing = await answering(t, () => JSON.parse(refusal), 421)
    assertWrong(
      await verifyWith([...keys, `serve.port=${refusing}`]),
      'port of the gateway',
      /is ours, but refuses to be called 127\.0\.0\.1 \(421\)/,
      /^add 127\.0\.0\.1 to serve\.hosts$/,
    )
    if (connection === undefined) return
    const kv = await connection.jetstream().views.kv(ROLES_BUCKET, { ttl: REGISTRY_DEFAULT.ttlMs, history: 1 })
    const entry = { name: 'shy', roles: ['serve'], host: 'h', pid: 1, version: '1', startedMs: 1 }
    await kv.put('serve.shy', JSON.stringify({ ...entry, gateway: `http://127.0.0.1:${refusing}` }))
    const listed = await verifyWith(keys)
    assertWrong(listed, 'gateway shy', /is there and is listed so, but refuses this host name/, /its serve\.hosts$/)
    await kv.destroy()
  })

  await t.test('verify should find venues that do not answer, a ban, and a clock that is wrong', async (t) => {
    const off = (market: string) => `exchanges.binance.${market}.enabled=false`
    const only = [...keys, off('spot'), off('coinm')]
    const down = await verifyWith([...only, 'exchanges.binance.usdm.restUrl=http://127.0.0.1:1'], false)
    assertWrong(down, 'venue binance.usdm', /ECONNREFUSED/, /network, the proxy/)
    const proxied = await verifyWith([...only, 'exchanges.binance.usdm.proxy=socks5://me:secret@127.0.0.1:1'], false)
    assertWrong(proxied, 'venue binance.usdm', /through socks5:\/\/…@127\.0\.0\.1:1/, /proxy/)
    assert.ok(!JSON.stringify(proxied).includes('secret'))
    const late = await answering(t, () => ({ serverTime: Date.now() + 60_000 }))
    const ahead = await verifyWith([...only, `exchanges.binance.usdm.restUrl=http://127.0.0.1:${late}`], false)
    assertWrong(ahead, 'clock against venues', /(59|60)\d{3}\.\d ms ahead of ours/, /chrony/)

    const data = temporaryDirectory(t)
    mkdirSync(data, { recursive: true })
    const nowMs = Date.now()
    const measured = { exchange: 'binance', measuredMs: nowMs - 1000, offsetMs: -5000, errorMs: 4 }
    writeFileSync(join(data, 'clock-offsets.ndjson'), `${JSON.stringify(measured)}\n`)
    const here = [...only, `data.directory=${data}`]
    assertWrong(await verifyWith(here), 'clock against venues', /-5000\.0 ms/, /chrony/)
    writeFileSync(join(data, 'clock-offsets.ndjson'), '')
    const ban = { binance: { writtenMs: nowMs, untilMs: nowMs + 60_000 } }
    writeFileSync(join(data, 'rest-bans.json'), JSON.stringify(ban))
    assertWrong(await verifyWith(here, false), 'venue binance.usdm', /refuses this address until/, /wait/)
  })
})
