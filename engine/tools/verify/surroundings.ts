/** What the engine meets outside: its own ports, a gateway that runs, the venues through the configured proxies. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { Clock } from '../../base/clock.ts'
import { freshSeed, seededRandom } from '../../base/random.ts'
import type { Run } from '../../base/run.ts'
import type { FeedRules } from '../../exchanges/exchange.ts'
import { BanFile } from '../../feed/ban-file.ts'
import { CLOCK_OFFSET_DEFAULTS, type ClockOffset, offsetOf } from '../../feed/clock-offset.ts'
import { hidePassword } from '../../feed/proxy.ts'
import { REST_DEFAULTS, RestClient } from '../../feed/rest.ts'
import { type FeedTime, realTime } from '../../feed/timer.ts'
import { WEIGHT_DEFAULTS, WeightLedger } from '../../feed/weight.ts'
import { BAN_FILE_NAME, CLOCK_FILE_NAME } from '../../roles/network.ts'
import { chosenMarkets, dataDirectory, exchangeRules, type MarketChoice } from '../../roles/settings.ts'
import { askJson, isGateway, type JsonAnswer, refusesName } from '../ask-json.ts'
import type { Findings } from './findings.ts'

const VENUE_MS_MAX = 5_000
/** An offset that was measured longer ago says nothing of now. */
const OFFSET_AGE_MS_MAX = 3_600_000

/** A page of the engine: who holds its port? */
interface Page {
  readonly what: string
  readonly host: string
  readonly port: number
  readonly key: string
  readonly path: string
  /** whether what answers there is ours */
  readonly isOurs: (answer: JsonAnswer | undefined) => answer is JsonAnswer
}

export async function checkPorts(findings: Findings, { config }: Run): Promise<void> {
  const { observe, serve } = config
  const pages: Page[] = [
    { what: 'gateway', ...serve, key: 'serve.port', path: '/v1/status', isOurs: isGateway },
    ...(observe.enabled ? [{ what: 'pages', ...observe, key: 'observe.port', path: '/health', isOurs: isHealth }] : []),
  ]
  for (const page of pages) await checkPort(findings, page)
}

const isHealth = (answer: JsonAnswer | undefined): answer is JsonAnswer =>
  String((answer?.body as { service?: unknown } | null | undefined)?.service).startsWith('marketprism')

async function checkPort(findings: Findings, page: Page): Promise<void> {
  const { what, host, port, key } = page
  const name = `port of the ${what}`
  if (port === 0) return findings.skipped(name, `${key} = 0: any free one`)
  const refusal = await whyNotFree(host, port)
  if (refusal === '') return findings.good(name, `${host}:${port} is free; no ${what} of ours runs there`)
  const at = `${host}:${port}`
  if (refusal !== 'EADDRINUSE')
    return findings.bad(name, `${at} cannot be opened (${refusal})`, `set ${key} or its host to what this machine has`)
  const asked = askedAs(host)
  const answer = await ask(page, asked)
  if (page.isOurs(answer) && refusesName(answer))
    return findings.bad(
      name,
      `${at} is ours, but refuses to be called ${asked} (${answer.status})`,
      `add ${asked} to serve.hosts`,
    )
  if (page.isOurs(answer))
    return findings.good(
      name,
      `${at} is ours: it answers ${page.path} with ${answer.status} in ${answer.ms.toFixed(0)} ms`,
    )
  findings.bad(
    name,
    `${at} is in use by another program`,
    `end that program, or set ${key} to another port (0 = any free one)`,
  )
}

/** @returns '' when it is free. It is opened for a moment and closed again. */
function whyNotFree(host: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', ({ code = 'unknown' }: NodeJS.ErrnoException) => resolve(code))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve('')))
  })
}

/** Who listens on every address is asked on loopback. */
function askedAs(host: string): string {
  return host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
}

async function ask({ port, path }: Page, host: string): Promise<JsonAnswer | undefined> {
  const where = host.includes(':') ? `[${host}]` : host
  return (await askJson(`http://${where}:${port}${path}`)) ?? (await askJson(`https://${where}:${port}${path}`))
}

/** The time of each enabled venue, asked once a market: is it there, and how far is our clock from its? */
export async function checkVenues(findings: Findings, run: Run, isOffline: boolean): Promise<void> {
  const { config } = run
  const choices = chosenMarkets(config)
  if (choices.length === 0)
    return findings.bad('venues', 'no market is enabled', 'set exchanges.….enabled and instruments')
  const time = realTime(new Clock())
  if (isOffline) {
    findings.skipped('venues', `not asked (--offline): ${choices.map(({ key }) => key).join(', ')}`)
    return checkStoredOffsets(findings, dataDirectory(config, CLOCK_FILE_NAME), time)
  }
  const bans = new BanFile(dataDirectory(config, BAN_FILE_NAME), run.log)
  const rules = exchangeRules(config)
  const offsets = await Promise.all(
    choices.map(async (choice) => {
      const own = rules.get(choice.exchange)
      const bannedUntilMs = bans.untilMs(choice.exchange, time.nowMs())
      if (own === undefined) return undefined
      if (bannedUntilMs === 0) return await checkVenue(findings, choice, own, time)
      findings.bad(
        `venue ${choice.key}`,
        `REST refuses this address until ${new Date(bannedUntilMs).toISOString()}, and is not asked before`,
        'wait; then ask less (exchanges.….restWeightShare)',
      )
      return undefined
    }),
  )
  const measured = offsets.filter((offset) => offset !== undefined)
  if (measured.length === 0) checkStoredOffsets(findings, dataDirectory(config, CLOCK_FILE_NAME), time)
  else tellOffset(findings, 'asked now', ...measured)
}

async function checkVenue(
  findings: Findings,
  choice: MarketChoice,
  rules: FeedRules,
  time: FeedTime,
): Promise<ClockOffset | undefined> {
  const { key, exchange, market, proxy, restUrl } = choice
  const place = rules.markets[market]
  if (place === undefined) return undefined
  const weightPerMinute = { [market]: place.limits.weightPerMinuteMax }
  const ledger = new WeightLedger({ ...WEIGHT_DEFAULTS, exchange, weightPerMinute }, time)
  const base = restUrl === '' ? place.restBase : restUrl
  const rest = new RestClient(
    {
      ...REST_DEFAULTS,
      market,
      base,
      proxy,
      usedWeightHeader: rules.usedWeightHeader,
      triesMax: 1,
      tryTimeoutMs: VENUE_MS_MAX,
      totalTimeoutMs: VENUE_MS_MAX,
    },
    { ledger, time, random: seededRandom(freshSeed()) },
  )
  const what = `venue ${key}`
  const way = proxy === '' ? '' : ` through ${hidePassword(proxy)}`
  let sentMs = time.nowMs()
  try {
    const body = await rest.get(rules.serverTimeRequest(market), 'audit', () => {
      sentMs = time.nowMs()
    })
    const offset = offsetOf(sentMs, rules.readServerTime(body.toString('utf8')), time.nowMs())
    findings.good(what, `${new URL(base).host}${way} answers in ${offset.rttMs.toFixed(0)} ms`)
    return offset
  } catch (error) {
    const [line = ''] = (error as Error).message.split('; check')
    findings.bad(
      what,
      `${line.replace(/ (E[A-Z]+|UND_\w+) .*/, ' $1')}${way}`,
      'check the network, the proxy and restUrl of this market; without a network say --offline',
    )
    return undefined
  } finally {
    ledger.close()
    await rest.close()
  }
}

/** Of several the one with the shortest way counts; it is wrong by at most half of it. */
function tellOffset(findings: Findings, when: string, ...offsets: readonly ClockOffset[]): void {
  const [best] = [...offsets].sort((a, b) => a.rttMs - b.rttMs)
  if (best === undefined) return
  const { offsetMs, rttMs } = best
  const detail = `the venues' is ${offsetMs.toFixed(1)} ms ahead of ours, ± ${(rttMs / 2).toFixed(1)} (${when})`
  const what = 'clock against venues'
  if (Math.abs(offsetMs) - rttMs / 2 <= CLOCK_OFFSET_DEFAULTS.warnMs) findings.good(what, detail)
  else findings.bad(what, detail, 'let chrony or systemd-timesyncd keep the time of this machine')
}

/** What a collector wrote down last. */
function checkStoredOffsets(findings: Findings, path: string, time: FeedTime): void {
  const what = 'clock against venues'
  try {
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
    const { measuredMs, offsetMs, errorMs } = JSON.parse(lines.at(-1) ?? '') as Record<string, number>
    if (measuredMs === undefined || offsetMs === undefined || errorMs === undefined)
      throw new Error('not a measurement')
    const when = new Date(measuredMs).toISOString()
    if (time.nowMs() - measuredMs > OFFSET_AGE_MS_MAX) findings.skipped(what, `last measured ${when}, too long ago`)
    else tellOffset(findings, `measured ${when}`, { offsetMs, rttMs: errorMs * 2, measuredMs })
  } catch {
    findings.skipped(what, 'never measured here')
  }
}
