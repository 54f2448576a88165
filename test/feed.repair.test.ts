import assert from 'node:assert/strict'
import { test } from 'node:test'
import { instrumentId } from '../engine/exchanges/exchange.ts'
import { Repair, type TradesWant } from '../engine/feed/repair.ts'
import { settle } from './support/feed-time.ts'

const BTC = {
  id: instrumentId('v', 'm', 'BTC'),
  exchange: 'v',
  market: 'm',
  symbol: 'BTC',
  priceScale: 0,
  quantityScale: 0,
  status: 'TRADING',
}

function want(firstSeq: number, lastSeq: number): TradesWant {
  return { instrument: BTC, channel: 'trades', firstSeq, lastSeq, connection: 3, generation: 7 }
}

function rig(answer: (path: string) => Promise<Buffer>) {
  const log: string[] = []
  const repair = new Repair(
    { tradesPerPage: 100, pagesMax: 5, errandsMax: 4 },
    {
      request: ({ channel, firstSeq, lastSeq }) =>
        channel === 'trades' ? { path: `${firstSeq}-${lastSeq}`, weight: 4 } : undefined,
      fetch: (_, { path }) => answer(path),
      onTrades: ({ connection, generation }, body) => log.push(`${connection}/${generation} ${body}`),
      onFailed: ({ firstSeq, lastSeq }, reason) => log.push(`failed ${firstSeq}-${lastSeq} ${reason}`),
    },
  )
  return { repair, log }
}

test('repair should ask for a hole page by page, in order, to its last trade', async () => {
  const { repair, log } = rig(async (path) => Buffer.from(path))
  repair.want(want(5, 255))
  repair.want(want(300, 300))
  for (let round = 0; round < 5; round++) await settle()
  assert.deepEqual(log, ['3/7 5-104', '3/7 105-204', '3/7 205-255', '3/7 300-300'])
  assert.deepEqual(repair.stats, { wanted: 2, pages: 4, failed: 0 })
  assert.equal(repair.pendingCount, 0)
})

test('repair should give up a hole that is too wide, that nobody has, or whose answer fails, and go on', async () => {
  const { repair, log } = rig(async (path) => {
    if (path.startsWith('7')) throw new Error('REST_STATUS 503')
    return Buffer.from(path)
  })
  repair.want(want(1, 501))
  repair.want({ ...want(1, 2), channel: 'agg_trades' })
  repair.want(want(7, 9))
  repair.want(want(1, 1))
  for (let round = 0; round < 5; round++) await settle()
  assert.deepEqual([...log].sort(), [
    '3/7 1-1',
    'failed 1-2 the venue has no trades by number',
    'failed 1-501 501 trades are missing, too many to ask for',
    'failed 7-9 REST_STATUS 503',
  ])
})

test('repair should deliver nothing after its end', async () => {
  const { repair, log } = rig(async (path) => Buffer.from(path))
  repair.want(want(1, 300))
  repair.close()
  for (let round = 0; round < 5; round++) await settle()
  assert.deepEqual(log, [])
})

test('repair should wait while it is held, between pages too, and give nothing up', async () => {
  const { repair, log } = rig(async (path) => Buffer.from(path))
  repair.hold()
  repair.want(want(5, 255))
  for (let round = 0; round < 5; round++) await settle()
  assert.deepEqual(log, [])
  repair.release()
  await settle()
  repair.hold()
  const before = [...log]
  for (let round = 0; round < 5; round++) await settle()
  assert.ok(log.length - before.length <= 1, 'a page that was asked for may come')
  repair.release()
  for (let round = 0; round < 5; round++) await settle()
  assert.deepEqual(log, ['3/7 5-104', '3/7 105-204', '3/7 205-255'])
  assert.equal(repair.pendingCount, 0)
})

test('repair should refuse holes beyond its bound, and be done when it is closed while held', async () => {
  const { repair, log } = rig(async (path) => Buffer.from(path))
  repair.hold()
  for (let seq = 1; seq <= 5; seq++) repair.want(want(seq, seq))
  assert.deepEqual(log, ['failed 5-5 4 holes wait already: too many to repair'])
  repair.close()
  for (let round = 0; round < 5; round++) await settle()
  assert.deepEqual(log.slice(1), [])
  assert.equal(repair.pendingCount, 0)
})
