/** What comes in as a value stays a value (G6, G7, G12, G14): corpora against every parameter of every route, by seed. */
import assert from 'node:assert/strict'
import { type AddressInfo, connect, createServer } from 'node:net'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { tradeRows } from './support/blocks.ts'
import { cleanUp } from './support/clean-up.ts'
import { askerOf, served } from './support/gateway.ts'
import { historyRig } from './support/history.ts'

const INSTRUMENT = 'binance.usdm.BTCUSDT'

/** What tools for the purpose try first, and what is special to ClickHouse. */
const SQL = [
  `'`,
  `"`,
  '`',
  `' OR '1'='1`,
  `' OR 1=1 -- `,
  `1; DROP TABLE trades`,
  `'; DROP TABLE trades; --`,
  `1 UNION ALL SELECT name FROM system.tables`,
  `' UNION ALL SELECT version() -- `,
  `{instrument:String}`,
  `{x:Identifier}`,
  `') UNION ALL SELECT * FROM file('/etc/passwd', 'LineAsString') -- `,
  `url('http://169.254.169.254/latest/meta-data/', 'LineAsString')`,
  `executable('id', 'TabSeparated')`,
  `1 FORMAT JSON`,
  `1 SETTINGS readonly=0`,
  `1 INTO OUTFILE '/tmp/marketprism-injected'`,
  `sleepEachRow(3)`,
  `\\' OR 1=1`,
  `\u0000`,
  `%27%20OR%201=1`,
  `admin'--`,
  `$(id)`,
  `-1`,
  `9223372036854775808`,
  `1e309`,
  `NaN`,
  `1970-01-01T00:00:00Z' --`,
  `\u202e`,
  'x'.repeat(1_500),
]

const LEAKED = /DB::Exception|Code: \d+|root:x:0|ClickHouse release|\n\s+at /

interface Parameter {
  readonly name: string
  readonly in: string
  readonly required?: boolean
  readonly example?: unknown
}

test('gateway: SQL in any parameter should stay a value, or be refused (G6)', async (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item
  const rig = await historyRig(t, { security: { localAdmin: true } })
  await rig.put(
    'trades',
    [INSTRUMENT],
    tradeRows(50, 1).map((row) => ({ ...row, instrument: 0 })),
  )
  const get = askerOf(rig.url)
  const { paths } = (await get('/v1/openapi.json')).json
  const routes = Object.entries(paths as Record<string, { get?: { parameters?: Parameter[] } }>).flatMap(
    ([path, { get: operation }]) =>
      operation?.parameters === undefined ? [] : [{ path, parameters: operation.parameters }],
  )
  assert.ok(routes.length > 10, `${routes.length} routes with parameters`)
  const before = await tablesAndRows(rig)
  for (let count = 0; count < 600; count++) {
    const { path, parameters } = pick(routes)
    const attacked = pick(parameters)
    const attack = random() < 0.7 ? pick(SQL) : `${pick(SQL)}${pick(SQL)}`.slice(0, 1_500)
    const url = urlOf(path, parameters, new Map([[attacked.name, attack]]))
    const { status, text } = await get(url)
    const what = `${url}: ${status} ${text.slice(0, 300)}`
    assert.ok(status < 500 || status === 503, what)
    assert.doesNotMatch(text, LEAKED, what)
    if (status !== 200) assert.equal(typeof JSON.parse(text).error.code, 'string', what)
  }
  assert.deepEqual(await tablesAndRows(rig), before)
})

function urlOf(path: string, parameters: readonly Parameter[], values: ReadonlyMap<string, string>): string {
  const query = new URLSearchParams()
  let url = path
  for (const { name, in: place, required, example } of parameters) {
    const value =
      values.get(name) ?? (place === 'path' || required === true ? String(example ?? INSTRUMENT) : undefined)
    if (value === undefined) continue
    if (place === 'path') url = url.replace(`{${name}}`, encodeURIComponent(value))
    else query.set(name, value)
  }
  return query.size === 0 ? url : `${url}?${query}`
}

async function tablesAndRows({ clickhouse }: Awaited<ReturnType<typeof historyRig>>) {
  const tables = await clickhouse.query(
    `SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name`,
  )
  return [tables, await clickhouse.query('SELECT count() AS rows FROM trades')]
}

test('gateway: an address in any parameter, header or body should be called by nobody (G10)', async (t) => {
  let calls = 0
  const canary = createServer((socket) => {
    calls++
    socket.destroy()
  })
  await new Promise<void>((resolve) => canary.listen(0, '127.0.0.1', resolve))
  cleanUp(t, () => canary.close())
  const { port } = canary.address() as AddressInfo
  await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined)
  assert.equal(calls, 1, 'a call is seen')
  const rig = await historyRig(t, { security: { localAdmin: true } })
  const get = askerOf(rig.url)
  type Operations = Record<string, { parameters?: Parameter[]; requestBody?: unknown }>
  const { paths } = (await get('/v1/openapi.json')).json as { paths: Record<string, Operations> }
  const place = `127.0.0.1:${port}`
  const addresses = [
    `http://${place}/`,
    `//${place}/`,
    `http://[::ffff:127.0.0.1]:${port}/`,
    `url('http://${place}/')`,
    place,
  ]
  let asked = 0
  for (const [path, operations] of Object.entries(paths))
    for (const [method, { parameters = [], requestBody }] of Object.entries(operations))
      for (const address of addresses) {
        const body = JSON.stringify({ instruments: [address], url: address, webhook: address, callback: address })
        const headers = {
          'x-forwarded-host': place,
          'x-forwarded-for': place,
          forwarded: `host=${place}`,
          referer: `http://${place}/`,
          ...(requestBody === undefined ? {} : { 'content-type': 'application/json' }),
        }
        const init = { method: method.toUpperCase(), headers, ...(requestBody === undefined ? {} : { body }) }
        for (const { name } of [{ name: '' }, ...parameters]) {
          const { status } = await get(urlOf(path, parameters, new Map([[name, address]])), init)
          assert.ok(status < 300 || status >= 400, `${method} ${path} sends on with ${status}`)
          asked++
        }
      }
  assert.ok(asked > 100, `${asked} requests`)
  assert.equal(calls, 1, 'nobody called it')
})

test('gateway: nothing should take a query in SQL (G7)', async (t) => {
  const rig = await historyRig(t)
  const sql = `SELECT * FROM file('/etc/passwd', 'LineAsString')`
  for (const name of ['query', 'sql', 'q', 'default_format', 'database'])
    assert.equal((await rig.get(`/v1/trades/${INSTRUMENT}?${name}=${encodeURIComponent(sql)}`)).status, 400, name)
  for (const path of ['/', '/query', '/v1/query', '/v1/sql', `/?query=${encodeURIComponent(sql)}`])
    for (const method of ['POST', 'PUT', 'PATCH']) {
      const { status, text } = await rig.get(path, { method, body: sql, headers: { 'content-type': 'text/plain' } })
      assert.ok(status >= 400 && status < 500, `${method} ${path} ${status}`)
      assert.doesNotMatch(text, LEAKED)
    }
})

const UP = [
  '..',
  '%2e%2e',
  '..%2f',
  '%2e%2e%2f',
  '..%5c',
  '..\\',
  '%c0%ae%c0%ae',
  '....//',
  '%252e%252e',
  '.%00./',
  '..;/',
]
const FILES = [
  'etc/passwd',
  'etc%2fpasswd',
  'package.json',
  'engine/main.js',
  '.data/gateway/audit.ndjson',
  'C:%5cwindows%5cwin.ini',
]
const ROOTS = ['/', '/docs/', '/docs/static/', '/page/', '/fonts/', '/v1/export/', '/v1/trades/', '/v1/', '//', '/./']

test('gateway: no path should lead to a file that is not its own (G12)', async (t) => {
  const { gateway } = await served(t)
  const paths = ROOTS.flatMap((root) =>
    UP.flatMap((up) => FILES.map((file) => `${root}${up}/${up}/${up}/${up}/${file}`)),
  )
  paths.push(
    '/etc/passwd',
    '//etc/passwd',
    '/file:///etc/passwd',
    '/%2fetc%2fpasswd',
    '/docs/static//etc/passwd',
    '/%zz',
    '/%',
  )
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, lane) =>
      rawGets(
        gateway.port,
        paths.filter((_, index) => index % 8 === lane),
      ),
    ),
  )
  const statuses = answers.flat()
  assert.equal(statuses.length, paths.length)
  for (const { path, status, text } of statuses) {
    assert.ok(status >= 400 && status < 500, `${path}: ${status}`)
    assert.doesNotMatch(text, /root:x:0|"name": ?"marketprism"|\[fonts\]|import .* from/, path)
  }
})

/** One connection, path as it is: what a URL class would make of it does not matter. */
async function rawGets(
  port: number,
  paths: readonly string[],
): Promise<{ path: string; status: number; text: string }[]> {
  const found: { path: string; status: number; text: string }[] = []
  for (const path of paths)
    found.push(
      await new Promise((resolve, reject) => {
        let text = ''
        const socket = connect(port, '127.0.0.1', () =>
          socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`),
        )
        socket.on('data', (chunk) => (text += chunk))
        socket.on('error', reject)
        socket.on('close', () => resolve({ path, status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]), text }))
      }),
    )
  return found
}

test('gateway: names that somebody makes up should not become labels of metrics (G14)', async (t) => {
  const { get, gateway } = await served(t)
  for (let count = 0; count < 300; count++) {
    await get(`/v1/trades/a.b.${count}`)
    await get(`/made-up-${count}`)
    await get(`/docs/static/made-up-${count}`)
  }
  const routes = new Set(gateway.counts.sample().requests.map(([route]) => route))
  assert.ok(routes.size <= 4, [...routes].join())
})
