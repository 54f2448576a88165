import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'
import WebSocket from 'ws'
import { Clock } from '../engine/base/clock.ts'
import type { FeedMarket, FeedRules, Instrument } from '../engine/exchanges/exchange.ts'
import { feedRules } from '../engine/exchanges/index.ts'
import { type SimulatorUrls, startSimulator } from '../engine/simulate/simulator.ts'
import type { BenchVenue } from './venues.ts'

const SEED = 1
const RATE = 20_000
const SECONDS = 5
/** What the recorded USD-M messages have. */
const MIX = { bookTicker: 0.7, trade: 0.23, depth: 0.07 }
/**
 * The seconds of the run are told as minutes, in receive times and in the frames: a busy instrument brings some 300
 * messages a second, and what a venue says within one millisecond is another case (copies, order) than what it says.
 */
const STRETCH = 60
const MS_DIGITS = /\b1\d{12}\b/g
const RUN_MS_MAX = 60_000
const CHANNELS = ['book', 'trades', 'book_tickers'] as const
const SNAPSHOT_AFTER_MESSAGES = 100

export interface Recorded {
  readonly source: string
  readonly instrument: Instrument
}

/**
 * Records one instrument of a simulated market as a recorder would: subscribed to by the product's own rules, frames as
 * they come, a REST depth answer where it arrived.
 * @returns what it is, for people, and the instrument as the venue describes it
 */
export async function record(venue: BenchVenue, file: string, say: (line: string) => void): Promise<Recorded> {
  const { exchange, market } = venue
  const rules = feedRules(venue.options).get(exchange)
  if (rules === undefined) throw new Error(`no rules of ${exchange}`)
  const simulator = await startSimulator({
    exchange,
    seed: SEED,
    markets: [market],
    instruments: 1,
    rate: RATE,
    seconds: SECONDS,
    mix: MIX,
    ...venue.simulated,
    startAfterStreams: CHANNELS.length,
  })
  const out = createWriteStream(file)
  try {
    const urls = simulator.urls[market]
    if (urls === undefined) throw new Error(`the simulator serves no ${exchange}.${market}`)
    const instrument = await instrumentOf(rules, market, urls)
    const stretched = stretchedFrom(Date.now())
    let count = 0
    const write = (bytes: Uint8Array) => {
      out.write(stretched(bytes))
      if (++count === SNAPSHOT_AFTER_MESSAGES)
        void snapshot(rules, instrument, urls).then((body) => body && write(body))
    }
    const sockets = await subscribed(rules, instrument, urls, write)
    await simulator.over
    for (const socket of sockets) socket.terminate()
    say(`recorded ${count} messages of the simulated ${instrument.id}`)
    return { source: `simulator, seed ${SEED}, ${instrument.id}`, instrument }
  } finally {
    await simulator.stop()
    out.end()
    await finished(out)
  }
}

/** @returns what makes the line of a frame. */
function stretchedFrom(startMs: number): (bytes: Uint8Array) => string {
  const clock = new Clock()
  const startNs = clock.nowNs()
  const later = (digits: string): string => {
    const ms = Number(digits)
    return Math.abs(ms - startMs) > RUN_MS_MAX ? digits : String(startMs + STRETCH * (ms - startMs))
  }
  return (bytes) => {
    const receivedNs = startNs + BigInt(STRETCH) * (clock.nowNs() - startNs)
    return `${receivedNs} ${Buffer.from(bytes).toString().replace(MS_DIGITS, later)}\n`
  }
}

async function instrumentOf(rules: FeedRules, market: string, { rest }: SimulatorUrls): Promise<Instrument> {
  const answer = await fetch(`${rest}${rules.instrumentsRequest(market).path}`)
  const [instrument] = rules.readInstruments(market, await answer.text())
  if (instrument === undefined) throw new Error('the simulator lists no instrument')
  return instrument
}

/** One socket a route. */
async function subscribed(
  rules: FeedRules,
  instrument: Instrument,
  { ws }: SimulatorUrls,
  write: (bytes: Uint8Array) => void,
): Promise<WebSocket[]> {
  const streams = CHANNELS.flatMap((channel) => rules.streams(instrument, channel))
  const routes = [...new Set(streams.map(({ route }) => route))]
  return Promise.all(
    routes.map(async (route) => {
      const names = streams.filter((stream) => stream.route === route).map(({ name }) => name)
      const socket = new WebSocket(rules.socketUrl(instrument.market, route, ws))
      socket.on('message', (bytes: Buffer) => {
        if (!rules.isControl(bytes) || rules.readControl(bytes) === undefined) write(bytes)
      })
      await once(socket, 'open')
      for (const { text } of rules.subscribeFrames(names, 1)) socket.send(text)
      return socket
    }),
  )
}

/** Undefined where the book starts in the stream. */
async function snapshot(
  rules: FeedRules,
  { market, symbol }: Instrument,
  { rest }: SimulatorUrls,
): Promise<Uint8Array | undefined> {
  const { snapshotDepth } = rules.markets[market] as FeedMarket
  if (snapshotDepth === 0) return undefined
  const answer = await fetch(`${rest}${rules.snapshotRequest(market, symbol, snapshotDepth).path}`)
  return new Uint8Array(await answer.arrayBuffer())
}
