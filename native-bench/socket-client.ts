/**
 * The receiving side of the socket bench, in a process of its own: in turns a bare `ws` client that only counts, and the
 * product's connection and router writing into a ring that another thread drains. Prints one line of JSON.
 *
 *   socket-client PORT FRAMES RUNS
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import WebSocket from 'ws'
import { Clock } from '../engine/base/clock.ts'
import { createLog } from '../engine/base/log.ts'
import { seededRandom } from '../engine/base/random.ts'
import { MARKETS } from '../engine/exchanges/binance/endpoints.ts'
import { binanceFeed } from '../engine/exchanges/binance/index.ts'
import { CONNECTION_TIMING, Connection, feedStats } from '../engine/feed/connection.ts'
import { VenueSockets } from '../engine/feed/rotate.ts'
import { ConnectBudget } from '../engine/feed/connects.ts'
import { realTime } from '../engine/feed/timer.ts'
import { createRing } from '../engine/ring/ring.ts'
import { Router } from '../engine/route/router.ts'
import { siblingUrl } from './paths.ts'

export interface SocketTimes {
  /** wall seconds from the first frame to the last */
  readonly wall: number
  /** seconds that the main thread was on a core meanwhile; 0 where the system does not tell */
  readonly cpu: number
}
export interface SocketAnswer {
  /** a `ws` client as it comes */
  readonly bare: SocketTimes[]
  /** … with the options that the product sets: no UTF-8 check, no compression */
  readonly tuned: SocketTimes[]
  readonly ring: SocketTimes[]
  readonly losses: number
}

const RING_BYTES = 8 << 20
const STREAMS = ['btcusdt@depth@0ms', 'btcusdt@trade', 'btcusdt@bookTicker']
const FRAME_BYTES_MAX = 4 << 20

const [port, frameCount, runCount] = process.argv.slice(2).map(Number) as [number, number, number]
const url = `ws://127.0.0.1:${port}/public/stream`

/** Nanoseconds on a core of the main thread, from the scheduler's own books. */
function cpuSeconds(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e9
  } catch {
    return 0
  }
}

class Stopwatch {
  #wall = 0
  #cpu = 0
  start(): void {
    this.#wall = performance.now()
    this.#cpu = cpuSeconds()
  }
  stop(): SocketTimes {
    return { wall: (performance.now() - this.#wall) / 1000, cpu: cpuSeconds() - this.#cpu }
  }
}

/** @param options of `ws`: its own defaults, or those that the product sets too. */
async function bare(options: WebSocket.ClientOptions): Promise<SocketTimes> {
  const socket = new WebSocket(url, options)
  await once(socket, 'open')
  const watch = new Stopwatch()
  const times = await new Promise<SocketTimes>((resolve) => {
    let seen = -1 // the acknowledgement
    socket.on('message', () => {
      if (++seen === 1) watch.start()
      else if (seen === frameCount) resolve(watch.stop())
    })
    socket.send(JSON.stringify({ method: 'SUBSCRIBE', params: STREAMS, id: 1 }))
  })
  socket.terminate()
  return times
}

let losses = 0

async function ring(): Promise<SocketTimes> {
  const clock = new Clock()
  const log = createLog('warn', 'bench')
  const memory = createRing(RING_BYTES)
  const drain = new Worker(siblingUrl(import.meta.url, 'ring-drain'), { workerData: { memory, frameCount } })
  await once(drain, 'message') // it runs
  const drained = once(drain, 'message')
  const router = new Router([memory], clock, log)
  const watch = new Stopwatch()
  const rules = binanceFeed()
  const connection = await new Promise<Connection>((resolve) => {
    const around = {
      time: realTime(clock),
      random: seededRandom(1),
      log,
      stats: feedStats(),
      sockets: new VenueSockets(),
      budget: new ConnectBudget({ connectsMax: 10, windowMs: 1000, spacingMs: 0 }),
    }
    const options = {
      name: 'bench',
      url,
      streams: STREAMS,
      heartbeat: MARKETS.usdm.heartbeat,
      agent: undefined,
      clientMessagesPerSecondMax: 10,
      connectionLifeMsMax: 3_600_000,
      frameBytesMax: FRAME_BYTES_MAX,
      timing: CONNECTION_TIMING,
    }
    let seen = 0
    const opened = new Connection(
      options,
      rules,
      {
        onOpen: (generation) => router.open(0, generation, { connection: 0, instruments: [] }),
        onFrame: (generation, bytes) => {
          if (++seen === 1) watch.start()
          router.onFrame(0, generation, bytes)
          if (seen === frameCount) resolve(opened)
        },
        onClose: (generation, reason) => router.close(0, generation, reason),
      },
      around,
    )
    router.connect(0, 0, opened)
    opened.start()
  })
  const times = watch.stop()
  const [seen] = (await drained) as [number]
  losses += frameCount - seen
  connection.stop()
  await drain.terminate()
  return times
}

const TUNED = { perMessageDeflate: false, skipUTF8Validation: true, allowSynchronousEvents: true }

const answer: SocketAnswer = { bare: [], tuned: [], ring: [], losses: 0 }
for (let run = 0; run <= runCount; run++) {
  const pair = { bare: await bare({}), ring: await ring(), tuned: await bare(TUNED) }
  if (run === 0) continue // for warming up
  answer.bare.push(pair.bare)
  answer.ring.push(pair.ring)
  answer.tuned.push(pair.tuned)
}
console.log(JSON.stringify({ ...answer, losses }))
process.exit(0)
