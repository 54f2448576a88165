/** How much ClickHouse is asked at once, who waits, who is sent away, and what becomes of questions that nobody waits for. */
import assert from 'node:assert/strict'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { GatewayCounts } from '../engine/gateway/counts.ts'
import { HttpFault } from '../engine/gateway/http-fault.ts'
import { Store } from '../engine/gateway/store.ts'
import { CLICKHOUSE_DEFAULT, type ClickHouseOptions } from '../engine/sinks/clickhouse.ts'
import { cleanUp } from './support/clean-up.ts'
import { startTestClickHouse, type TestClickHouse } from './support/clickhouse.ts'
import { SILENT, until } from './support/embedded.ts'
import { served } from './support/gateway.ts'

const QUESTIONS_MAX = 4
const WAITING_MAX = 64
const WAIT_MS = 10_000

/** In the place of ClickHouse: takes questions and answers none before it is told to. */
class Holder {
  readonly options: ClickHouseOptions
  /** at once */
  most = 0
  /** values of `{limit}`, in the order in which they came */
  readonly limits: number[] = []
  readonly #held: ServerResponse[] = []

  private constructor(url: string) {
    this.options = { ...CLICKHOUSE_DEFAULT, url }
  }

  static async start(t: TestContext): Promise<Holder> {
    const server = createServer((request, response) => {
      request.resume()
      holder.#take(Number(new URL(request.url ?? '', 'http://held').searchParams.get('param_limit')), response)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    cleanUp(t, () => {
      server.closeAllConnections()
      server.close()
    })
    const holder = new Holder(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    return holder
  }

  get held(): number {
    return this.#held.length
  }

  #take(limit: number, response: ServerResponse): void {
    this.limits.push(limit - 1) // one row more than is shown
    this.#held.push(response)
    this.most = Math.max(this.most, this.#held.length)
  }

  /** Answers all that came and will come. */
  answerAll(t: TestContext): void {
    const timer = setInterval(() => {
      for (const response of this.#held.splice(0)) response.end('')
    }, 5)
    cleanUp(t, () => clearInterval(timer))
  }
}

test('store should ask four questions at once, let 64 wait for 5 s, and send away the others at once, each with 503 and Retry-After', async (t) => {
  const holder = await Holder.start(t)
  const security = { inFlightMax: 1_000 } // of which half may be about history
  const { get } = await served(t, { clickhouse: holder.options, security })
  const statuses: number[] = []
  const ask = async () => {
    const { status, headers, json } = await get('/v1/gaps')
    statuses.push(status)
    if (status !== 503) return
    assert.deepEqual([json.error.code, headers.get('retry-after')], ['store_busy', '2'])
  }
  const all = Promise.all(Array.from({ length: QUESTIONS_MAX + WAITING_MAX + 3 }, ask))
  await until(() => holder.held === QUESTIONS_MAX && statuses.length > 0, WAIT_MS, 'some are sent away')
  await until(() => statuses.length >= 3 + WAITING_MAX, WAIT_MS, 'nobody waits any more')
  assert.deepEqual([holder.most, statuses.length], [QUESTIONS_MAX, 3 + WAITING_MAX])
  holder.answerAll(t)
  await all
  assert.deepEqual(statuses.slice(-QUESTIONS_MAX), Array(QUESTIONS_MAX).fill(200))
  assert.equal(statuses.filter((status) => status === 503).length, 3 + WAITING_MAX)
  assert.equal(holder.limits.length, QUESTIONS_MAX) // who was sent away asked nothing
})

test('store should give turns in the order of coming, none to who went away while waiting, and never lose one', async (t) => {
  const holder = await Holder.start(t)
  const counts = new GatewayCounts()
  const store = new Store(holder.options, SILENT, counts)
  cleanUp(t, () => store.close())
  const gone = new AbortController()
  const asked = Array.from({ length: 3 * QUESTIONS_MAX }, (_, index) =>
    store.rows('SELECT {limit:UInt32}', { limit: index + 1 }, index % 3 === 2 ? { signal: gone.signal } : {}).then(
      () => 'answered',
      (error: unknown) => (error instanceof HttpFault ? error.code : String(error)),
    ),
  )
  await until(() => holder.held === QUESTIONS_MAX, WAIT_MS, 'the first are asked')
  gone.abort()
  await until(() => holder.limits.length > QUESTIONS_MAX, WAIT_MS, 'the turn of one that is gone is given to the next')
  holder.answerAll(t)
  assert.deepEqual(
    await Promise.all(asked),
    asked.map((_, index) => (index % 3 === 2 ? 'gone' : 'answered')),
  )
  // 2 had been asked before it went; 5, 8 and 11 never are
  assert.deepEqual(holder.limits, [0, 1, 2, 3, 4, 6, 7, 9, 10])
  assert.equal(holder.most, QUESTIONS_MAX + 1) // the stub does not hear that one went
  assert.deepEqual([counts.questionsInFlight, counts.questionsFailed], [0, 0])
})

/** Questions of this mark that ClickHouse works on. */
async function running({ query }: TestClickHouse, mark: string): Promise<number> {
  const [row] = await query(
    `SELECT count() AS count FROM system.processes WHERE NOT is_cancelled AND query LIKE '%${mark}%' AND query NOT LIKE '%system.processes%'`,
  )
  return Number(row?.['count'])
}

/** A table whose rows take ClickHouse longer than a question may last. */
async function slowTable({ client }: TestClickHouse, name: string): Promise<void> {
  await client.command({ query: `RENAME TABLE ${name} TO ${name}_kept` })
  const heavy = 'SELECT max(sipHash64(number, toString(number))) AS most FROM numbers(450000000)'
  await client.command({
    query: `CREATE VIEW ${name} AS SELECT kept.* FROM ${name}_kept AS kept CROSS JOIN (${heavy}) AS heavy`,
  })
}

test('a question should end in ClickHouse when its client goes away, and its turn be free again', async (t) => {
  const clickhouse = await startTestClickHouse()
  cleanUp(t, () => clickhouse.stop())
  await slowTable(clickhouse, 'volatility_indices')
  const { get } = await served(t, { clickhouse: clickhouse.options })
  // the embedded engine reads with four connections, and one has to tell what it is doing
  const clients = Array.from({ length: QUESTIONS_MAX - 1 }, () => new AbortController())
  const asked = clients.map(({ signal }, index) =>
    get(`/v1/volatility-indices/deribit.index.btc_usd?order=asc&from=1790000000&to=1790000001&limit=${index + 1}`, {
      signal,
    }).then(
      ({ status, text }) => `${status} ${text}`,
      (error: Error) => error.name,
    ),
  )
  const count = () => running(clickhouse, 'volatility_indices')
  await until(async () => (await count()) === clients.length, WAIT_MS, 'all are being worked on')
  for (const client of clients) client.abort()
  await until(async () => (await count()) === 0, 5_000, 'none is') // by themselves they would end after 10 s, with 422
  assert.deepEqual(await Promise.all(asked), Array(clients.length).fill('AbortError'))
  const answers = await Promise.all(Array.from({ length: QUESTIONS_MAX + 1 }, () => get('/v1/gaps')))
  assert.deepEqual(
    answers.map(({ status }) => status),
    Array(QUESTIONS_MAX + 1).fill(200),
  )
})

test('a question whose client has gone before it is asked should not be asked', async (t) => {
  const holder = await Holder.start(t)
  const store = new Store(holder.options, SILENT, new GatewayCounts())
  cleanUp(t, () => store.close())
  const signal = AbortSignal.abort()
  const isGone = ({ code }: HttpFault) => code === 'gone'
  await assert.rejects(store.rows('SELECT 1', {}, { signal }), isGone)
  await assert.rejects(store.stream('SELECT 1', {}, 'CSV', { signal }), isGone)
  assert.equal(holder.limits.length, 0)
})

test('an export should end in ClickHouse when nobody reads on, and its turn be free again', async (t) => {
  const clickhouse = await startTestClickHouse()
  cleanUp(t, () => clickhouse.stop())
  const counts = new GatewayCounts()
  const store = new Store(clickhouse.options, SILENT, counts)
  cleanUp(t, () => store.close())
  const begin = async (mark: string, signal?: AbortSignal) => {
    const stream = await store.stream(`SELECT number AS ${mark} FROM numbers(1500000000)`, {}, 'CSV', { signal })
    stream.on('error', () => {}) // it breaks: that is what is wanted
    cleanUp(t, () => stream.destroy())
    await new Promise<void>((resolve) => stream.once('readable', () => resolve()))
    return stream
  }
  const gone = new AbortController()
  const [, unread] = [await begin('first', gone.signal), await begin('first')]
  assert.equal(counts.questionsInFlight, 2)
  await until(async () => (await running(clickhouse, 'AS first')) === 2, WAIT_MS, 'both are being worked on')
  const waiting = [begin('second'), begin('second')]
  await assert.rejects(begin('third'), ({ status, code }: HttpFault) => status === 503 && code === 'store_busy')
  gone.abort()
  unread.destroy()
  await Promise.all(waiting)
  await until(async () => (await running(clickhouse, 'AS first')) === 0, WAIT_MS, 'what nobody reads has ended')
  assert.deepEqual([await running(clickhouse, 'AS second'), counts.questionsInFlight], [2, 2])
})
