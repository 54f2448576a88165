/**
 * A TCP connection that misbehaves on demand: a proxy between two processes that do not know of it.
 *
 *   latency     each chunk arrives so much later, in order
 *   slow        so many bytes a second and direction
 *   slicer      in pieces of a few bytes, each on its own
 *   blackhole   nothing passes and nothing is said; afterwards what was held back goes on
 *   swallow     what is asked arrives, and where the answer would come each connection is reset
 *   limit       each connection is reset after so many bytes more
 *
 * And at any time `reset`: every connection ends by RST, and what was on its way is lost.
 */
import { once } from 'node:events'
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export type Toxic =
  | { readonly kind: 'latency'; readonly ms: number }
  | { readonly kind: 'slow'; readonly bytesPerSecond: number }
  | { readonly kind: 'slicer'; readonly bytes: number }
  | { readonly kind: 'blackhole' }
  | { readonly kind: 'swallow' }
  | { readonly kind: 'limit'; readonly bytes: number }

/** Held back per direction; then the sender is not read any more, as with a full socket. */
const HELD_BYTES_MAX = 1 << 20
const SLOW_STEP_MS = 20
/** Pieces on their own cost a system call each; the rest of a chunk goes on whole. */
const SLICES_MAX = 64
const LOOK_MS = 10

/** All connections to one place, e.g. from the store to NATS. Several ports where the place has several. */
export class FaultLink {
  readonly name: string
  #toxic: Toxic | undefined
  readonly #servers: Server[] = []
  readonly #pairs = new Set<Pair>()

  constructor(name: string) {
    this.name = name
  }

  /** @returns the same URL, through this link */
  async through(url: string): Promise<string> {
    const target = new URL(url)
    const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
      const pair = new Pair(client, Number(target.port), () => this.#toxic)
      this.#pairs.add(pair)
      void pair.ended.then(() => this.#pairs.delete(pair))
    })
    this.#servers.push(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    return url.replace(`:${target.port}`, `:${port}`)
  }

  strike(toxic: Toxic): void {
    this.#toxic = toxic
  }

  heal(): void {
    this.#toxic = undefined
  }

  reset(): void {
    for (const pair of this.#pairs) pair.reset()
  }

  close(): void {
    this.reset()
    for (const server of this.#servers) server.close()
  }
}

/** A client's connection and the one behind it. */
class Pair {
  readonly ended: Promise<unknown>
  readonly #client: Socket
  readonly #target: Socket

  constructor(client: Socket, port: number, toxic: () => Toxic | undefined) {
    const target = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    this.#client = client
    this.#target = target
    this.ended = Promise.all([client, target].map((socket) => new Promise((done) => socket.once('close', done))))
    for (const socket of [client, target]) socket.on('error', () => this.reset())
    new Direction(client, target, false, toxic, () => this.reset())
    new Direction(target, client, true, toxic, () => this.reset())
  }

  reset(): void {
    this.#client.resetAndDestroy()
    if (this.#target.connecting) this.#target.destroy()
    else this.#target.resetAndDestroy()
  }
}

class Direction {
  readonly #source: Socket
  readonly #target: Socket
  readonly #answers: boolean
  readonly #toxic: () => Toxic | undefined
  readonly #reset: () => void
  readonly #held: { readonly chunk: Buffer; readonly atMs: number }[] = []
  #heldBytes = 0
  /** under the limit that is on */
  #passedBytes = 0
  #isPumping = false
  #hasEnded = false

  /** @param answers from the one that was connected to */
  constructor(source: Socket, target: Socket, answers: boolean, toxic: () => Toxic | undefined, reset: () => void) {
    this.#source = source
    this.#target = target
    this.#answers = answers
    this.#toxic = toxic
    this.#reset = reset
    source.on('data', (chunk: Buffer) => {
      this.#held.push({ chunk, atMs: performance.now() })
      this.#heldBytes += chunk.length
      if (this.#heldBytes > HELD_BYTES_MAX) source.pause()
      void this.#pump()
    })
    source.on('end', () => {
      this.#hasEnded = true
      void this.#pump()
    })
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return
    this.#isPumping = true
    for (let next = this.#held[0]; next !== undefined && !this.#target.destroyed; next = this.#held[0]) {
      await this.#pass(next.chunk, next.atMs)
      this.#held.shift()
      this.#heldBytes -= next.chunk.length
      if (this.#heldBytes <= HELD_BYTES_MAX) this.#source.resume()
    }
    this.#isPumping = false
    if (this.#hasEnded) this.#target.end()
  }

  async #pass(chunk: Buffer, atMs: number): Promise<void> {
    const toxic = this.#toxic()
    if (toxic === undefined) return this.#write(chunk)
    switch (toxic.kind) {
      case 'latency':
        await sleep(Math.max(0, atMs + toxic.ms - performance.now()))
        return this.#write(chunk)
      case 'slow':
        return this.#inPieces(chunk, Math.max(1, Math.round((toxic.bytesPerSecond * SLOW_STEP_MS) / 1000)), toxic)
      case 'slicer':
        return this.#inPieces(chunk, toxic.bytes, toxic)
      case 'blackhole':
        while (this.#toxic() === toxic && !this.#target.destroyed) await sleep(LOOK_MS)
        return this.#write(chunk)
      case 'swallow':
        return this.#answers ? this.#reset() : this.#write(chunk)
      case 'limit':
        this.#passedBytes += chunk.length
        if (this.#passedBytes <= toxic.bytes) return this.#write(chunk)
        this.#passedBytes = 0
        return this.#reset()
    }
  }

  async #inPieces(chunk: Buffer, bytes: number, toxic: Toxic): Promise<void> {
    let at = 0
    for (let piece = 0; at < chunk.length && this.#toxic() === toxic && !this.#target.destroyed; piece++) {
      if (toxic.kind === 'slicer' && piece === SLICES_MAX) break
      await this.#write(chunk.subarray(at, at + bytes))
      at += bytes
      await sleep(toxic.kind === 'slow' ? SLOW_STEP_MS : 0)
    }
    if (at < chunk.length) await this.#write(chunk.subarray(at))
  }

  async #write(bytes: Buffer): Promise<void> {
    const target = this.#target
    if (target.destroyed || target.write(bytes)) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        target.off('drain', done)
        target.off('close', done)
        resolve()
      }
      target.on('drain', done)
      target.on('close', done)
    })
  }
}
