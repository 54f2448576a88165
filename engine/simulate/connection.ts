/**
 * One client's socket. Handshake, answers and control frames go through `ws`; data frames are framed by hand into
 * blocks and written to the raw socket, one write a burst.
 *
 * A frame from a server is not masked:
 *
 *   byte 0      1           2        4                 payload < 126: length in byte 1
 *     +-------+-----------+--------+---------- - -     payload < 65536: 126 in byte 1, then 2 bytes
 *     | 0x81  | 126       | length | payload           else: 127 in byte 1, then 8 bytes
 *     +-------+-----------+--------+---------- - -
 *
 * Each write is a whole number of frames, so frames of `ws` itself can only fall between them.
 */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { Stream } from './streams.ts'
import type { StreamPath } from './venue.ts'

export const BLOCK_BYTES = 256 * 1024
const BLOCKS_KEPT_MAX = 64
const TEXT_FRAME = 0x81
const FRAME_HEAD_BYTES_MAX = 10

const NO_PREFIX = new Uint8Array(0)
const spareBlocks: Uint8Array[] = []

export class Connection {
  readonly index: number
  readonly path: StreamPath
  readonly ws: WebSocket
  readonly socket: Socket
  /** stream name → stream, or null for one that is accepted and stays silent */
  readonly streams = new Map<string, Stream | null>()
  /** combined form `{"stream":…,"data":…}` */
  combined: boolean
  open = true
  /** a fault: nothing may leave */
  isMute = false
  /** bytes handed to the socket and not yet taken by the kernel */
  unflushedBytes = 0
  lastPongMs: number
  lastPingMs: number
  pongAwaited = false
  sentBytes = 0
  sentBytesAtBeat = 0
  flushedAtMs = 0
  /** when the client last said something, and when something was last pushed to it */
  lastHeardMs: number
  lastPushedMs: number
  /** a heartbeat that the client asked for; 0: it did not. Then when it was last sent, and whether an answer is due */
  heartbeatMs = 0
  lastBeatMs = 0
  answerDueMs = 0
  /** requests that the venue counts, each at its time */
  readonly requestTimes: number[] = []
  /** since when more is under way than the market allows; null: it is not */
  stalledSinceMs: number | null = null
  #block: Uint8Array | null = null
  #used = 0

  constructor(index: number, path: StreamPath, combined: boolean, ws: WebSocket, socket: Socket, nowMs: number) {
    this.index = index
    this.path = path
    this.combined = combined
    this.ws = ws
    this.socket = socket
    this.lastPongMs = nowMs
    this.lastPingMs = nowMs
    this.lastHeardMs = nowMs
    this.lastPushedMs = nowMs
  }

  /** One message beside the market's: an answer, a greeting, a notice. It keeps its place among the others. */
  say(text: string): void {
    if (this.isMute) return
    const bytes = Buffer.from(text, 'latin1')
    const { combined } = this
    this.combined = false
    this.append(NO_PREFIX, bytes, bytes.length)
    this.combined = combined
  }

  /** Frames one message: `prefix` payload `}` on a combined connection, the payload alone on a raw one. */
  append(prefix: Uint8Array, payload: Uint8Array, length: number): void {
    const total = this.combined ? prefix.length + length + 1 : length
    if (total + FRAME_HEAD_BYTES_MAX > BLOCK_BYTES) {
      this.#appendLarge(prefix, payload, length)
      return
    }
    if (this.#block === null || this.#used + total + FRAME_HEAD_BYTES_MAX > BLOCK_BYTES) {
      this.flush()
      this.#block = spareBlocks.pop() ?? new Uint8Array(BLOCK_BYTES)
    }
    const block = this.#block
    let at = writeHead(block, this.#used, total)
    if (this.combined) {
      block.set(prefix, at)
      at += prefix.length
    }
    block.set(payload.subarray(0, length), at)
    at += length
    if (this.combined) block[at++] = 125
    this.#used = at
  }

  /** Hands what was appended to the socket. */
  flush(): void {
    const block = this.#block
    if (block === null) return
    const used = this.#used
    this.#block = null
    this.#used = 0
    if (!this.open || used === 0) {
      keepBlock(block)
      return
    }
    this.#write(block.subarray(0, used), block)
  }

  /** Bytes straight onto the socket, outside of any frame: for faults. Flushes first. */
  writeRaw(bytes: Uint8Array): void {
    this.flush()
    if (this.open) this.#write(bytes, null)
  }

  #appendLarge(prefix: Uint8Array, payload: Uint8Array, length: number): void {
    const total = this.combined ? prefix.length + length + 1 : length
    const frame = new Uint8Array(total + FRAME_HEAD_BYTES_MAX)
    let at = writeHead(frame, 0, total)
    if (this.combined) {
      frame.set(prefix, at)
      at += prefix.length
    }
    frame.set(payload.subarray(0, length), at)
    at += length
    if (this.combined) frame[at++] = 125
    this.writeRaw(frame.subarray(0, at))
  }

  #write(bytes: Uint8Array, block: Uint8Array | null): void {
    this.unflushedBytes += bytes.length
    this.sentBytes += bytes.length
    this.socket.write(bytes, () => {
      this.unflushedBytes -= bytes.length
      if (block !== null) keepBlock(block)
    })
  }
}

function keepBlock(block: Uint8Array): void {
  if (spareBlocks.length < BLOCKS_KEPT_MAX) spareBlocks.push(block)
}

function writeHead(target: Uint8Array, start: number, length: number): number {
  let at = start
  target[at++] = TEXT_FRAME
  if (length < 126) {
    target[at++] = length
  } else if (length < 65_536) {
    target[at++] = 126
    target[at++] = length >>> 8
    target[at++] = length & 255
  } else {
    target[at++] = 127
    target.fill(0, at, at + 4)
    at += 4
    target[at++] = length >>> 24
    target[at++] = (length >>> 16) & 255
    target[at++] = (length >>> 8) & 255
    target[at++] = length & 255
  }
  return at
}
