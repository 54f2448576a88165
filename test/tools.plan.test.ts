import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { feedRules } from '../engine/exchanges/index.ts'
import { PLAN_DEFAULTS } from '../engine/route/plan.ts'
import { computePlan, type MarketRequest } from '../engine/tools/plan.ts'
import { machineTime } from './support/feed-time.ts'

const market: MarketRequest = {
  instruments: ['*USDT'],
  proxy: '',
  channels: ['book', 'trades'],
  wsUrl: '',
  restUrl: '',
  streamsPerConnection: 0,
  connections: 0,
  legs: 1,
  restWeightShare: 0.5,
  snapshotLimit: 0,
}

const request = (change: Partial<MarketRequest>) => ({
  rules: feedRules(),
  markets: { 'binance.usdm': { ...market, ...change } },
  settings: { ...PLAN_DEFAULTS, shardCount: 2, markets: { 'binance.usdm': market }, ringBytes: 1, startMs: 0 },
  time: machineTime,
  random: Math.random,
})

test('plan command should ask the venue for its list and nothing else', async () => {
  const asked: string[] = []
  const server = createServer((incoming, response) => {
    asked.push(incoming.url ?? '')
    const symbols = ['BTCUSDT', 'ETHUSDT', 'ETHBTC'].map((symbol) => ({
      symbol,
      status: 'TRADING',
      filters: [
        { filterType: 'PRICE_FILTER', tickSize: '0.10' },
        { filterType: 'LOT_SIZE', stepSize: '0.001' },
      ],
    }))
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ symbols }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const restUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const made = await computePlan(request({ restUrl }))
  assert.deepEqual(asked, ['/fapi/v1/exchangeInfo'])
  assert.deepEqual(
    made.shards
      .flat()
      .map((each) => [each.id, each.priceScale, each.quantityScale])
      .sort(),
    [
      ['binance.usdm.BTCUSDT', 1, 3],
      ['binance.usdm.ETHUSDT', 1, 3],
    ],
  )
  await assert.rejects(computePlan(request({ restUrl, instruments: ['BTCUSD'] })), {
    code: 'UNKNOWN_SYMBOL',
    exitCode: 78,
  })
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await assert.rejects(computePlan(request({ restUrl })), {
    code: 'REST_UNREACHABLE',
    message: /exchangeInfo: ECONNREFUSED/,
  })
})
