/** A canary in every secret of the configuration, and every way out of the process searched for it (G11). */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import { KEY_PATHS, keyAt, variableOf } from '../engine/base/config.ts'
import { cleanUp } from './support/clean-up.ts'
import { startCli } from './support/cli.ts'
import { startTestClickHouse } from './support/clickhouse.ts'
import { temporaryDirectory } from './support/embedded.ts'
import { askerOf } from './support/gateway.ts'

const canary = (name: string): string => `canary${name.replace(/[^A-Za-z]/g, '')}${randomBytes(12).toString('hex')}`
const madeKey = (id: string): string => `marketprism_${id}_${randomBytes(32).toString('base64url')}`

test('gateway: no secret should come out of the process, whatever is asked (G11)', async (t) => {
  const clickhouse = await startTestClickHouse()
  cleanUp(t, () => clickhouse.stop())
  const data = temporaryDirectory(t)
  const key = madeKey('ops')
  const foreign = madeKey('else')
  const secrets = KEY_PATHS.filter((path) => keyAt(path).secret).map(
    (path) => [path, path === 'serve.key' ? key : canary(path)] as const,
  )
  assert.ok(secrets.length >= 8, `${secrets.length} secret keys`)
  const used = secrets.filter(([path]) => !path.startsWith('nats.')) // there is no NATS here
  const cli = startCli(
    [
      ...['serve', '--data', data, '--log-level', 'trace', '--set', `clickhouse.url=${clickhouse.server.url}`],
      ...['--set', 'serve.keyScopes=read,stream,admin', '--set', `clickhouse.database=${clickhouse.options.database}`],
    ],
    Object.fromEntries(used.map(([path, value]) => [variableOf(path), value])),
  )
  cleanUp(t, () => cli.kill('SIGKILL'))
  const pages = /http:\S+(?=\/metrics)/.exec(await cli.line(/^marketprism: pages: /))?.[0] ?? ''
  const url = (await cli.line(/^marketprism: gateway: /)).slice('marketprism: gateway: '.length)
  const said: string[] = []
  const hear = async (from: string, path: string, init: RequestInit = {}): Promise<number> => {
    const answer = await fetch(`${from}${path}`, init).catch((error: Error) => error)
    if (answer instanceof Error) return 0
    said.push(`${answer.status} ${JSON.stringify([...answer.headers])} ${await answer.text()}`)
    return answer.status
  }
  const as = (bearer: string, more: RequestInit = {}): RequestInit => ({
    ...more,
    headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
  })
  const { paths } = (await askerOf(url)('/v1/openapi.json')).json as { paths: Record<string, Record<string, object>> }
  const places = Object.keys(paths).map((path) => path.replace(/\{[a-z]+\}/g, 'binance.usdm.BTCUSDT'))
  for (const path of [...places, '/v1/openapi.json', '/docs', '/', '/nowhere']) {
    await hear(url, path, as(key))
    await hear(url, path, as(foreign))
    await hear(url, `${path}?key=${key}&nonsense=${foreign}`)
    await hear(url, `${path}/${key}`, as(key))
  }
  for (const body of [`{"instruments":["${key}"]}`, `{"${foreign}":1}`, `${key}`, '{'])
    await hear(url, '/v1/subscriptions', as(key, { method: 'POST', body }))
  for (const path of ['/metrics', '/health', '/livez', '/readyz', '/status', '/plan', '/collected', '/nowhere'])
    await hear(pages, path)
  for (const [, secret] of used) {
    await hear(pages, '/change', as(secret.slice(0, -1), { method: 'POST', body: '{}' }))
    await hear(url, '/v1/config', as(secret))
  }
  await refusedSocket(`${url.replace('http', 'ws')}/v1/stream?key=${key}`, foreign, said)
  assert.equal(await hear(url, '/v1/config', as(key)), 200, 'and it is a good key')

  cli.kill('SIGTERM')
  const { stdout, stderr } = await cli.ended
  const outputs: [string, string][] = [
    ['stdout', stdout],
    ['stderr', stderr],
    ...filesBelow(data),
    ...said.map((text): [string, string] => ['answer', text]),
  ]
  assert.ok(
    outputs.length > 100 && outputs.some(([where]) => where.endsWith('audit.ndjson')),
    `${outputs.length} outputs`,
  )
  const told = [...used.map(([, value]) => value), foreign].map((secret) =>
    secret.startsWith('marketprism_') ? secret.split('_').slice(2).join('_') : secret,
  )
  for (const secret of told)
    for (const [where, text] of outputs)
      assert.ok(!text.includes(secret.slice(0, 20)), `a secret is in ${where}: …${text.slice(-400)}`)
})

/** A key that is not good, in a header and in the first message. */
async function refusedSocket(url: string, key: string, said: string[]): Promise<void> {
  for (const headers of [{ authorization: `Bearer ${key}` }, {}])
    await new Promise<void>((resolve) => {
      const socket = new WebSocket(url, { headers })
      socket.on('open', () => socket.send(JSON.stringify({ op: 'auth', key })))
      socket.on('message', (text) => said.push(String(text)))
      socket.on('unexpected-response', (_, response) => {
        response.on('data', (chunk) => said.push(String(chunk)))
        response.on('end', resolve)
      })
      socket.on('close', (_, reason) => {
        said.push(String(reason))
        resolve()
      })
      socket.on('error', () => {})
    })
}

function filesBelow(directory: string): [string, string][] {
  if (!existsSync(directory)) return []
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile())
    .map((path) => [path, readFileSync(path, 'latin1')])
}
