import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { cleanUp } from './support/clean-up.ts'
import { type CliResult, startCli } from './support/cli.ts'
import { temporaryDirectory } from './support/embedded.ts'
import { hasNatsServer } from './support/nats.ts'
import { childrenOf, isAlive, rigEngine, rigVenue, type RigVenue } from './support/rig.ts'

/**
 * A start that cannot succeed says why in one line that names the thing, the value and the remedy, leaves with the right
 * code, soon, and leaves nothing behind.
 */

const START_MS_MAX = 8_000
const [USAGE, FAULT, CONFIG] = [2, 70, 78]

/** Runs until it ends by itself; no child of it may outlive it. */
async function refused(words: readonly string[], variables: Record<string, string> = {}): Promise<CliResult> {
  const cli = startCli(words, variables)
  const children = new Set<number>()
  const looking = setInterval(() => {
    for (const pid of childrenOf(cli.pid)) children.add(pid)
  }, 20)
  const late = setTimeout(() => cli.kill('SIGKILL'), START_MS_MAX)
  const result = await cli.ended
  clearInterval(looking)
  clearTimeout(late)
  assert.notEqual(result.code, null, `still there after ${START_MS_MAX} ms\n${result.stderr}`)
  assert.deepEqual([...children].filter(isAlive), [], 'child processes outlive it')
  return result
}

function assertOneLine({ code, stderr, stdout }: CliResult, exitCode: number, ...parts: (string | RegExp)[]): void {
  assert.equal(stderr.trimEnd().split('\n').length, 1, stderr)
  assert.match(stderr, /^marketprism: /)
  assert.doesNotMatch(stderr, /\n\s+at /)
  for (const part of parts)
    typeof part === 'string' ? assert.ok(stderr.includes(part), stderr) : assert.match(stderr, part)
  assert.deepEqual([code, stdout], [exitCode, ''], stderr)
}

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })

async function listening(t: TestContext, server: Server = createServer()): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUp(t, () => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** A port that was free a moment ago. */
async function closedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

function engineWords(t: TestContext, venue: RigVenue | undefined, ...more: string[]): string[] {
  return [
    'collect',
    'store',
    '--data',
    path.join(temporaryDirectory(t), 'data'),
    '--delivery',
    'direct',
    ...(venue?.flags ?? []),
    ...more,
  ]
}

test('start should refuse a value, a key and a variable that are not allowed', async (t) => {
  assertOneLine(
    await refused(engineWords(t, undefined, '--set', 'workers.count=lots')),
    CONFIG,
    'workers.count',
    '"lots"',
    'allowed is',
  )
  assertOneLine(
    await refused(engineWords(t, undefined, '--set', 'worker.count=1')),
    CONFIG,
    'worker.count',
    'marketprism config',
  )
  assertOneLine(
    await refused(engineWords(t, undefined), { MARKETPRISM_WORKERS: '2' }),
    CONFIG,
    'MARKETPRISM_WORKERS',
    'MARKETPRISM_WORKERS_COUNT',
  )
})

test('start should name a port of its pages that is in use', async (t) => {
  const port = await listening(t)
  const result = await refused(engineWords(t, undefined, '--port', String(port)))
  assertOneLine(result, CONFIG, `port ${port}`, 'MARKETPRISM_OBSERVE_PORT')
})

const SILENT_CLICKHOUSE = ['--set', 'clickhouse.requestTimeoutMs=1500']
const AWAY: readonly [string, string, readonly string[], boolean][] = [
  ['a ClickHouse that is not there', 'clickhouse.url', [], false],
  ['a ClickHouse that takes connections and never answers', 'clickhouse.url', SILENT_CLICKHOUSE, true],
  ['a NATS that is not there', 'nats.url', ['--delivery', 'jetstream'], false],
  ['a configured NATS that is not there, with delivery auto', 'nats.url', ['--delivery', 'auto'], false],
  ['a server in place of NATS that does not speak its protocol', 'nats.url', ['--delivery', 'jetstream'], true],
]
for (const [what, key, words, listens] of AWAY)
  test(`start should name ${what} in one line, and go on (here to a venue that is not there either)`, async (t) => {
    const venue = await rigVenue(t, { markets: ['spot'] })
    const port = listens
      ? await listening(
          t,
          createServer(() => {}),
        )
      : await closedPort()
    const url = `${key === 'nats.url' ? 'nats' : 'http'}://127.0.0.1:${port}`
    const noVenue = ['--set', `exchanges.binance.spot.restUrl=http://127.0.0.1:${await closedPort()}`]
    const result = await refused(engineWords(t, venue, ...words, '--set', `${key}=${url}`, ...noVenue))
    const [first = '', second = '', ...more] = result.stderr.trimEnd().split('\n')
    assert.deepEqual(more, [])
    const { level, msg } = JSON.parse(first) as { level: number; msg: string }
    assert.equal(level, 40)
    for (const part of [` at ${url}`, key, 'asked again until it is there', 'rows wait in the spool'])
      assert.ok(msg.includes(part), `${part}: ${msg}`)
    assert.match(second, /^marketprism: .*ECONNREFUSED/)
    assert.equal(result.code, FAULT)
  })

/** ClickHouse's own answer to a wrong password, header and text as its server sends them. */
function refusingClickHouse(): Server {
  return createServer((request, response) => {
    request.resume()
    const user = new URL(request.url ?? '/', 'http://x').searchParams.get('user') ?? 'default'
    response.writeHead(403, { 'X-ClickHouse-Exception-Code': '516', 'Content-Type': 'text/plain; charset=UTF-8' })
    response.end(
      `Code: 516. DB::Exception: ${user}: Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED) (version 24.8.1.2684)\n`,
    )
  })
}

test('start should name the user that ClickHouse refuses, and free the port of its pages', async (t) => {
  const url = `http://127.0.0.1:${await listening(t, refusingClickHouse())}`
  const pages = await closedPort()
  const words = engineWords(t, undefined, '--set', `clickhouse.url=${url}`, '--port', String(pages))
  const result = await refused(words, {
    MARKETPRISM_CLICKHOUSE_USER: 'mole',
    MARKETPRISM_CLICKHOUSE_PASSWORD: 'hunter2',
  })
  assertOneLine(result, FAULT, url, 'refuses user mole', 'clickhouse.user', 'clickhouse.password')
  assert.doesNotMatch(result.stderr, /hunter2/)
  assert.equal(await isOpen(pages), false)
})

test('start should name a file of NATS credentials that cannot be read', async (t) => {
  const result = await refused(
    engineWords(
      t,
      undefined,
      '--delivery',
      'jetstream',
      '--set',
      'nats.url=nats://127.0.0.1:4222',
      '--set',
      'nats.credsFile=/nowhere/x.creds',
    ),
  )
  assertOneLine(result, CONFIG, 'nats.credsFile', '/nowhere/x.creds', 'ENOENT')
})

test('start should say how to get a nats-server where delivery needs one and there is none', async (t) => {
  const empty = temporaryDirectory(t)
  const result = await refused(engineWords(t, undefined, '--delivery', 'jetstream'), {
    PATH: empty,
    MARKETPRISM_CACHE_DIRECTORY: empty,
  })
  assertOneLine(result, CONFIG, 'delivery = jetstream', 'nats-server')
})

test('start should name a venue whose REST does not answer', async (t) => {
  const venue = await rigVenue(t, { markets: ['spot'] })
  const port = await closedPort()
  const result = await refused(
    engineWords(t, venue, '--set', `exchanges.binance.spot.restUrl=http://127.0.0.1:${port}`),
  )
  assertOneLine(result, FAULT, `127.0.0.1:${port}`, 'ECONNREFUSED', 'REST')
})

test('start should name a symbol that the venue does not list, and a similar one', async (t) => {
  const venue = await rigVenue(t, { markets: ['spot'] })
  const result = await refused(engineWords(t, venue, '--set', 'exchanges.binance.spot.instruments=BTCUSTD'))
  assertOneLine(result, CONFIG, 'binance.spot', 'BTCUSTD', 'BTCUSDT')
})

test('start should refuse a plan that breaks a limit of the venue', async (t) => {
  const venue = await rigVenue(t, { markets: ['spot'] })
  const at = 'exchanges.binance.spot'
  const result = await refused(
    engineWords(t, venue, '--set', `${at}.snapshotLimit=5000`, '--set', `${at}.restWeightShare=0.01`),
  )
  assertOneLine(result, CONFIG, 'plan refused', '6000', 'restWeightShare')
})

test('start should name a directory that cannot be written: spool, ClickHouse, data', async (t) => {
  const venue = await rigVenue(t, { markets: ['spot'] })
  const file = path.join(temporaryDirectory(t), 'file')
  writeFileSync(file, '')
  assertOneLine(
    await refused(engineWords(t, venue, '--set', `spool.directory=${file}`)),
    FAULT,
    file,
    'spool.directory',
  )
  assertOneLine(
    await refused(engineWords(t, venue, '--data', path.join(file, 'x'))),
    FAULT,
    path.join(file, 'x'),
    'choose another',
  )
})

test('start should say that another process uses its data directory, and leave that one alone', async (t) => {
  const venue = await rigVenue(t, { markets: ['spot'] })
  const data = temporaryDirectory(t)
  const first = await rigEngine(t, data, ['--delivery', 'direct', ...venue.flags])
  const words = ['collect', 'store', '--data', data, '--delivery', 'direct', ...venue.flags]
  assertOneLine(await refused(words), FAULT, path.join(data, 'clickhouse'), /another|in use/)
  const elsewhere = path.join(temporaryDirectory(t), 'other')
  mkdirSync(elsewhere)
  const sharesSpool = ['--data', elsewhere, '--set', `spool.directory=${path.join(data, 'spool')}`]
  assertOneLine(await refused([...words, ...sharesSpool]), FAULT, path.join(data, 'spool'), /another|in use/)
  await first.booksLive(2, 5_000)
  first.kill('SIGTERM')
  assert.equal((await first.ended).code, 0)
})

test('start should say the same of a nats-server in use by another process', async (t) => {
  const reason = await hasNatsServer()
  if (reason !== '') return t.skip(reason)
  const venue = await rigVenue(t, { markets: ['spot'] })
  const data = temporaryDirectory(t)
  const first = await rigEngine(t, data, ['--delivery', 'jetstream', ...venue.flags])
  const result = await refused(['collect', 'store', '--data', data, '--delivery', 'jetstream', ...venue.flags])
  assertOneLine(result, FAULT, data, /another|in use/)
  first.kill('SIGTERM')
  assert.equal((await first.ended).code, 0)
})

test('demo and replay should name a recording that is not there', async (t) => {
  const data = path.join(temporaryDirectory(t), 'demo')
  for (const words of [
    ['demo', '--recording', '/nowhere/btc.gz', '--data', data],
    ['replay', '/nowhere/btc.gz', '--market', 'binance.usdm'],
    ['simulate', 'binance', '--recording', 'usdm:/nowhere/btc.gz'],
  ])
    assertOneLine(await refused(words), USAGE, '/nowhere/btc.gz')
})

test('simulate should name the flag that is wrong, the port in use, the directory that cannot be made', async (t) => {
  const port = await listening(t)
  const file = path.join(temporaryDirectory(t), 'file')
  writeFileSync(file, '')
  const cases: [string[], ...string[]][] = [
    [['--rate', 'fast'], '--rate', '"fast"'],
    [['--markets', 'spot,moon'], '"moon"', 'spot, usdm, coinm'],
    [['--instruments', '0'], '--instruments'],
    [['--faults', '[{"kind":"boom"}]'], '"boom"', 'gap, duplicate'],
    [['--faults', '/nowhere/script'], '/nowhere/script'],
    [['--port', String(port)], `port ${port}`, '--port'],
    [['--truth', path.join(file, 'x')], path.join(file, 'x'), '--truth'],
  ]
  for (const [flags, ...parts] of cases)
    assertOneLine(await refused(['simulate', 'binance', ...flags]), USAGE, ...parts)
})
