import { createWriteStream } from 'node:fs'
import { once } from 'node:events'
import { finished } from 'node:stream/promises'
import WebSocket from 'ws'
import { Clock } from '../engine/base/clock.ts'
import { startSimulator } from '../engine/simulate/simulator.ts'

const SEED = 1
const RATE = 20_000
const SECONDS = 5
const SNAPSHOT_AFTER_MESSAGES = 100
const DEPTH = 1000

/**
 * Records the simulated USD-M market of one instrument as a recorder would: frames of one combined socket as they come,
 * the REST depth answer where it arrived.
 * @returns what it is, for people
 */
export async function record(file: string, say: (line: string) => void): Promise<string> {
  const simulator = await startSimulator({
    seed: SEED,
    markets: ['usdm'],
    instruments: 1,
    rate: RATE,
    seconds: SECONDS,
    startAfterStreams: 3,
  })
  const out = createWriteStream(file)
  try {
    const urls = simulator.urls.usdm
    if (urls === undefined) throw new Error('the simulator serves no usdm')
    const symbol = await symbolOf(urls.rest)
    const clock = new Clock()
    const write = (bytes: Uint8Array) => out.write(`${clock.nowNs()} ${Buffer.from(bytes)}\n`)
    const streams = ['depth@0ms', 'bookTicker', 'trade'].map((name) => `${symbol.toLowerCase()}@${name}`)
    const socket = new WebSocket(`${urls.ws}/public/stream?streams=${streams.join('/')}`)
    let count = 0
    socket.on('message', (bytes: Buffer) => {
      write(bytes)
      if (++count === SNAPSHOT_AFTER_MESSAGES) void snapshot(urls.rest, symbol).then(write)
    })
    await once(socket, 'open')
    await simulator.over
    socket.terminate()
    say(`recorded ${count} messages of the simulator`)
    return `simulator, seed ${SEED}, ${symbol}`
  } finally {
    await simulator.stop()
    out.end()
    await finished(out)
  }
}

async function symbolOf(rest: string): Promise<string> {
  const body = (await (await fetch(`${rest}/fapi/v1/exchangeInfo`)).json()) as { symbols: { symbol: string }[] }
  const symbol = body.symbols[0]?.symbol
  if (symbol === undefined) throw new Error('the simulator lists no instrument')
  return symbol
}

async function snapshot(rest: string, symbol: string): Promise<Uint8Array> {
  const answer = await fetch(`${rest}/fapi/v1/depth?symbol=${symbol}&limit=${DEPTH}`)
  return new Uint8Array(await answer.arrayBuffer())
}
