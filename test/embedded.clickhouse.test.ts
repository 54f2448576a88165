import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { spawn, spawnSync } from 'node:child_process'
import test from 'node:test'
import { fileURLToPath } from 'node:url'
import { ClickHouseError, type ClickHouseClient } from '@clickhouse/client'
import { Fault } from '../engine/base/fault.ts'
import { seededRandom } from '../engine/base/random.ts'
import { ask, clientOf, groupOf, insertBytes, startClickHouse, temporaryDirectory, until } from './support/embedded.ts'

async function caught(run: () => Promise<unknown>): Promise<ClickHouseError> {
  const error = await run().then(
    () => null,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof ClickHouseError, `expected a ClickHouseError, got ${String(error)}`)
  return error
}

function post(
  url: string,
  search: Record<string, string>,
  body: Uint8Array | string,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${url}/?${new URLSearchParams(search)}`, { method: 'POST', body: body as Buffer, headers })
}

/** One RowBinary row: a string of up to 127 bytes. */
function rowBinary(bytes: Uint8Array): Buffer {
  assert.ok(bytes.length < 128)
  return Buffer.concat([Buffer.from([bytes.length]), bytes])
}

test('embedded ClickHouse', async (t) => {
  const server = await startClickHouse(t)
  const client = clientOf(t, server.url)
  await client.command({ query: 'CREATE TABLE victim (a String) ENGINE = MergeTree ORDER BY a' })
  await client.command({ query: 'CREATE TABLE bytes (n UInt64, a String) ENGINE = MergeTree ORDER BY n' })
  const victimLives = async () => assert.equal(await ask(client, 'EXISTS TABLE victim'), '1')

  await t.test('embedded ClickHouse should tell version and parameters as a server does', async () => {
    assert.equal(await ask(client, 'SELECT version()'), server.version)
    const values = { s: "it's\t\\ \n\n; ü", n: 18446744073709551615n, list: [1, 2] }
    const answer = await client.query({
      query: 'SELECT {s:String} AS s, toString({n:UInt64}) AS n, {list:Array(UInt8)} AS list',
      query_params: values,
      format: 'JSONEachRow',
    })
    assert.deepEqual(await answer.json(), [{ s: values.s, n: '18446744073709551615', list: [1, 2] }])
  })

  await t.test('embedded ClickHouse should keep parameters of concurrent queries apart', async () => {
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, n) => ask(client, 'SELECT {n:UInt32} + sleepEachRow(0.002)', { n })),
    )
    assert.deepEqual(
      answers,
      Array.from({ length: 30 }, (_, n) => String(n)),
    )
  })

  await t.test('embedded ClickHouse should store bytes of any kind, empty lines among them', async () => {
    const seed = 20260101
    const random = seededRandom(seed)
    const rows = Array.from({ length: 400 }, (_, n) =>
      Buffer.from(
        Array.from({ length: n % 100 }, () => [10, 10, 13, 0, 255, 39, 59][Math.floor(random() * 7)] as number),
      ),
    )
    rows.push(Buffer.from('\n\nDROP TABLE victim;\n\n'))
    await insertBytes(client, 'INSERT INTO bytes (a) FORMAT RowBinary', Buffer.concat(rows.map(rowBinary)))
    const stored = (await ask(client, 'SELECT hex(a) FROM bytes')).split('\n')
    assert.deepEqual(stored.sort(), rows.map((row) => row.toString('hex').toUpperCase()).sort(), `seed ${seed}`)
    await victimLives()
  })

  await t.test('embedded ClickHouse should never run rows as SQL', async () => {
    const drop = '\n\nDROP TABLE victim\n\n;DROP TABLE victim;\n'
    await insertBytes(client, 'INSERT INTO bytes (a) FORMAT TSV', Buffer.from(`x${drop}`))
    await client.insert({ table: 'bytes', values: [{ a: drop }], format: 'JSONEachRow' })
    const bodies: [Record<string, string>, string][] = [
      [{}, `INSERT INTO bytes (a) FORMAT TSV\nx${drop}`],
      [{}, `INSERT INTO bytes (a) VALUES ('x')${drop}`],
      [{ query: 'INSERT INTO bytes (a) VALUES' }, `('x')${drop}`],
      [{ query: 'INSERT INTO bytes (a)' }, `FORMAT JSONEachRow\n{"a":"x"}${drop}`],
      [{}, `INSERT INTO bytes SELECT 1, 'x' FORMAT TSV${drop}`],
      [{}, `INSERT INTO bytes (a) SELECT a FROM input('a String') FORMAT TSV\nx${drop}`],
    ]
    for (const [search, body] of bodies) {
      await (await post(server.url, search, body)).text()
      await victimLives()
    }
  })

  await t.test('embedded ClickHouse should take and give compressed bodies', async () => {
    const zlib = await import('node:zlib')
    for (const [encoding, pack] of [
      ['gzip', zlib.gzipSync],
      ['deflate', zlib.deflateSync],
      ['br', zlib.brotliCompressSync],
    ] as const) {
      const answer = await post(
        server.url,
        { query: 'INSERT INTO bytes (n, a) FORMAT TSV' },
        pack(Buffer.from(`7000\t${encoding}\n`)),
        { 'content-encoding': encoding },
      )
      assert.equal(answer.status, 200, await answer.text())
    }
    const answer = await fetch(
      `${server.url}/?${new URLSearchParams({ query: 'SELECT a FROM bytes WHERE n = 7000 ORDER BY a', enable_http_compression: '1' })}`,
    )
    assert.equal(answer.headers.get('content-encoding'), 'gzip')
    assert.equal(await answer.text(), 'br\ndeflate\ngzip\n')
  })

  await t.test('embedded ClickHouse should forget a body that breaks off', async () => {
    await new Promise<void>((resolve) => {
      const request = http.request(
        `${server.url}/?${new URLSearchParams({ query: 'INSERT INTO bytes (n, a) FORMAT TSV' })}`,
        { method: 'POST', headers: { 'transfer-encoding': 'chunked' } },
      )
      request.on('error', () => resolve())
      request.write('8000\tx\n', () => setTimeout(() => request.destroy(new Error('cut')), 50))
    })
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.equal(await ask(client, 'SELECT count() FROM bytes WHERE n = 8000'), '0')
  })

  await t.test('embedded ClickHouse should not leak settings into the next request', async () => {
    const threads = "SELECT value, changed FROM system.settings WHERE name = 'max_threads'"
    const answer = await client.query({
      query: threads,
      clickhouse_settings: { max_threads: 1 },
      format: 'TabSeparated',
    })
    assert.equal((await answer.text()).trim(), '1\t1')
    await client.command({ query: 'SET max_threads = 1' })
    for (let time = 0; time < 8; time++) assert.match(await ask(client, threads), /\t0$/)
  })

  await t.test('embedded ClickHouse should report errors with the code and word of the engine', async () => {
    const cases: [string, string, () => Promise<unknown>][] = [
      ['60', 'UNKNOWN_TABLE', () => ask(client, 'SELECT * FROM nowhere')],
      ['62', 'SYNTAX_ERROR', () => client.command({ query: 'SELEC 1' })],
      ['62', 'SYNTAX_ERROR', () => client.command({ query: 'SELECT 1; DROP TABLE victim' })],
      [
        '27',
        'CANNOT_PARSE_INPUT_ASSERTION_FAILED',
        () => client.insert({ table: 'bytes', values: ['{"n": "nonsense"}'], format: 'JSONEachRow' }),
      ],
      [
        '115',
        'UNKNOWN_SETTING',
        () =>
          client.query({ query: 'SELECT 1', clickhouse_settings: { no_such_setting: '1' } as Record<string, string> }),
      ],
      [
        '159',
        'TIMEOUT_EXCEEDED',
        () =>
          client.command({
            query: 'SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1',
            clickhouse_settings: { max_execution_time: 1 },
          }),
      ],
    ]
    for (const [code, type, run] of cases) {
      const error = await caught(run)
      if (type.startsWith('CANNOT_PARSE')) assert.match(error.type ?? '', /^(CANNOT_PARSE|INCORRECT_DATA)/)
      else assert.deepEqual([error.code, error.type], [code, type], error.message)
    }
    assert.equal((await post(server.url, {}, 'SELECT * FROM nowhere')).status, 404)
    await victimLives()
  })

  await t.test('embedded ClickHouse should stream large answers whole', async () => {
    const answer = await client.query({ query: 'SELECT number FROM numbers(300000)', format: 'JSONEachRow' })
    let rows = 0
    for await (const chunk of answer.stream()) rows += chunk.length
    assert.equal(rows, 300_000)
  })

  await t.test('embedded ClickHouse should serve inserts while slow queries fill the read connections', async () => {
    let slowEnded = 0
    const slow = Array.from({ length: 6 }, async () => {
      await ask(client, 'SELECT sleepEachRow(0.5) FROM numbers(6) SETTINGS max_block_size = 1') // 3 s
      slowEnded++
    })
    await insertBytes(client, 'INSERT INTO bytes (n, a) FORMAT TSV', Buffer.from('9000\tx\n'))
    assert.equal(slowEnded, 0, 'the insert waited for a query')
    await Promise.all(slow)
  })

  await t.test('embedded ClickHouse should end a query that nobody waits for, and begin none', async () => {
    const running = async (mark: string): Promise<number> =>
      Number(
        await ask(
          client,
          `SELECT count() FROM system.processes WHERE NOT is_cancelled AND query LIKE '%AS ${mark}%' AND query NOT LIKE '%processes%'`,
        ),
      )
    const query = (mark: string, one: string, aborted: AbortController) =>
      client
        .query({
          query: `SELECT count() AS ${mark} FROM numbers(100000000000) WHERE sipHash64(number) = ${one}`,
          query_params: one === '1' ? {} : { one: 1 },
          format: 'JSONEachRow',
          abort_signal: aborted.signal,
        })
        .catch(() => null)
    for (const [mark, one] of [
      ['abandoned', '1'],
      ['forsaken', '{one:UInt64}'], // of these the engine writes the text anew
    ] as const) {
      const clients = [0, 1, 2].map(() => new AbortController()) // of four that may run; one has to answer us
      const queries = clients.map((each) => query(mark, one, each))
      await until(async () => (await running(mark)) === clients.length, 5000, `${mark} queries run`)
      for (const each of clients) each.abort()
      await Promise.all(queries)
      await until(async () => (await running(mark)) === 0, 5000, `${mark} queries are gone`)
    }
    const holding = [0, 1, 2, 3].map(() => new AbortController())
    const waiting = new AbortController()
    const held = holding.map((each) => query('holding', '{one:UInt64}', each))
    const late = query('waiting', '{one:UInt64}', waiting)
    await new Promise((resolve) => setTimeout(resolve, 200)) // all five have come
    waiting.abort()
    await late
    for (const each of holding) each.abort()
    await Promise.all(held)
    assert.equal(await ask(client, 'SELECT {two:UInt8}', { two: 2 }), '2')
    assert.equal(await running('waiting'), 0)
  })

  await t.test('embedded ClickHouse should refuse pages in a browser', async () => {
    const status = (headers: Record<string, string>) =>
      new Promise<number>((resolve, reject) => {
        http
          .get(`${server.url}/?query=SELECT+1`, { headers }, (answer) => resolve(answer.resume().statusCode ?? 0))
          .on('error', reject)
      })
    assert.equal(await status({ origin: 'https://page.example' }), 403)
    assert.equal(await status({ host: 'rebound.example:8123' }), 403)
    assert.equal(await status({}), 200)
  })

  await t.test('embedded ClickHouse should not be reached by Ctrl-C in our terminal', () => {
    assert.equal(groupOf(server.pid), server.pid)
  })

  await t.test('embedded ClickHouse should leave no rows of inserts behind in its files', async () => {
    assert.deepEqual(readdirSync(path.join(serverDirectory(server.pid), 'incoming')), [])
  })
})

function serverDirectory(pid: number): string {
  const settings = spawnSync('ps', ['-o', 'args=', '-ww', '-p', String(pid)]).stdout.toString()
  return (JSON.parse(settings.slice(settings.indexOf('{'))) as { dataDirectory: string }).dataDirectory
}

test('embedded ClickHouse should refuse a second owner of a data directory in one line', async (t) => {
  const dataDirectory = temporaryDirectory(t)
  await startClickHouse(t, { dataDirectory })
  await assert.rejects(startClickHouse(t, { dataDirectory }), (error: unknown) => {
    assert.ok(error instanceof Fault)
    assert.equal(error.code, 'CLICKHOUSE_DIRECTORY_IN_USE')
    assert.ok(error.message.includes(dataDirectory) && !error.message.includes('\n'), error.message)
    return true
  })
})

test('embedded ClickHouse should say which port is taken, and which directory cannot be used', async (t) => {
  const server = await startClickHouse(t)
  const port = Number(new URL(server.url).port)
  await assert.rejects(
    startClickHouse(t, { port }),
    (error: unknown) => error instanceof Fault && error.code === 'PORT_IN_USE' && error.message.includes(String(port)),
  )
  const file = path.join(temporaryDirectory(t), 'file')
  writeFileSync(file, '')
  await assert.rejects(
    startClickHouse(t, { dataDirectory: file }),
    (error: unknown) =>
      error instanceof Fault && error.code === 'CLICKHOUSE_DIRECTORY_UNUSABLE' && error.message.includes(file),
  )
})

test('embedded ClickHouse should say how to get chdb when it is not installed', (t) => {
  const elsewhere = temporaryDirectory(t) // no node_modules above it
  cpSync(fileURLToPath(new URL('../engine', import.meta.url)), path.join(elsewhere, 'engine'), { recursive: true })
  writeFileSync(path.join(elsewhere, 'package.json'), '{"type":"module"}')
  const settings = {
    dataDirectory: path.join(elsewhere, 'data'),
    port: 0,
    memoryBytesMax: 1e9,
    markCacheBytes: 1e6,
    mergeThreads: 2,
    drainMsMax: 1000,
    textBytesMax: 1e6,
  }
  const entry = `clickhouse-server${path.extname(import.meta.url)}`
  const ended = spawnSync(
    process.execPath,
    [path.join(elsewhere, 'engine', 'embedded', entry), JSON.stringify(settings)],
    { encoding: 'utf8' },
  )
  assert.equal(ended.status, 70)
  assert.match(ended.stderr, /^the embedded ClickHouse needs the optional package chdb.*npm install.*\n$/)
})

/** Writers that insert batches of `rows` rows under a token each until told to stop, repeating what fails. */
function writers(
  client: ClickHouseClient,
  count: number,
  rows: number,
): { acknowledged: () => number; stop: () => Promise<number> } {
  let next = 0
  let done = 0
  let isStopping = false
  const write = async () => {
    while (!isStopping) {
      const batch = next++
      const text = Array.from({ length: rows }, (_, row) => `${batch * rows + row}\n`).join('')
      for (let isStored = false; !isStored; ) {
        isStored = await insertBytes(client, 'INSERT INTO counted (n) FORMAT TSV', Buffer.from(text), {
          insert_deduplication_token: `batch ${batch}`,
        }).then(
          () => true,
          () => false,
        )
        if (!isStored) await new Promise((resolve) => setTimeout(resolve, 50))
      }
      done++
    }
  }
  const all = Array.from({ length: count }, write)
  return {
    acknowledged: () => done,
    stop: async () => {
      isStopping = true
      await Promise.all(all)
      return done
    },
  }
}

const COUNTED =
  'CREATE TABLE counted (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 10000'

test('embedded ClickHouse should come back on its port after kill -9 with every acknowledged row, once', async (t) => {
  const server = await startClickHouse(t)
  const client = clientOf(t, server.url)
  await client.command({ query: COUNTED })
  const load = writers(client, 3, 2000)
  const exits: number[] = []
  server.onExit((exit) => exits.push(exit.pid))
  for (let kill = 0; kill < 3; kill++) {
    const before = load.acknowledged()
    await until(() => load.acknowledged() > before + 5, 20_000, 'inserts go on')
    process.kill(server.pid, 'SIGKILL')
    await until(() => exits.length === kill + 1, 5000, 'the end is noticed')
  }
  const batches = await load.stop()
  assert.equal(server.restarts, 3)
  assert.equal(
    await ask(client, 'SELECT count(), uniqExact(n), max(n) FROM counted'),
    [batches * 2000, batches * 2000, batches * 2000 - 1].join('\t'),
  )
})

test('embedded ClickHouse should stop in time under load and keep what it acknowledged', async (t) => {
  const dataDirectory = temporaryDirectory(t)
  const first = await startClickHouse(t, { dataDirectory, drainMsMax: 3000 })
  const client = clientOf(t, first.url)
  await client.command({ query: COUNTED })
  const load = writers(client, 3, 2000)
  void ask(client, 'SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1').catch(() => null) // longer than the deadline
  await until(() => load.acknowledged() > 20, 20_000, 'inserts go on')
  const before = performance.now()
  await first.stop()
  const tookMs = performance.now() - before
  assert.ok(tookMs < 5000, `took ${tookMs} ms`)
  const acknowledged = load.acknowledged()
  await startClickHouse(t, { dataDirectory, port: Number(new URL(first.url).port) })
  const batches = await load.stop()
  assert.ok(batches >= acknowledged)
  assert.equal(await ask(client, 'SELECT count(), uniqExact(n) FROM counted'), `${batches * 2000}\t${batches * 2000}`)
})

test('embedded ClickHouse should end with its parent and clear what a killed one left', async (t) => {
  const directory = temporaryDirectory(t)
  const dataDirectory = path.join(directory, 'data')
  mkdirSync(path.join(dataDirectory, 'incoming'), { recursive: true })
  writeFileSync(path.join(dataDirectory, 'incoming', 'left-behind'), 'rows')
  const script = `
    import { startEmbeddedClickHouse } from ${JSON.stringify(new URL(`../engine/embedded/clickhouse${path.extname(import.meta.url)}`, import.meta.url).href)}
    import pino from ${JSON.stringify(import.meta.resolve('pino'))}
    const server = await startEmbeddedClickHouse({ dataDirectory: ${JSON.stringify(dataDirectory)}, port: 0, log: pino({ level: 'silent' }) })
    process.stdout.write(JSON.stringify({ pid: server.pid }) + '\\n')
    setInterval(() => {}, 1000)`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const { pid } = JSON.parse(
    await new Promise<string>((resolve) => parent.stdout.once('data', (data) => resolve(String(data)))),
  ) as { pid: number }
  assert.ok(!existsSync(path.join(dataDirectory, 'incoming', 'left-behind')))
  parent.kill('SIGKILL')
  await until(
    async () =>
      await startClickHouse(t, { dataDirectory }).then(
        () => true,
        () => false,
      ),
    10_000,
    `the directory is free again (child ${pid})`,
  )
})
