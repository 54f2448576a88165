import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { TestContext } from 'node:test'
import { cleanUp } from './clean-up.ts'
import { CLICKHOUSE_DEFAULT, createClickHouseClient } from '../../engine/sinks/clickhouse.ts'
import { type Check, CHECKED_TABLES, checkAgainstTruth } from '../../engine/tools/demo/check.ts'
import { startVenue, type Venue } from '../../engine/tools/demo/venue.ts'
import { type RunningCli, startCli } from './cli.ts'
import { startClickHouse, temporaryDirectory, until } from './embedded.ts'

/**
 * The engine as a process of its own against a simulated venue as another, both to be attacked from outside: by signals,
 * by faults of the venue, by full disks. What it did is read from its pages and, when it has ended, from its tables.
 */

export type Market = 'spot' | 'usdm' | 'coinm'

export interface RigVenue extends Venue {
  readonly truthDirectory: string
  /** flags that point an engine at it */
  readonly flags: readonly string[]
}

export interface VenueWish {
  readonly markets?: readonly Market[]
  /** of each market */
  readonly instruments?: number
  readonly rate?: number
  readonly seconds?: number | null
  readonly faults?: readonly Record<string, unknown>[]
  readonly moreFlags?: readonly string[]
}

const CHILDREN_MS_MAX = 20_000
const CHANNELS = ['book', 'trades', 'book_tickers']

export async function rigVenue(t: TestContext, wish: VenueWish = {}): Promise<RigVenue> {
  const { markets = ['spot', 'usdm', 'coinm'], instruments = 2, rate = 3000, seconds = null, faults = [] } = wish
  const truthDirectory = path.join(temporaryDirectory(t), 'truth')
  const venue = await startVenue({
    seconds,
    rate,
    seed: 7,
    recordings: [],
    speed: 1,
    truthDirectory,
    markets: Object.fromEntries(
      markets.map((market) => [`binance.${market}`, { count: instruments, channels: CHANNELS }]),
    ),
    moreFlags: [...(faults.length === 0 ? [] : ['--faults', JSON.stringify(faults)]), ...(wish.moreFlags ?? [])],
  })
  cleanUp(t, () => venue.kill())
  const flags: string[] = []
  for (const market of ['spot', 'usdm', 'coinm'] as const) {
    const at = `exchanges.binance.${market}`
    const urls = venue.urls[`binance.${market}`]
    if (urls === undefined) flags.push('--set', `${at}.enabled=false`)
    else
      flags.push(
        ...[`instruments=*`, `channels=${CHANNELS}`, `wsUrl=${urls.ws}`, `restUrl=${urls.rest}`].flatMap((text) => [
          '--set',
          `${at}.${text}`,
        ]),
      )
  }
  return { ...venue, truthDirectory, flags }
}

export interface RigEngine extends RunningCli {
  readonly clickHouseUrl: string
  readonly dataDirectory: string
  /** sum over the labels, or over those that hold all of `labels` */
  metric(name: string, labels?: Record<string, string>): Promise<number>
  page(name: string): Promise<Response>
  sql<Row = Record<string, string>>(query: string): Promise<Row[]>
  /** pid of a child whose command line has this word */
  child(word: string): number
  booksLive(count: number, msMax: number): Promise<void>
}

export async function rigEngine(
  t: TestContext,
  dataDirectory: string,
  flags: readonly string[],
  variables: Record<string, string> = {},
): Promise<RigEngine> {
  const cli = startCli(['collect', 'store', '--data', dataDirectory, ...flags], variables)
  cleanUp(t, async () => {
    const children = childrenOf(cli.pid)
    cli.kill('SIGKILL')
    await cli.ended
    await until(() => !children.some(isAlive), CHILDREN_MS_MAX, 'the servers of a killed engine end')
  })
  const [place, pages] = await Promise.all([cli.line(/^marketprism: ClickHouse: /), cli.line(/^marketprism: pages: /)])
  await cli.line(/^marketprism: collecting /)
  const clickHouseUrl = (/http:\/\/[\d.:]+/.exec(place) as RegExpExecArray)[0]
  const pagesUrl = (/http:\/\/[\d.:]+/.exec(pages) as RegExpExecArray)[0]
  const page = (name: string) => fetch(`${pagesUrl}/${name}`)
  const metric = async (name: string, labels: Record<string, string> = {}) =>
    sumOf(await (await page('metrics')).text(), name, labels)
  return {
    ...cli,
    clickHouseUrl,
    dataDirectory,
    metric,
    page,
    sql: (query) => askHttp(clickHouseUrl, query),
    child: (word) => childOf(cli.pid, word),
    booksLive: (count, msMax) =>
      until(async () => (await metric('marketprism_books', { state: 'LIVE' })) === count, msMax, `${count} books LIVE`),
  }
}

function sumOf(text: string, name: string, labels: Record<string, string>): number {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`)
  let sum = 0
  for (const line of text.split('\n')) {
    const [, found, inner = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
    if (found === name && wanted.every((part) => inner.includes(part))) sum += Number(value)
  }
  return sum
}

async function askHttp<Row>(url: string, query: string): Promise<Row[]> {
  const answer = await fetch(`${url}/?database=marketprism&output_format_json_quote_64bit_integers=1`, {
    method: 'POST',
    body: `${query} FORMAT JSONEachRow`,
  })
  const text = await answer.text()
  assert.equal(answer.status, 200, text)
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Row)
}

export function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .split(' ')
      .filter((word) => word !== '')
      .map(Number)
  } catch {
    return []
  }
}

function childOf(pid: number, word: string): number {
  const found = childrenOf(pid).find((child) => readFileSync(`/proc/${child}/cmdline`, 'utf8').includes(word))
  assert.ok(found !== undefined, `no child with ${word}`)
  return found
}

export const isAlive = (pid: number): boolean =>
  existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))

/** What the venue sent to the end has arrived in the engine. */
export async function arrived(engine: RigEngine, venue: Venue): Promise<void> {
  venue.finish()
  await venue.over
  let before = -1
  await until(
    async () => {
      const now = await engine.metric('marketprism_messages_total')
      const isQuiet = now === before
      before = now
      await new Promise((resolve) => setTimeout(resolve, 300))
      return isQuiet
    },
    20_000,
    'all messages arrive',
  )
}

export interface AfterRun {
  readonly check: Check
  readonly missing: number
  readonly doubled: number
  readonly wrong: number
  sql<Row = Record<string, string>>(query: string): Promise<Row[]>
  readonly books: readonly {
    market: string
    symbol: string
    lastSeq: number
    bids: [number, number][]
    asks: [number, number][]
  }[]
  readonly losses: readonly LossNote[]
}

export interface LossNote {
  readonly market: string
  readonly symbol: string
  readonly stream: string
  readonly cause: string
  readonly firstId: number
  readonly lastId: number
  readonly count: number
}

/** Opens the tables of an engine that has ended and holds them against what the venue wrote down. */
export async function afterRun(t: TestContext, dataDirectory: string, venue: RigVenue): Promise<AfterRun> {
  await venue.stop()
  const server = await startClickHouse(t, { dataDirectory: path.join(dataDirectory, 'clickhouse') })
  const client = createClickHouseClient({ ...CLICKHOUSE_DEFAULT, url: server.url, database: 'default' })
  cleanUp(t, () => client.close())
  const check = await checkAgainstTruth(client, 'marketprism', venue.truthDirectory)
  const sum = (name: 'missing' | 'doubled' | 'wrong') =>
    CHECKED_TABLES.reduce((total, table) => total + check[table][name], 0)
  const ndjson = <Row>(name: string): Row[] =>
    readFileSync(path.join(venue.truthDirectory, name), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Row)
  return {
    check,
    missing: sum('missing'),
    doubled: sum('doubled'),
    wrong: sum('wrong'),
    sql: (query) => askHttp(server.url, query),
    books: ndjson('books.ndjson'),
    losses: ndjson<{ loss?: LossNote }>('faults.ndjson').flatMap(({ loss }) => (loss === undefined ? [] : [loss])),
  }
}
