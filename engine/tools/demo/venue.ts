/** The simulated venues as a child process of the demo. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Fault } from '../../base/fault.ts'
import type { SimulatorReport } from '../../simulate/simulator.ts'
import type { FaultSpec } from '../../simulate/faults.ts'
import { EXCHANGE_NAMES, type ExchangeName } from '../../simulate/venue.ts'

/** `binance.usdm` → so many instruments, and what the engine asks for each of them. */
export type MarketPlans = Readonly<Record<string, MarketPlan>>

interface MarketPlan {
  readonly count: number
  readonly channels: readonly string[]
  /** how old a socket gets; absent: as configured */
  readonly lifeSeconds?: number
  /** how often the venue is asked what it lists, and how long nothing at all may come; absent: as configured */
  readonly universeSeconds?: number
  readonly silenceMs?: number
}

export type FaultScripts = Readonly<Partial<Record<ExchangeName, readonly FaultSpec[]>>>

export interface VenueOptions {
  readonly seconds: number | null
  readonly rate: number
  readonly seed: number | undefined
  /** of Binance; then there are no other venues */
  readonly recordings: readonly string[]
  readonly speed: number
  readonly truthDirectory: string
  readonly markets: MarketPlans
  /** what goes wrong, by venue */
  readonly faults?: FaultScripts
  /** flags of `marketprism simulate` beyond these */
  readonly moreFlags?: readonly string[]
}

export interface Bases {
  readonly ws: string
  readonly rest: string
}

export interface Venue {
  /** by `exchange.market` */
  readonly urls: Readonly<Record<string, Bases>>
  readonly pid: number
  /** in the order of the truth directories */
  readonly exchanges: readonly ExchangeName[]
  /** of the truth, one a venue */
  readonly truthDirectories: readonly string[]
  /** the market has come to its end; sockets stay open */
  readonly over: Promise<void>
  /** ends the market now, if it has not ended by itself; `over` follows when its last events have left */
  finish(): void
  /** ends the process; what it sent is in the truth directories and in the reports */
  stop(): Promise<VenueReport>
  /** ends the process at once, if it still runs */
  kill(): Promise<void>
}

/** What is said of all venues together. */
export type VenueReport = Pick<
  SimulatorReport,
  'runSeconds' | 'eventsPerSecond' | 'lateMsMax' | 'cpuSeconds' | 'events' | 'losses' | 'faults' | 'kinds'
>

/** A report, or one an exchange. */
type Line = Readonly<Record<string, unknown>> & { readonly ready?: true; readonly over?: true; readonly done?: true }

export async function startVenue(options: VenueOptions): Promise<Venue> {
  const main = fileURLToPath(new URL('../../main.js', import.meta.url))
  const exchanges = EXCHANGE_NAMES.filter((name) =>
    Object.keys(options.markets).some((key) => key.startsWith(`${name}.`)),
  )
  const isBinance = exchanges.length === 1 && exchanges[0] === 'binance'
  const child = spawn(
    process.execPath,
    [main, 'simulate', isBinance ? 'binance' : 'all', ...flagsOf(options, isBinance)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true, // Ctrl-C is for the demo, which ends the venue when all has arrived
    },
  )
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  process.once('exit', () => child.kill('SIGKILL'))
  const lines = listen(child)
  const ready = await Promise.race([lines.ready, exited.then(() => undefined)])
  if (ready === undefined) {
    throw new Fault(
      'SIMULATOR',
      `the simulated venue ended before it began (exit code ${child.exitCode}); its reason stands above`,
    )
  }
  let report: Promise<VenueReport> | undefined
  const stop = (): Promise<VenueReport> => {
    report ??= (async () => {
      child.kill('SIGTERM')
      const last = await Promise.race([lines.done, exited.then(() => undefined)])
      await exited
      if (last === undefined)
        throw new Fault('SIMULATOR', `the simulated venue ended without a report (exit code ${child.exitCode})`)
      return together(isBinance ? [last] : exchanges.map((name) => last[name]))
    })()
    return report
  }
  return {
    urls: urlsOf(isBinance ? { binance: ready } : ready),
    pid: child.pid as number,
    exchanges,
    truthDirectories: isBinance
      ? [options.truthDirectory]
      : exchanges.map((name) => join(options.truthDirectory, name)),
    over: Promise.race([lines.over, exited]),
    finish: () => void child.kill('SIGUSR2'),
    stop,
    kill: async () => {
      child.kill('SIGKILL')
      await exited
    },
  }
}

/** The ready line by `exchange.market`. */
function urlsOf(line: Readonly<Record<string, unknown>>): Record<string, Bases> {
  return Object.fromEntries(
    EXCHANGE_NAMES.flatMap((exchange) =>
      Object.entries((line[exchange] ?? {}) as Record<string, Bases>)
        .filter(([, bases]) => bases.ws !== undefined)
        .map(([market, bases]) => [`${exchange}.${market}`, bases]),
    ),
  )
}

/** The simulators of one process: rates add up, times are the longest, the processor is counted once. */
function together(lines: readonly unknown[]): VenueReport {
  const reports = lines as readonly SimulatorReport[]
  const most = (of: (report: SimulatorReport) => number): number => Math.max(...reports.map(of))
  const sum = (of: (report: SimulatorReport) => number): number => reports.reduce((total, each) => total + of(each), 0)
  const kinds: Record<string, number> = {}
  for (const report of reports) {
    for (const [name, count] of Object.entries(report.kinds)) kinds[name] = (kinds[name] ?? 0) + count
  }
  return {
    kinds,
    runSeconds: most(({ runSeconds }) => runSeconds),
    eventsPerSecond: sum(({ eventsPerSecond }) => eventsPerSecond),
    lateMsMax: most(({ lateMsMax }) => lateMsMax),
    cpuSeconds: most(({ cpuSeconds }) => cpuSeconds),
    events: sum(({ events }) => events),
    losses: sum(({ losses }) => losses),
    faults: sum(({ faults }) => faults),
  }
}

function listen(child: ChildProcess) {
  let onReady: (line: Line) => void = () => {}
  let onOver: () => void = () => {}
  let onDone: (line: Line) => void = () => {}
  const ready = new Promise<Line>((resolve) => (onReady = resolve))
  const over = new Promise<void>((resolve) => (onOver = resolve))
  const done = new Promise<Line>((resolve) => (onDone = resolve))
  createInterface({ input: child.stdout as NonNullable<ChildProcess['stdout']> }).on('line', (text) => {
    const line = JSON.parse(text) as Line
    if (line.ready) onReady(line)
    else if (line.over) onOver()
    else if (line.done) onDone(line)
  })
  return { ready, over, done }
}

/** Channels with a stream that the events of the market feed. */
const EVENT_CHANNELS = ['book', 'trades', 'agg_trades', 'book_tickers']

function flagsOf(options: VenueOptions, isBinance: boolean): string[] {
  const flags = ['--stay', '--truth', options.truthDirectory, ...(options.moreFlags ?? [])]
  const faults = isBinance ? options.faults?.binance : options.faults
  if (faults !== undefined) flags.push('--faults', JSON.stringify(faults))
  if (options.seed !== undefined) flags.push('--seed', String(options.seed))
  if (options.seconds !== null) flags.push('--seconds', String(options.seconds))
  if (options.recordings.length > 0) {
    const speed = Number.isFinite(options.speed) ? String(options.speed) : 'max'
    return [...flags, '--speed', speed, '--recording', ...options.recordings]
  }
  const markets = Object.entries(options.markets)
  const streams = new Map<string, number>()
  for (const [key, { count, channels }] of markets) {
    const [exchange = ''] = key.split('.')
    const heard = channels.filter((channel) => EVENT_CHANNELS.includes(channel)).length
    streams.set(exchange, (streams.get(exchange) ?? 0) + count * heard)
  }
  const names = markets.map(([key]) => key.split('.')[1] as string)
  const instruments = isBinance
    ? ['--markets', names.join(), '--instruments', markets.map(([, { count }]) => count).join()]
    : ['--instruments', markets.map(([key, { count }]) => `${key}=${count}`).join()]
  const starts = [...streams].map(([exchange, count]) => (isBinance ? String(count) : `${exchange}=${count}`))
  return [...flags, ...instruments, '--rate', String(options.rate), '--start-after-streams', starts.join()]
}
