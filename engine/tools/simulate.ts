/**
 * `marketprism simulate binance|okx|deribit|bybit|all`: simulated venues as a process. Ready line first, totals last, both
 * JSON on stdout. One venue has its markets at the top of these lines; `all` has an object a venue.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EXIT_USAGE, Fault } from '../base/fault.ts'
import { parseFaults } from '../simulate/faults.ts'
import type { RecordingFile } from '../simulate/player.ts'
import { MARKET_NAMES } from '../simulate/binance/index.ts'
import type { InstrumentCounts, SimulatorOptions } from '../simulate/options.ts'
import { protocolOf } from '../simulate/protocols.ts'
import type { SimulatorHandle, SimulatorReport } from '../simulate/simulator.ts'
import { startSimulator } from '../simulate/simulator.ts'
import { EXCHANGE_NAMES } from '../simulate/venue.ts'
import type { ExchangeName, MarketName } from '../simulate/venue.ts'

export interface SimulateOptions {
  readonly simulator: Partial<SimulatorOptions>
  /** serve on after the run is over, until SIGTERM or SIGINT */
  readonly stay: boolean
  /** one line on stdout */
  readonly print: (line: string) => void
  /** ends the run early, as SIGTERM does */
  readonly signal?: AbortSignal
  /** ends the market but not the run, as SIGUSR2 does: sockets stay open until `signal` */
  readonly finish?: AbortSignal
}

/** Runs the simulator to its end (its time is over, or the signal) and prints what it sent. */
export async function runSimulate(options: SimulateOptions): Promise<SimulatorReport> {
  const simulator = await startSimulator(options.simulator)
  options.print(JSON.stringify({ ready: true, ...simulator.urls, pid: process.pid }))
  await untilOver(options, [simulator], ([report]) => ({ ...report }))
  const report = await simulator.stop()
  options.print(JSON.stringify({ done: true, ...report }))
  return report
}

/** Several venues at once, each with its share of the rate and a truth directory of its own. */
export async function runSimulateAll(
  options: Omit<SimulateOptions, 'simulator'> & { readonly simulators: readonly Partial<SimulatorOptions>[] },
): Promise<Readonly<Record<string, SimulatorReport>>> {
  const simulators: SimulatorHandle[] = []
  for (const each of options.simulators) simulators.push(await startSimulator(each))
  const byExchange = <Value>(values: readonly Value[]): Record<string, Value> =>
    Object.fromEntries(simulators.map(({ exchange }, index) => [exchange, values[index] as Value]))
  options.print(JSON.stringify({ ready: true, ...byExchange(simulators.map(({ urls }) => urls)), pid: process.pid }))
  await untilOver(options, simulators, byExchange)
  const reports = byExchange(await Promise.all(simulators.map((simulator) => simulator.stop())))
  options.print(JSON.stringify({ done: true, ...reports }))
  return reports
}

async function untilOver(
  options: Omit<SimulateOptions, 'simulator'>,
  simulators: readonly SimulatorHandle[],
  say: (reports: readonly SimulatorReport[]) => object,
): Promise<void> {
  const stopped = new Promise<void>((done) => {
    if (options.signal?.aborted === true) done()
    options.signal?.addEventListener('abort', () => done(), { once: true })
  })
  const finish = (): void => {
    for (const simulator of simulators) void simulator.finish()
  }
  options.finish?.addEventListener('abort', finish, { once: true })
  const over = Promise.all(simulators.map((simulator) => simulator.over))
  if (!options.stay) {
    await Promise.race([stopped, over])
    return
  }
  void over.then(() =>
    options.print(JSON.stringify({ over: true, ...say(simulators.map((simulator) => simulator.report())) })),
  )
  await stopped
}

/** The flags as the command line gives them: words, not yet checked. */
export interface SimulateFlags {
  readonly seed?: string
  readonly markets?: string
  readonly instruments?: string
  readonly rate?: string
  readonly seconds?: string
  readonly mix?: string
  readonly levels?: string
  readonly bookLevels?: string
  readonly startAfterStreams?: string
  readonly port?: string
  readonly truth?: string
  readonly faults?: string
  readonly faultRate?: string
  readonly closeEvery?: string
  readonly limits?: boolean
  readonly heartbeatScale?: string
  readonly life?: string
  readonly recording?: string[]
  readonly speed?: string
  readonly market?: string
  readonly stay?: boolean
}

/** flag, text: the one list of what `simulate` understands; the command line is built from it. */
export const SIMULATE_FLAGS: readonly (readonly [string, string])[] = [
  ['--seed <n>', 'the same seed gives the same market (default 1)'],
  ['--markets <list>', 'of the venue, e.g. spot,usdm,coinm (default: all)'],
  ['--instruments <n>', 'instruments of each market, or a number for each as 3,2,2 (default 2)'],
  ['--rate <n>', 'events a second over all instruments (default 1000)'],
  ['--seconds <n>', 'length of the run after its start (default: until stopped)'],
  ['--mix <a,b,c>', 'shares of bookTicker, trade, depth (default 0.65,0.23,0.12)'],
  ['--levels <n>', 'levels a depth update changes, on average (default 8)'],
  ['--book-levels <n>', 'levels a side when the market opens (default 500)'],
  ['--start-after-streams <n>', 'start when so many streams have a subscriber (default 1)'],
  ['--port <n>', 'port of the first market, the others follow (default: any free ports)'],
  ['--truth <dir>', 'write what was really sent, as RowBinary files with their structure'],
  ['--faults <json|file>', 'fault script, e.g. [{"at":5,"kind":"gap","market":"usdm"}]'],
  ['--fault-rate <n>', 'random faults a second (default 0)'],
  ['--close-every <s>', 'close one connection after the other, every so many seconds'],
  ['--no-limits', 'do not enforce limits of streams, messages, connects and REST weight'],
  ['--heartbeat-scale <x>', 'multiplies ping interval, pong deadline and the 24 h life (default 1)'],
  ['--life <s>', 'every connection is closed at this age (default: 24 h)'],
  ['--recording <file...>', 'serve recordings instead; a file may be named as usdm:FILE'],
  ['--market <market>', 'market of the recordings (default: told from the file)'],
  ['--speed <n|max>', 'recordings: times faster than recorded (default 1)'],
  ['--stay', 'serve on after the run is over, until SIGTERM'],
]

/**
 * The flags of `simulate all`. Markets, instruments, faults and the start are said by venue: `--instruments
 * binance.spot=3,okx.swap=2` (only those are simulated), `--start-after-streams okx=6`, `--faults '{"okx":[…]}'`.
 */
export function parseSimulateAllFlags(flags: SimulateFlags): {
  simulators: Partial<SimulatorOptions>[]
  stay: boolean
} {
  if ((flags.markets ?? flags.port ?? flags.recording ?? flags.market) !== undefined)
    throw new Fault('FLAG', '--markets, --port and --recording need one venue, not "all"', EXIT_USAGE)
  const { instruments, startAfterStreams, faults, rate, truth, ...shared } = flags
  const counts = countsByMarket(instruments)
  const exchanges = EXCHANGE_NAMES.filter((name) => counts === undefined || counts.has(name))
  const scripts = faults === undefined ? {} : scriptsByExchange(faults)
  const starts = new Map(startAfterStreams?.split(',').map((part) => part.split('=') as [string, string]))
  const share = rate === undefined ? undefined : String(Number(rate) / exchanges.length)
  const simulators = exchanges.map((exchange) => {
    const of = counts?.get(exchange)
    const own: SimulateFlags = {
      ...shared,
      ...(of === undefined
        ? instruments === undefined
          ? {}
          : { instruments }
        : { markets: Object.keys(of).join(), instruments: Object.values(of).join() }),
      ...(share === undefined ? {} : { rate: share }),
      ...(truth === undefined ? {} : { truth: join(truth, exchange) }),
      ...(starts.has(exchange) ? { startAfterStreams: starts.get(exchange) as string } : {}),
      ...(scripts[exchange] === undefined ? {} : { faults: JSON.stringify(scripts[exchange]) }),
    }
    return { exchange, ...parseSimulateFlags(own, exchange).simulator }
  })
  return { simulators, stay: flags.stay === true }
}

/** `okx.swap=2,bybit.spot=3`; undefined: a plain number, or nothing. */
function countsByMarket(text: string | undefined): Map<string, Record<string, string>> | undefined {
  if (text === undefined || !text.includes('=')) return undefined
  const counts = new Map<string, Record<string, string>>()
  for (const part of text.split(',')) {
    const [, exchange, market, count] = /^([a-z]+)\.([a-z]+)=(\d+)$/.exec(part.trim()) ?? []
    if (exchange === undefined || market === undefined || count === undefined)
      throw new Fault('FLAG', `--instruments has "${part}"; give exchange.market=count, e.g. okx.swap=2`, EXIT_USAGE)
    counts.set(exchange, { ...counts.get(exchange), [market]: count })
  }
  return counts
}

function scriptsByExchange(text: string): Readonly<Record<string, unknown>> {
  const script: unknown = JSON.parse(scriptText(text))
  if (typeof script === 'object' && script !== null && !Array.isArray(script)) return script as Record<string, unknown>
  throw new Fault(
    'FAULT_SCRIPT',
    'the fault script of all venues is an object: {"okx":[{"at":5,"kind":"gap"}]}',
    EXIT_USAGE,
  )
}

export function parseSimulateFlags(
  flags: SimulateFlags,
  exchange: ExchangeName = 'binance',
): { simulator: Partial<SimulatorOptions>; stay: boolean } {
  const known = Object.keys(protocolOf(exchange).markets)
  const optional = <Key extends keyof SimulatorOptions>(key: Key, value: SimulatorOptions[Key] | undefined) =>
    value === undefined ? {} : { [key]: value }
  const markets = flags.markets?.split(',').map((name) => marketName(name, exchange, known))
  const market = flags.market === undefined ? null : marketName(flags.market, 'binance', MARKET_NAMES)
  const recordings = flags.recording?.map((text) => recordingFile(text, market))
  return {
    stay: flags.stay === true,
    simulator: {
      ...(exchange === 'binance' ? {} : { exchange }),
      ...optional('seed', number('--seed', flags.seed, 0)),
      ...optional('markets', markets),
      ...optional('instruments', instrumentCounts(flags.instruments, markets ?? known)),
      ...optional('rate', number('--rate', flags.rate, 1, 2_000_000)),
      ...optional('seconds', number('--seconds', flags.seconds, 0)),
      ...optional('mix', mix(flags.mix)),
      ...optional('levelsPerUpdate', number('--levels', flags.levels, 1, 400)),
      ...optional('bookLevels', number('--book-levels', flags.bookLevels, 20, 2000)),
      ...optional('startAfterStreams', number('--start-after-streams', flags.startAfterStreams, 1)),
      ...optional('ports', ports(number('--port', flags.port, 1, 65_533), markets ?? known)),
      ...optional('truthDirectory', flags.truth),
      ...optional('faults', flags.faults === undefined ? undefined : parseFaults(scriptText(flags.faults), known)),
      ...optional('faultRate', number('--fault-rate', flags.faultRate, 0)),
      ...optional('closeEverySeconds', number('--close-every', flags.closeEvery, 0)),
      ...optional('limitsEnforced', flags.limits),
      ...optional('heartbeatScale', number('--heartbeat-scale', flags.heartbeatScale, 0)),
      ...optional('connectionLifeMs', lifeMs(number('--life', flags.life, 1))),
      ...optional('recordings', recordings),
      ...optional('speed', flags.speed === 'max' ? null : number('--speed', flags.speed, 0.001)),
    },
  }
}

function number(
  flag: string,
  text: string | undefined,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (text.trim() !== '' && value >= least && value <= most) return value
  const range = most === Number.MAX_SAFE_INTEGER ? `at least ${least}` : `${least} to ${most}`
  throw new Fault('FLAG', `${flag} is "${text}"; give a number, ${range}`, EXIT_USAGE)
}

function marketName(text: string, exchange: string, known: readonly MarketName[]): MarketName {
  const name = text.trim().replace(`${exchange}.`, '')
  if (known.includes(name)) return name
  throw new Fault('FLAG', `"${text}" is no market of ${exchange}; give ${known.join(', ')}`, EXIT_USAGE)
}

export function recordingFile(text: string, market: MarketName | null): RecordingFile {
  const named = /^(?:binance\.)?(spot|usdm|coinm):(.+)$/.exec(text)
  if (named === null) return { path: text, market }
  return { path: named[2] as string, market: named[1] as MarketName }
}

function instrumentCounts(text: string | undefined, markets: readonly MarketName[]): InstrumentCounts | undefined {
  if (text === undefined || !text.includes(',')) return number('--instruments', text, 1, 999)
  const counts = text.split(',').map((count) => number('--instruments', count, 1, 999))
  if (counts.length === markets.length)
    return Object.fromEntries(markets.map((market, index) => [market, counts[index]]))
  throw new Fault(
    'FLAG',
    `--instruments is "${text}"; give one number, or one for each of ${markets.join(', ')}`,
    EXIT_USAGE,
  )
}

const lifeMs = (seconds: number | undefined): number | undefined => (seconds === undefined ? undefined : seconds * 1000)

function mix(text: string | undefined): SimulatorOptions['mix'] | undefined {
  if (text === undefined) return undefined
  const [bookTicker = 0, trade = 0, depth = 0] = text.split(',').map((share) => number('--mix', share, 0) ?? 0)
  if (bookTicker + trade + depth > 0) return { bookTicker, trade, depth }
  throw new Fault(
    'FLAG',
    `--mix is "${text}"; give three shares of bookTicker, trade, depth, e.g. 0.65,0.23,0.12`,
    EXIT_USAGE,
  )
}

function ports(first: number | undefined, markets: readonly MarketName[]): SimulatorOptions['ports'] | undefined {
  if (first === undefined) return undefined
  return Object.fromEntries(markets.map((market, index) => [market, first + index]))
}

function scriptText(text: string): string {
  if (/^\s*[[{]/.test(text)) return text
  try {
    return readFileSync(text, 'utf8')
  } catch (error) {
    throw new Fault(
      'FAULT_SCRIPT',
      `the fault script ${text} can not be read (${(error as Error).message}); give a JSON array or a file that holds one`,
      EXIT_USAGE,
    )
  }
}
