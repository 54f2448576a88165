/**
 * Many sockets, closed again and again by the venue, for a long time. Run by `npm run soak -- [--seconds 600]
 * [--sockets 150] [--close-every 3]`; test/system.soak.test.ts runs it for a short while.
 *
 * What it checks, against the simulator's own notes: no socket is leaked (never more than planned, all back at the end);
 * after each close all books are LIVE again within `liveMsMax`; each close is a closed gap row for every channel of every
 * instrument that the socket carried; every id that nobody heard lies inside a gap row; nothing else is missing, doubled
 * or wrong.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../../engine/base/config.ts'
import { createLog } from '../../engine/base/log.ts'
import type { Collector } from '../../engine/roles/collector.ts'
import { startProcess } from '../../engine/roles/process.ts'
import { createClickHouseClient } from '../../engine/sinks/clickhouse.ts'
import { type Check, checkAgainstTruth } from '../../engine/tools/demo/check.ts'
import { startVenue } from '../../engine/tools/demo/venue.ts'

export interface SoakOptions {
  readonly seconds: number
  /** over three markets */
  readonly sockets: number
  readonly closeEverySeconds: number
  readonly rate: number
}

export interface SoakResult {
  readonly sockets: number
  readonly closes: number
  readonly socketsMax: number
  readonly socketsAtEnd: number
  /** longest time from a close until each book that it carried was LIVE again */
  readonly liveMsMax: number
  readonly gapRows: number
  readonly gapsOpenAtEnd: number
  /** closes without a gap row for a channel of theirs */
  readonly closesWithoutGap: number
  /** ids that nobody heard and that no gap row covers, or that are missing although they were heard */
  readonly unexplained: number
  /** the same without looking at the gap rows: a control that the check can fail */
  readonly unexplainedWithoutGaps: number
  readonly check: Check
  readonly rssMiB: readonly number[]
  /** what was not well when books had been down for SLOW_MS */
  readonly slow: readonly string[]
}

const MARKETS = ['spot', 'usdm', 'coinm'] as const
const CHANNELS = 'book,trades,book_tickers'
const LOOK_MS = 20
const SETTLE_MS = 5_000
const MIB = 2 ** 20
const SLOW_MS = 4_000

function whatIsWrong(collector: Collector): string {
  const { network } = collector
  const sockets = network.connections
    .filter(({ state }) => state !== 'open')
    .map(({ options, state, lastReason }) => `${options.name} ${state} after ${lastReason}`)
  const { stats, pendingCount } = network.snapshots
  const markets = [...network.markets.values()].map(({ choice, ledger }) => ({
    [choice.market]: ledger.stats(choice.market),
  }))
  const states = ['BUFFERING', 'GAP', 'RESYNC'].map(
    (state) => `${state} ${collector.total(`books_${state}` as 'books_GAP')}`,
  )
  return JSON.stringify({ states, sockets, pendingCount, stats, old: collector.total('snapshots_old'), markets })
}

interface ClosedNote {
  readonly closed: number
  readonly market: string
  readonly timeMs: number
  readonly streams: readonly (readonly [name: string, lastId: number])[]
}

export async function soak(options: SoakOptions): Promise<SoakResult> {
  const directory = mkdtempSync(join(tmpdir(), 'marketprism-soak-'))
  const truthDirectory = join(directory, 'truth')
  const perMarket = Math.ceil(options.sockets / MARKETS.length)
  const channels = CHANNELS.split(',')
  const markets = Object.fromEntries(MARKETS.map((market) => [`binance.${market}`, { count: perMarket, channels }]))
  const venue = await startVenue({
    seconds: options.seconds,
    rate: options.rate,
    seed: 1,
    recordings: [],
    speed: 1,
    truthDirectory,
    markets,
    moreFlags: ['--close-every', String(options.closeEverySeconds)],
  })
  try {
    const flags = [`data.directory=${directory}`, 'delivery=direct', 'observe.enabled=false', 'log.level=error']
    for (const market of MARKETS) {
      const at = `exchanges.binance.${market}`
      flags.push(`${at}.instruments=*`, `${at}.channels=${CHANNELS}`, `${at}.connections=${perMarket}`)
      flags.push(
        `${at}.wsUrl=${venue.urls[`binance.${market}`]?.ws}`,
        `${at}.restUrl=${venue.urls[`binance.${market}`]?.rest}`,
      )
    }
    const effective = loadConfig({ variables: {}, flags: flags.map((text) => ({ text, label: '--set' })) })
    const { config } = effective
    const roles = ['collect', 'store']
    const log = createLog('error', 'soak')
    const stop = new AbortController().signal
    const engine = await startProcess({ config, effective, log, version: 'soak', roles, stop })
    try {
      return await watch(engine, venue, config.clickhouse.database, truthDirectory)
    } finally {
      await engine.stop()
    }
  } finally {
    await venue.kill()
    rmSync(directory, { recursive: true, force: true })
  }
}

type Engine = Awaited<ReturnType<typeof startProcess>>
type Venue = Awaited<ReturnType<typeof startVenue>>

async function watch(engine: Engine, venue: Venue, database: string, truthDirectory: string): Promise<SoakResult> {
  const { collector } = engine
  if (collector === undefined) throw new Error('the soak needs a collector')
  const planned = collector.plan.connections.length
  const openSockets = (): number =>
    [...collector.network.markets.values()].reduce((sum, { stats }) => sum + stats.openSockets, 0)
  const isWhole = (): boolean => collector.total('books_LIVE') === collector.instrumentCount
  let isOver = false
  void venue.over.then(() => {
    isOver = true
  })
  let socketsMax = 0
  let brokenSinceMs: number | undefined
  let hasBeenWhole = false
  const rss: number[] = []
  const slow: string[] = []
  let isSlowTold = false
  const startedMs = performance.now()
  while (!isOver) {
    await sleep(LOOK_MS)
    socketsMax = Math.max(socketsMax, openSockets())
    const nowMs = performance.now()
    if (isWhole()) {
      hasBeenWhole = true
      brokenSinceMs = undefined
      isSlowTold = false
    } else {
      brokenSinceMs ??= nowMs
      if (hasBeenWhole && !isSlowTold && nowMs - brokenSinceMs > SLOW_MS) {
        isSlowTold = true
        slow.push(whatIsWrong(collector))
      }
    }
    if (rss.length < (nowMs - startedMs) / 5_000) rss.push(Math.round(process.memoryUsage.rss() / MIB))
  }
  const settleAt = performance.now() + SETTLE_MS
  while ((!isWhole() || openSockets() !== planned) && performance.now() < settleAt) await sleep(LOOK_MS)
  const socketsAtEnd = openSockets()
  await sleep(1_000) // what is under way arrives
  await engine.stopRoles()
  await venue.stop()
  const clickhouse = engine.servers.clickhouse
  if (clickhouse === undefined) throw new Error('the soak needs ClickHouse')
  const client = createClickHouseClient(clickhouse)
  try {
    const ask = async <Row>(query: string): Promise<Row[]> =>
      (await client.query({ query, format: 'JSONEachRow' })).json<Row>()
    const gaps = await ask<GapRow>(
      `SELECT market, symbol, toString(channel) AS channel, toString(status) AS status, toString(cause) AS cause, from_seq, to_seq, toUnixTimestamp64Milli(from_ns) AS from_ms, toUnixTimestamp64Milli(to_ns) AS to_ms FROM ${database}.gaps FINAL`,
    )
    const notes = readFileSync(join(truthDirectory, 'faults.ndjson'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    const closes = notes.filter(
      (note): note is Record<string, unknown> & ClosedNote => note.closed !== undefined && note.by !== 'client',
    )
    const losses = notes.flatMap((note) => (note.loss === undefined ? [] : [note.loss as LossNote]))
    const check = await checkAgainstTruth(client, database, truthDirectory)
    return {
      sockets: planned,
      closes: closes.length,
      socketsMax,
      socketsAtEnd,
      liveMsMax: Math.max(0, ...closes.flatMap((close) => recoveryMs(close, gaps))),
      gapRows: gaps.length,
      gapsOpenAtEnd: gaps.filter(({ status }) => status === 'open').length,
      closesWithoutGap: closes.filter((close) => !isCovered(close, gaps)).length,
      unexplained: losses.filter((loss) => !isExplained(loss, gaps)).length,
      unexplainedWithoutGaps: losses.filter((loss) => !isExplained(loss, [])).length,
      check,
      slow,
      rssMiB: rss.filter((_, index) => index % Math.max(1, Math.floor(rss.length / 8)) === 0),
    }
  } finally {
    await client.close()
  }
}

interface LossNote {
  readonly market: string
  readonly stream: string
  readonly firstId: number
  readonly lastId: number
}

interface GapRow {
  readonly market: string
  readonly symbol: string
  readonly channel: string
  readonly status: string
  readonly cause: string
  readonly from_seq: string
  readonly to_seq: string
  readonly from_ms: string
  readonly to_ms: string
}

/** The receive time of the last frame may lie a little before or after the venue's note of the close. */
const CLOCK_SLACK_MS = 1_500

function channelOf(stream: string): string {
  if (stream.includes('@depth')) return 'book'
  return stream.endsWith('@bookTicker') ? 'book_tickers' : 'trades'
}

const symbolOf = (stream: string): string => (stream.split('@', 1)[0] as string).toUpperCase()

/** From the venue's note of the close to the anchor, for each book of the socket. */
function recoveryMs(close: ClosedNote, gaps: readonly GapRow[]): number[] {
  return close.streams
    .filter(([stream]) => channelOf(stream) === 'book')
    .map(([stream]) => {
      const ends = gaps
        .filter((gap) => gap.market === close.market && gap.symbol === symbolOf(stream) && gap.channel === 'book')
        .filter((gap) => gap.status === 'closed' && Number(gap.to_ms) >= close.timeMs)
        .map((gap) => Number(gap.to_ms) - close.timeMs)
      return Math.min(...ends)
    })
}

function isCovered(close: ClosedNote, gaps: readonly GapRow[]): boolean {
  return close.streams.every(([stream]) =>
    gaps.some(
      (gap) =>
        gap.market === close.market &&
        gap.symbol === symbolOf(stream) &&
        gap.channel === channelOf(stream) &&
        Number(gap.from_ms) <= close.timeMs + CLOCK_SLACK_MS &&
        (gap.status === 'open' || Number(gap.to_ms) >= close.timeMs - CLOCK_SLACK_MS),
    ),
  )
}

/** A loss of the venue's notes names stream, first and last id; some gap row must hold all of them. */
function isExplained({ market, stream, firstId, lastId }: LossNote, gaps: readonly GapRow[]): boolean {
  return gaps.some(
    (gap) =>
      gap.market === market &&
      gap.symbol === symbolOf(stream) &&
      gap.channel === channelOf(stream) &&
      Number(gap.from_seq) < firstId &&
      (gap.status === 'open' || Number(gap.to_seq) === 0 || Number(gap.to_seq) >= lastId),
  )
}

function flagOf(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? fallback : Number(process.argv[at + 1])
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const result = await soak({
    seconds: flagOf('seconds', 600),
    sockets: flagOf('sockets', 150),
    closeEverySeconds: flagOf('close-every', 3),
    rate: flagOf('rate', 5_000),
  })
  process.stdout.write(`${JSON.stringify(result)}\n`)
  process.exit(0)
}
