/** Processes of one engine that find each other: in NATS by themselves, without NATS by configuration. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { cleanUp } from './support/clean-up.ts'
import { startCli } from './support/cli.ts'
import { temporaryDirectory, until } from './support/embedded.ts'
import { askerOf } from './support/gateway.ts'
import { hasNatsServer } from './support/nats.ts'
import { rigEngine, rigVenue } from './support/rig.ts'

const WAIT_MS = 60_000
const CONTROL = { MARKETPRISM_OBSERVE_CONTROL_KEY: 'one-secret-of-all-processes' }
const LOCAL_ADMIN = ['--set', 'serve.localAdmin=true']

async function startGateway(t: TestContext, words: readonly string[], variables: Record<string, string> = {}) {
  const cli = startCli(['serve', ...LOCAL_ADMIN, ...words], variables)
  cleanUp(t, () => cli.kill('SIGKILL'))
  const get = askerOf((await cli.line(/^marketprism: gateway: /)).slice('marketprism: gateway: '.length))
  const roles = async (): Promise<string> =>
    (await get('/v1/roles')).json.roles
      .map(({ role }: { role: string }) => role)
      .sort()
      .join()
  return { cli, get, roles }
}

test('processes should find each other in NATS, ask each other, and forget who ended', async (t) => {
  const reason = await hasNatsServer()
  if (reason !== '') return t.skip(reason)
  const venue = await rigVenue(t, { markets: ['usdm'], instruments: 2, rate: 100 })
  const data = temporaryDirectory(t)
  await rigEngine(t, data, [...venue.flags, '--workers', '1'], CONTROL)
  const knowing = await startGateway(t, ['--data', data], CONTROL)
  const deaf = await startGateway(t, ['--data', data])
  for (const { roles } of [knowing, deaf])
    await until(async () => (await roles()) === 'collect,serve,serve,store', WAIT_MS, 'each knows all three')
  const named = async ({ get }: typeof deaf): Promise<string[]> => {
    const { collectors } = (await get('/v1/subscriptions')).json
    return collectors[0].instruments.map(
      (name: Record<string, string>) => `${name.exchange}.${name.market}.${name.symbol}`,
    )
  }
  const [first = '', second = ''] = await named(deaf)
  assert.match(first, /^binance\.usdm\./)
  assert.equal((await deaf.get('/v1/plan')).json.plans[0].connections[0].exchange, 'binance')
  assert.ok((await deaf.get('/v1/connections')).json.connections.length > 0)

  const refused = await deaf.get(`/v1/subscriptions/${second}`, { method: 'DELETE' })
  assert.equal(refused.status, 503)
  assert.match(refused.json.error.message, /set the same observe\.controlKey/)
  const removed = await knowing.get(`/v1/subscriptions/${second}`, { method: 'DELETE' })
  assert.equal(removed.status, 200, removed.text)
  const isNamed = (wanted: readonly string[]) => async (): Promise<boolean> =>
    JSON.stringify((await named(deaf)).sort()) === JSON.stringify([...wanted].sort()) // told twice a second at most
  await until(isNamed([first]), WAIT_MS, 'the instrument is gone')
  const added = await knowing.get('/v1/subscriptions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ instruments: [second] }),
  })
  assert.equal(added.status, 200, added.text)
  await until(isNamed([first, second]), WAIT_MS, 'the instrument is there again')

  knowing.cli.kill('SIGTERM')
  await until(async () => (await deaf.roles()) === 'collect,serve,store', WAIT_MS, 'a gateway that ended is forgotten')
})

test('processes without NATS should be found where the configuration names them', async (t) => {
  const venue = await rigVenue(t, { markets: ['usdm'], instruments: 1, rate: 100 })
  const flags = [...venue.flags, '--workers', '1', '--delivery', 'direct']
  const collector = await rigEngine(t, temporaryDirectory(t), flags)
  const pages = (await collector.line(/^marketprism: pages: /)).replace(/^.*(http:\/\/[\d.:]+)\/metrics.*$/, '$1')
  const set = ['--set', `serve.peers=${pages}`, '--set', `clickhouse.url=${collector.clickHouseUrl}`]
  const gateway = await startGateway(t, ['--data', temporaryDirectory(t), ...set])
  await until(async () => (await gateway.roles()) === 'collect,serve,store', WAIT_MS, 'both are known')
  const own = /http:\S+\/metrics/.exec(await gateway.cli.line(/^marketprism: pages: /))?.[0] ?? ''
  const counted = /marketprism_gateway_requests_total\{route="\/v1\/roles",status="2xx"\} [1-9]/
  await until(
    async () => counted.test(await (await fetch(own)).text()),
    WAIT_MS,
    'what the gateway counted is a metric',
  )
})
