/** Makes faults happen: by script, by chance, or on call. Everything it does is noted in the truth. */
import { assert } from '../base/assert.ts'
import type { Random } from '../base/random.ts'
import type { Connection } from './connection.ts'
import type { FaultKind, FaultSpec } from './faults.ts'
import type { SeededMarket } from './market.ts'
import type { Protocol } from './protocol.ts'
import type { VenueServer } from './server.ts'
import { cutStream, type FrameFault, type Stream } from './streams.ts'
import type { Truth } from './truth.ts'

export interface InjectorOptions {
  readonly servers: readonly VenueServer[]
  readonly streams: () => Iterable<Stream>
  readonly symbols: (server: VenueServer) => string[]
  /** null: a recording, which nothing can be added to */
  readonly market: SeededMarket | null
  readonly protocol: Protocol
  readonly truth: Truth
  readonly random: Random
  readonly nowMs: () => number
  readonly script: readonly FaultSpec[]
  /** faults a second, drawn from `randomKinds` */
  readonly randomPerSecond: number
  readonly randomKinds: readonly FaultKind[]
  /** closes one connection after the other, every so many seconds; 0: never */
  readonly closeEverySeconds: number
}

const SHUTDOWN_SECONDS = 5
const REST_FAULT_SECONDS = 5
const STALL_SECONDS = 30

export class Injector {
  readonly #options: InjectorOptions
  readonly #timers = new Set<NodeJS.Timeout>()
  #next = 0
  #nextRandomAt = 0
  #nextCloseAt: number
  #closeTurn = 0
  injected = 0

  constructor(options: InjectorOptions) {
    this.#options = options
    this.#nextRandomAt = this.#randomWait()
    this.#nextCloseAt = options.closeEverySeconds || Number.POSITIVE_INFINITY
  }

  /** Injects what is due. @param elapsedSeconds since the market started. */
  tick(elapsedSeconds: number): void {
    const { script, randomKinds, random } = this.#options
    for (
      let spec = script[this.#next];
      spec !== undefined && (spec.at ?? 0) <= elapsedSeconds;
      spec = script[this.#next]
    ) {
      this.#next++
      this.inject(spec)
    }
    while (elapsedSeconds >= this.#nextRandomAt) {
      this.#nextRandomAt += this.#randomWait()
      this.inject({ kind: randomKinds[Math.floor(random() * randomKinds.length)] as FaultKind })
    }
    if (elapsedSeconds >= this.#nextCloseAt) {
      this.#nextCloseAt = elapsedSeconds + this.#options.closeEverySeconds
      this.#closeNext()
    }
  }

  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer)
  }

  /** @returns false when there was nothing to strike (no such subscription or connection). */
  inject(spec: FaultSpec): boolean {
    const done = this.#strike(spec)
    if (done) this.injected++
    else this.#note(spec, { missed: true })
    return done
  }

  #strike(spec: FaultSpec): boolean {
    switch (spec.kind) {
      case 'gap':
      case 'duplicate':
      case 'reorder':
      case 'truncated':
      case 'corrupt':
      case 'silent':
        return this.#armStream(spec, spec.kind)
      case 'malformed':
        return this.#sendExtra(spec, '{"e":"depthUpdate","E":17231,,"s":')
      case 'nested':
        return this.#sendExtra(spec, '['.repeat(spec.count ?? 100_000))
      case 'huge':
        return this.#sendExtra(spec, `{"e":"${'x'.repeat(spec.bytes ?? 64 * 1024 * 1024)}"}`)
      case 'unknown':
        return this.#sendExtra(spec, '{"e":"neverHeardOf","E":1,"s":"NOSUCHPAIR","p":[{"deep":null}]}')
      case 'close':
        return this.#close(spec)
      case 'close_all':
        return this.#closeAll(spec)
      case 'stall':
        return this.#stall(spec)
      case 'broken_frame':
        return this.#breakFrame(spec)
      case 'server_shutdown':
        return this.#shutdown(spec)
      case 'refuse_subscription':
      case 'mute_subscription':
        return this.#armSubscription(spec)
      case 'reset':
      case 'keep_alive':
        return this.#tellBook(spec)
      case 'list':
      case 'delist':
      case 'tick_change':
        return this.#changeListing(spec)
      default:
        return this.#armServers(spec)
    }
  }

  #armStream(spec: FaultSpec, kind: FrameFault): boolean {
    const stream = this.#pickStream(spec)
    if (stream === undefined) return false
    const untilMs = kind === 'silent' ? this.#options.nowMs() + (spec.seconds ?? 3) * 1000 : 0
    const place = { market: stream.market, symbol: stream.symbol, stream: stream.name, channel: stream.channel }
    this.#note(spec, { ...place, armed: true })
    const onDone = (armed: { ids: number[] }): void => {
      this.#note(spec, { ...place, count: armed.ids.length, firstId: armed.ids[0], lastId: armed.ids.at(-1) })
    }
    stream.arm({ kind, left: spec.count ?? 1, untilMs, ids: [], onDone })
    return true
  }

  /** One frame more than the market has, on one connection. */
  #sendExtra(spec: FaultSpec, text: string): boolean {
    const connection = this.#pickConnection(spec)
    if (connection === undefined) return false
    connection.say(text)
    connection.flush()
    this.#note(spec, { connection: connection.index, bytes: text.length })
    return true
  }

  #breakFrame(spec: FaultSpec): boolean {
    const connection = this.#pickConnection(spec)
    if (connection === undefined) return false
    connection.writeRaw(new Uint8Array([0xf1, 2, 123, 125])) // reserved bits 1 to 3 set
    this.#note(spec, { connection: connection.index })
    return true
  }

  #close(spec: FaultSpec): boolean {
    const connection = this.#pickConnection(spec)
    if (connection === undefined) return false
    this.#end(spec, this.#serverOf(connection), connection)
    return true
  }

  #closeAll(spec: FaultSpec): boolean {
    const ended = this.#serversOf(spec).flatMap((server) =>
      [...server.connections]
        .filter((connection) => carries(connection, spec.market))
        .map((connection) => ({ server, connection })),
    )
    for (const { server, connection } of ended) this.#end(spec, server, connection)
    return ended.length > 0
  }

  #closeNext(): void {
    const all = this.#options.servers.flatMap((server) =>
      [...server.connections].map((connection) => ({ server, connection })),
    )
    const next = all[this.#closeTurn++ % Math.max(1, all.length)]
    if (next === undefined) return
    this.injected++
    this.#end({ kind: 'close' }, next.server, next.connection)
  }

  #end(spec: FaultSpec, server: VenueServer, connection: Connection): void {
    this.#note(spec, { market: server.market.name, connection: connection.index })
    if (spec.rst === true) server.reset(connection, 'fault')
    else server.drop(connection, spec.code ?? 1001, 'fault')
  }

  /** Those that are open now end; what connects meanwhile finds another server. */
  #shutdown(spec: FaultSpec): boolean {
    const { protocol, nowMs } = this.#options
    for (const server of this.#serversOf(spec)) {
      const ending = [...server.connections].filter((connection) => carries(connection, spec.market))
      for (const connection of ending) {
        const notice = protocol.shutdownNotice(Math.floor(nowMs()), connection)
        if (notice === null) continue
        connection.say(notice)
        connection.flush()
      }
      this.#note(spec, { market: server.market.name, connections: ending.map(({ index }) => index) })
      this.#later(spec.seconds ?? SHUTDOWN_SECONDS, () => {
        for (const connection of ending) if (connection.open) server.drop(connection, 1001, 'server shutdown')
      })
    }
    return true
  }

  /** The connection hears nothing; as long as the client leaves it open, it gets its streams back in the end. */
  #stall(spec: FaultSpec): boolean {
    const connection = this.#pickConnection(spec)
    if (connection === undefined) return false
    const held = [...connection.streams.values()].filter((stream) => stream !== null)
    for (const stream of held) stream.leave(connection)
    connection.isMute = true
    const seconds = spec.seconds ?? STALL_SECONDS
    this.#note(spec, { market: held[0]?.market, connection: connection.index, seconds, streams: held.map(cutStream) })
    this.#later(seconds, () => {
      if (!connection.open) return
      connection.isMute = false
      for (const stream of held) if (connection.streams.get(stream.name) === stream) stream.join(connection)
    })
    return true
  }

  #armSubscription(spec: FaultSpec): boolean {
    for (const server of this.#serversOf(spec)) {
      server.subscriptionFaults.push({
        kind: spec.kind === 'refuse_subscription' ? 'refuse' : 'mute',
        fits: (stream) => this.#fits(stream, spec),
        left: spec.count ?? 1,
        onStruck: (stream, connection) => {
          // what happens until it is asked for again is a loss, unless nobody heard it ever: then nothing was promised
          const { market, symbol, name, channel } = stream
          this.#note(spec, { market, symbol, stream: name, channel, connection: connection.index, struck: true })
        },
      })
    }
    this.#note(spec, { armed: true })
    return true
  }

  #tellBook(spec: FaultSpec): boolean {
    const { market, nowMs } = this.#options
    const books = this.#streamsFor(spec).filter(({ kind }) => kind === 'depth')
    const stream = this.#pick(books)
    if (market === null || stream === undefined) return false
    const isDone = spec.kind === 'reset' ? market.reset(stream, nowMs()) : market.keepAlive(stream, nowMs())
    if (isDone) this.#note(spec, { market: stream.market, symbol: stream.symbol, stream: stream.name })
    return isDone
  }

  #changeListing(spec: FaultSpec): boolean {
    const { market, random } = this.#options
    const name = spec.market ?? this.#pick(this.#options.servers.flatMap(({ marketNames }) => marketNames))
    if (market === null || name === undefined) return false
    const symbols = market.symbols(name)
    const symbol =
      spec.kind === 'list' ? market.list(name) : (spec.symbol ?? symbols[Math.floor(random() * symbols.length)])
    if (symbol === undefined) return false
    const isDone =
      spec.kind === 'list' || (spec.kind === 'delist' ? market.delist(name, symbol) : market.refineTick(name, symbol))
    if (isDone) this.#note(spec, { market: name, symbol })
    return isDone
  }

  #later(seconds: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      act()
    }, seconds * 1000)
    this.#timers.add(timer)
  }

  #armServers(spec: FaultSpec): boolean {
    const seconds = spec.seconds ?? REST_FAULT_SECONDS
    const untilMs = this.#options.nowMs() + seconds * 1000
    for (const server of this.#serversOf(spec)) {
      const { faults } = server.rest
      if (spec.kind === 'no_pings') server.pingsOffUntilMs = untilMs
      else if (spec.kind === 'no_pongs') server.pongsIgnoredUntilMs = untilMs
      else if (spec.kind === 'rest_429') faults.refuse = { status: 429, untilMs }
      else if (spec.kind === 'rest_418') faults.refuse = { status: 418, untilMs }
      else if (spec.kind === 'rest_500') faults.broken = { untilMs }
      else if (spec.kind === 'rest_slow') faults.slow = { ms: spec.ms ?? 3000, untilMs }
      else {
        assert(spec.kind === 'stale_snapshot', `${spec.kind} is not a fault of a server`)
        const symbols = spec.symbol === undefined ? this.#options.symbols(server) : [spec.symbol]
        void server.rest.armStale(symbols, spec.count ?? 1)
      }
      this.#note(spec, { market: server.market.name, untilMs })
    }
    return true
  }

  #pickStream(spec: FaultSpec): Stream | undefined {
    const streams = this.#streamsFor(spec)
    return this.#pick(spec.stream === undefined ? streams.filter(({ kind }) => kind !== 'timed') : streams)
  }

  #streamsFor(spec: FaultSpec): Stream[] {
    return [...this.#options.streams()].filter(
      (stream) => stream.subscribers.length > 0 && !stream.isFaulty && this.#fits(stream, spec),
    )
  }

  #fits({ market, symbol, kind, name, spec: { word }, channel }: Stream, spec: FaultSpec): boolean {
    return (
      (spec.market === undefined || market === spec.market) &&
      (spec.symbol === undefined || symbol === spec.symbol) &&
      (spec.stream === undefined || [kind, name, word, channel].includes(spec.stream))
    )
  }

  #pickConnection(spec: FaultSpec): Connection | undefined {
    const fits = this.#serversOf(spec)
      .flatMap((server) => [...server.connections])
      .filter((connection) => carries(connection, spec.market) && carriesStream(connection, spec))
    return this.#pick(spec.connection === undefined ? fits : fits.filter(({ index }) => index === spec.connection))
  }

  #pick<Item>(items: readonly Item[]): Item | undefined {
    return items[Math.floor(this.#options.random() * items.length)]
  }

  #serversOf(spec: FaultSpec): VenueServer[] {
    return this.#options.servers.filter(
      ({ marketNames }) => spec.market === undefined || marketNames.includes(spec.market),
    )
  }

  #serverOf(connection: Connection): VenueServer {
    const server = this.#options.servers.find(({ connections }) => connections.has(connection))
    assert(server !== undefined, 'an open connection belongs to a server')
    return server
  }

  #note(spec: FaultSpec, detail: Record<string, unknown>): void {
    this.#options.truth.note({ fault: spec.kind, timeMs: Math.floor(this.#options.nowMs()), ...spec, ...detail })
  }

  #randomWait(): number {
    const { randomPerSecond, random } = this.#options
    return randomPerSecond > 0 ? -Math.log(1 - random()) / randomPerSecond : Number.POSITIVE_INFINITY
  }
}

/** On a host of several markets: whether the connection has a stream of this one. */
function carries(connection: Connection, market: string | undefined): boolean {
  if (market === undefined || connection.streams.size === 0) return true
  const streams = [...connection.streams.values()].filter((stream) => stream !== null)
  return streams.length === 0 || streams.some((stream) => stream.market === market)
}

function carriesStream(connection: Connection, { stream: wanted, symbol }: FaultSpec): boolean {
  if (wanted === undefined && symbol === undefined) return true
  return [...connection.streams.values()].some(
    (stream) =>
      stream !== null &&
      (symbol === undefined || stream.symbol === symbol) &&
      (wanted === undefined || [stream.kind, stream.name, stream.spec.word, stream.channel].includes(wanted)),
  )
}
