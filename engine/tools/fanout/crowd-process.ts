/**
 * A process of many WebSocket clients, as cheap as clients can be: raw sockets, frames are counted by their heads, and only
 * a sample is looked into, and all sockets read into the same memory. So what is measured is the gateway, not 500 JSON
 * parsers.
 *
 * Arithmetic: 100,000 frames/s of 400 bytes in chunks of some kilobytes: a chunk is 5 µs, a frame 50 ns, a sample 2 µs.
 */
import { createConnection, type Socket } from 'node:net'
import { Clock } from '../../base/clock.ts'
import { Histogram } from '../../ring/histogram.ts'
import type { CrowdMessage, CrowdOrder, CrowdPlan } from './protocol.ts'

const OPCODE_PING = 9
const OPCODE_DATA_MAX = 2
const NEEDLE = Buffer.from('received_ns')
/** `received_ns":"` in JSON, and the head of a text of 19 bytes in msgpack */
const GAP_BYTES = { json: 3, msgpack: 1 } as const
const NS_DIGITS = 19
const SNAPSHOT = Buffer.from('snapshot')
const SNAPSHOT_BYTES = 60
/** What was read is used up before the next socket reads. */
const CHUNK = Buffer.allocUnsafe(256 * 1024)
/** Not all at once: a gateway that takes 500 connections in one moment is another trial. */
const CONNECT_MS = 4

let histogram = new Histogram()
let frames = 0
let bytes = 0
let startedMs = performance.now()
let cpuBefore = process.cpuUsage()
let connected = 0
let clients = 0

const say = (message: CrowdMessage): void => void process.send?.(message)

class Reader {
  readonly #plan: CrowdPlan
  readonly #clock: Clock
  readonly #socket: Socket
  #rest: Buffer = Buffer.alloc(0)
  #isOpen = false
  readonly #patterns: readonly string[]

  constructor(plan: CrowdPlan, clock: Clock, patterns: readonly string[]) {
    this.#plan = plan
    this.#clock = clock
    this.#patterns = patterns
    const onread = { buffer: CHUNK, callback: (length: number) => this.#onData(CHUNK.subarray(0, length)) }
    this.#socket = createConnection({ port: plan.port, host: plan.host, onread })
    this.#socket.setNoDelay(true)
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => clients--)
    this.#socket.write(
      `GET /v1/stream?format=${plan.format} HTTP/1.1\r\nHost: ${plan.host}:${plan.port}\r\nUpgrade: websocket\r\n` +
        'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    )
    clients++
  }

  /** @returns whether to read on */
  #onData(chunk: Buffer): boolean {
    const all = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const rest = all.subarray(this.#isOpen ? this.#take(all) : this.#open(all))
    this.#rest = all === chunk ? Buffer.from(rest) : rest
    return !(this.#isOpen && this.#plan.isStalled)
  }

  /** @returns how long the head of the answer was, 0 while it is not whole */
  #open(all: Buffer): number {
    const end = all.indexOf('\r\n\r\n')
    if (end < 0) return 0
    if (!all.subarray(0, end).toString().startsWith('HTTP/1.1 101')) {
      process.stderr.write(`${all.toString().slice(0, 300)}\n`)
      this.#socket.destroy()
      return 0
    }
    this.#isOpen = true
    this.#socket.write(masked(1, Buffer.from(JSON.stringify({ op: 'subscribe', id: 1, patterns: this.#patterns }))))
    say({ type: 'connected', count: ++connected })
    return end + 4
  }

  /** @returns how far whole frames went */
  #take(all: Buffer): number {
    const nowNs = this.#clock.nowNs()
    let at = 0
    while (at + 2 <= all.length) {
      const short = (all[at + 1] as number) & 0x7f
      const head = short < 126 ? 2 : short === 126 ? 4 : 10
      if (at + head > all.length) break
      const length = short < 126 ? short : short === 126 ? all.readUInt16BE(at + 2) : all.readUInt32BE(at + 6)
      if (at + head + length > all.length) break
      const opcode = (all[at] as number) & 0x0f
      if (opcode === OPCODE_PING) this.#socket.write(masked(10, all.subarray(at + head, at + head + length)))
      else if (opcode <= OPCODE_DATA_MAX && frames++ % this.#plan.sampleEvery === 0)
        this.#sample(all.subarray(at + head, at + head + length), nowNs)
      bytes += head + length
      at += head + length
    }
    return at
  }

  /** How old it is. A whole book says when it last changed, which says nothing of its way. */
  #sample(payload: Buffer, nowNs: bigint): void {
    if (payload.subarray(0, SNAPSHOT_BYTES).includes(SNAPSHOT)) return
    const at = payload.indexOf(NEEDLE)
    if (at < 0) return
    const from = at + NEEDLE.length + GAP_BYTES[this.#plan.format]
    histogram.record(Number(nowNs - BigInt(payload.toString('latin1', from, from + NS_DIGITS))))
  }
}

/** A client's frames are masked; with zeros the bytes stay what they are. */
function masked(opcode: number, payload: Buffer): Buffer {
  const { length } = payload
  const head =
    length < 126
      ? Buffer.from([0x80 | opcode, 0x80 | length])
      : Buffer.from([0x80 | opcode, 0xfe, length >> 8, length & 0xff])
  return Buffer.concat([head, Buffer.alloc(4), payload])
}

function start(plan: CrowdPlan): void {
  const clock = new Clock(BigInt(plan.anchorNs))
  for (const [index, patterns] of plan.patterns.entries())
    setTimeout(() => new Reader(plan, clock, patterns), index * CONNECT_MS)
}

function reset(): void {
  histogram = new Histogram()
  frames = 0
  bytes = 0
  startedMs = performance.now()
  cpuBefore = process.cpuUsage()
}

function report(): void {
  const { user, system } = process.cpuUsage(cpuBefore)
  say({
    type: 'report',
    clients,
    frames,
    bytes,
    samples: histogram.count,
    p50Ms: histogram.percentileNs(0.5) / 1e6,
    p99Ms: histogram.percentileNs(0.99) / 1e6,
    maxMs: histogram.maxNs / 1e6,
    seconds: (performance.now() - startedMs) / 1_000,
    cpuSeconds: (user + system) / 1e6,
  })
}

process.on('message', (order: CrowdOrder) => {
  if (order.type === 'start') start(order.plan)
  else if (order.type === 'reset') reset()
  else report()
})
process.on('disconnect', () => process.exit(0))
