import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { Clock, takeAnchorNs } from '../engine/base/clock.ts'
import { seededRandom } from '../engine/base/random.ts'
import { GatewayCounts } from '../engine/gateway/counts.ts'
import { CandleJob } from '../engine/gateway/history/candle-job.ts'
import { intervalOf } from '../engine/gateway/history/interval.ts'
import { type VolumeRow, volumesOf } from '../engine/gateway/history/volumes.ts'
import { Store } from '../engine/gateway/store.ts'
import type { Row } from './support/blocks.ts'
import { cleanUp } from './support/clean-up.ts'
import { SILENT } from './support/embedded.ts'
import { type HistoryRig, historyRig } from './support/history.ts'

const NAMES = ['binance.usdm.AUSDT', 'binance.usdm.BUSDT', 'binance.spot.AUSDT', 'okx.swap.C-USDT'] as const
const MINUTE_NS = 60_000_000_000n
const HOUR_NS = 60n * MINUTE_NS
const STARTED_NS = 1_789_948_800_000_000_000n // 00:00
const HOURS = 9
const ROUNDS = 5

interface Trade {
  readonly name: string
  readonly ns: bigint
  /** at 10^-8 */
  readonly worth: bigint
  readonly row: Row
}

/**
 * Between a job and its store: lets so many writes pass, then there is nobody any more, as when the process is killed.
 * @param isCarriedOut whether the write that is never answered is done all the same
 */
async function fuse(url: string, writes: number, isCarriedOut: boolean) {
  let left = writes
  let isDead = false
  const server = createServer(async (request, response) => {
    const body: Buffer[] = []
    for await (const chunk of request) body.push(chunk as Buffer)
    const isWrite = Buffer.concat(body).toString('utf8').trimStart().startsWith('INSERT')
    const isLast = isWrite && --left < 0
    if (isDead || (isLast && !isCarriedOut)) {
      isDead = true
      response.destroy()
      return
    }
    const answer = await fetch(`${url}${request.url}`, { method: 'POST', body: Buffer.concat(body) })
    const bytes = Buffer.from(await answer.arrayBuffer())
    if (isLast) {
      isDead = true
      response.destroy()
      return
    }
    const [code, type] = ['x-clickhouse-exception-code', 'content-type'].map((name) => answer.headers.get(name))
    response.writeHead(answer.status, {
      ...(code == null ? {} : { 'X-ClickHouse-Exception-Code': code }),
      'Content-Type': type ?? '',
    })
    response.end(bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

function decimal(value: bigint): string {
  const digits = String(value).padStart(9, '0')
  const rest = digits.slice(-8).replace(/0+$/, '')
  return `${digits.slice(0, -8)}${rest === '' ? '' : `.${rest}`}`
}

/** Every trade once, added up in BigInt. */
function oracle(trades: readonly Trade[], lengthNs: bigint, fromNs: bigint, toNs: bigint): string[] {
  const sums = new Map<string, { worth: bigint; count: number }>()
  for (const { name, ns, worth } of trades) {
    if (ns < fromNs - (fromNs % lengthNs) || ns >= toNs) continue
    const slot = `${ns - (ns % lengthNs)} ${name}`
    const sum = sums.get(slot) ?? { worth: 0n, count: 0 }
    sums.set(slot, { worth: sum.worth + worth, count: sum.count + 1 })
  }
  return [...sums].map(([slot, { worth, count }]) => `${slot} ${decimal(worth)} ${count}`).sort()
}

const linesOf = (rows: readonly VolumeRow[]): string[] =>
  rows
    .map((row) =>
      [row.open_ns, `${row.exchange}.${row.market}.${row.symbol}`, row.quote_volume, row.trade_count].join(' '),
    )
    .sort()

async function volumes(rig: HistoryRig, interval: string, fromNs: bigint, toNs: bigint) {
  const { status, json, text } = await rig.get(
    `/v1/volumes?by=instrument&interval=${interval}&from=${fromNs}&to=${toNs}`,
  )
  assert.equal(status, 200, text)
  return linesOf(json.rows)
}

/** Hours whose bars count. */
async function madeHours(rig: HistoryRig): Promise<number> {
  const [row] = await rig.clickhouse.query(
    `SELECT count() AS hours FROM (SELECT hour_ns FROM trade_hours FINAL GROUP BY hour_ns HAVING countIf(state = 'open') = 0)`,
  )
  return Number(row?.hours)
}

test('volumes should be the sum of all trades once, whatever came late or twice and wherever the job was killed', async (t) => {
  const seed = Number(process.env.TEST_SEED ?? 1 + (Math.trunc(performance.now() * 1000) % 1_000_000))
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const below = (count: number): number => Math.floor(random() * count)
  const rig = await historyRig(t)
  const trades: Trade[] = []
  const jobs: CandleJob[] = []
  cleanUp(t, () => Promise.all(jobs.map((job) => job.close())))
  const newJob = (url: string, clock = new Clock()): CandleJob => {
    const job = new CandleJob({ ...rig.clickhouse.options, url }, clock, () => false)
    jobs.push(job)
    return job
  }
  const signal = new AbortController().signal

  /** Some trades of one exchange, of one hour or of all; a few that were there already come again from another producer. */
  const store = async (): Promise<void> => {
    const isOkx = random() < 0.3
    const names = NAMES.filter((name) => name.startsWith('okx') === isOkx)
    const hour = below(HOURS)
    const isAnyHour = random() < 0.3
    const rows = Array.from({ length: 1 + below(12) }, (): Trade => {
      const ns = STARTED_NS + BigInt(isAnyHour ? below(HOURS) : hour) * HOUR_NS + BigInt(below(3_600_000)) * 1_000_000n
      const [priceScale, quantityScale] = [below(5), below(5)]
      const [price, quantity] = [BigInt(1 + below(1_000_000)), BigInt(1 + below(1_000_000))]
      const index = below(names.length)
      const id = trades.length + below(1_000_000) * 1_000
      return {
        name: names[index] as string,
        ns,
        worth: price * quantity * 10n ** BigInt(8 - priceScale - quantityScale),
        row: {
          instrument: index,
          received_ns: STARTED_NS + BigInt(HOURS) * HOUR_NS + BigInt(below(1_000_000_000)),
          trade_ns: ns,
          event_ns: ns,
          stream: 1,
          trade_id: id,
          first_trade_id: id,
          last_trade_id: id,
          price_mantissa: price,
          quantity_mantissa: quantity,
          price_scale: priceScale,
          quantity_scale: quantityScale,
          side: 1 + below(2),
        },
      }
    })
    const isNew = (one: Trade): boolean => !trades.some(({ row }) => row.trade_id === one.row.trade_id)
    const fresh = rows.filter(
      (one, index) => isNew(one) && rows.findIndex((other) => other.row.trade_id === one.row.trade_id) === index,
    )
    await rig.put(
      'trades',
      names,
      fresh.map(({ row }) => row),
    )
    if (random() < 0.3)
      await rig.put(
        'trades',
        names,
        fresh.map(({ row }) => ({ ...row, received_ns: (row.received_ns as bigint) + 1_000_000n })),
        { producer: 'second' },
      )
    trades.push(...fresh)
  }

  const range = (): readonly [bigint, bigint] => {
    const ends = [below(HOURS * 60 + 1), below(HOURS * 60 + 1)].sort((a, b) => a - b)
    const step = random() < 0.5 ? 60 : 1
    const [from, to] = ends.map((end) => STARTED_NS + BigInt(end - (end % step)) * MINUTE_NS) as [bigint, bigint]
    return from === to ? [from, to + HOUR_NS] : [from, to]
  }

  const assertExact = async (): Promise<void> => {
    for (const [interval, lengthNs] of [
      ['1h', HOUR_NS],
      ['4h', 4n * HOUR_NS],
      ['7m', 7n * MINUTE_NS],
    ] as const) {
      const [fromNs, toNs] = range()
      const wanted = oracle(trades, lengthNs, fromNs, toNs)
      assert.deepEqual(
        await volumes(rig, interval, fromNs, toNs),
        wanted,
        `seed ${seed}: ${interval} ${fromNs} ${toNs}`,
      )
    }
  }

  /** Whatever is half done: hours are what their minutes are. */
  const assertSame = async (): Promise<void> => {
    const toNs = STARTED_NS + BigInt(HOURS) * HOUR_NS
    const add = (lines: readonly string[]): Record<string, number> => {
      const counts: Record<string, number> = {}
      for (const line of lines) {
        const [ns = '0', name, , count] = line.split(' ')
        const slot = `${BigInt(ns) / HOUR_NS} ${name}`
        counts[slot] = (counts[slot] ?? 0) + Number(count)
      }
      return counts
    }
    const [hours, minutes] = [await volumes(rig, '1h', STARTED_NS, toNs), await volumes(rig, '1m', STARTED_NS, toNs)]
    assert.deepEqual(add(hours), add(minutes), `seed ${seed}`)
  }

  let kills = 0
  const killedAfter = async (writes: number, isCarriedOut: boolean): Promise<void> => {
    const between = await fuse(rig.clickhouse.options.url, writes, isCarriedOut)
    cleanUp(t, between.close)
    await newJob(between.url)
      .run(signal)
      .catch(() => kills++)
  }

  await store()
  await store()
  // before any bar is there, of few trades at a time
  const direct = new Store(rig.clickhouse.options, SILENT, new GatewayCounts())
  cleanUp(t, () => direct.close())
  const question = {
    by: 'instrument',
    exchange: undefined,
    fromNs: STARTED_NS,
    toNs: STARTED_NS + BigInt(HOURS) * HOUR_NS,
    signal,
  } as const
  for (const [interval, lengthNs] of [
    ['1h', HOUR_NS],
    ['7m', 7n * MINUTE_NS],
    ['1d', 24n * HOUR_NS],
  ] as const) {
    const { rows } = await volumesOf(direct, { ...question, interval: intervalOf(interval) }, 12)
    assert.deepEqual(
      linesOf(rows),
      oracle(trades, lengthNs, question.fromNs, question.toNs),
      `seed ${seed}: ${interval} in parts`,
    )
  }
  let job = newJob(rig.clickhouse.options.url)
  for (let round = 0; round < ROUNDS; round++) {
    for (let blocks = below(3); blocks >= 0; blocks--) await store()
    if (random() < 0.4) {
      // a process that dies at some write: of open marks, minutes, hours or made marks
      await killedAfter(below(8), random() < 0.5)
      await assertSame()
      job = newJob(rig.clickhouse.options.url)
    }
    await job.run(signal)
    await assertExact()
  }
  await assertSame()

  // what the killed ones left open is made by one that comes an hour later; then one dies behind each of its writes
  let ahead = 0n
  const hoursThere = () => new Set(trades.map(({ ns }) => ns / HOUR_NS))
  const makeAll = async (): Promise<void> => {
    await newJob(rig.clickhouse.options.url, new Clock(takeAnchorNs() + ++ahead * HOUR_NS)).run(signal)
    assert.equal(await madeHours(rig), hoursThere().size, `seed ${seed}`)
  }
  await makeAll()
  await assertExact()
  for (let writes = 0; writes < 5; writes++) {
    await store()
    await killedAfter(writes, true)
    await assertSame()
    await makeAll()
    await assertExact()
  }
  const hours = hoursThere()
  // and those bars are what is added up: minutes are not needed for them
  const firstNs = STARTED_NS
  const until = [...hours].reduce((last, hour) => (hour > last ? hour : last), 0n)
  await rig.clickhouse.client.command({ query: 'TRUNCATE TABLE trade_bars' })
  const answer = await volumes(rig, '1h', firstNs, (until + 1n) * HOUR_NS)
  assert.deepEqual(answer, oracle(trades, HOUR_NS, firstNs, (until + 1n) * HOUR_NS), `seed ${seed}`)
  t.diagnostic(`${trades.length} trades, ${kills} jobs killed, ${await madeHours(rig)} hours count`)
})
