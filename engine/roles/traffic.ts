/**
 * What sockets and shards have to say to each other about instruments: which are open, what they carry, what a book or a
 * stream of trades asks for. Everything goes by the index of the connection and the index of the instrument in its shard,
 * which never change (placement.ts).
 */
import { assert } from '../base/assert.ts'
import type { Log } from '../base/log.ts'
import type { Channel, FeedRules, Instrument } from '../exchanges/exchange.ts'
import { Repair, REPAIR_DEFAULTS, type TradesWant } from '../feed/repair.ts'
import type { FeedTime } from '../feed/timer.ts'
import type { SnapshotWant } from '../feed/snapshots.ts'
import type { TradeChannel } from '../record/emit.ts'
import { GAP_CHANNELS } from '../record/schema.ts'
import {
  extra,
  generation,
  source,
  WANT_RECONNECT,
  WANT_RESUBSCRIBE,
  WANT_SNAPSHOT,
  WANT_TRADES,
} from '../ring/frame.ts'
import type { ContentChange, Place, Placement } from '../route/placement.ts'
import type { PlannedConnection, PlannedInstrument } from '../route/plan.ts'
import type { Router } from '../route/router.ts'
import type { DownNotice, OpenNotice } from '../../workers/shard-connections.ts'
import type { Network } from './network.ts'
import { marketKeyOf } from './settings.ts'

export interface TrafficSurroundings {
  readonly rules: ReadonlyMap<string, FeedRules>
  readonly placement: Placement
  readonly network: Network
  readonly router: Router
  readonly time: Pick<FeedTime, 'monotonicMs'>
  readonly log: Log
}

/** A socket of a connection. */
interface Carrier {
  readonly connection: number
  readonly generation: number
}

/** So long after a connection opened for the first time its rows are durable for sure: a batch's age is far less. */
const DOWN_KEPT_MS = 10_000
const TRADE_CHANNEL_CODES: Readonly<Record<TradeChannel, number>> = { trades: 0, agg_trades: 1 }
const GAP_CHANNEL_OF: Readonly<Record<Channel, number>> = { ...GAP_CHANNELS, agg_trades: GAP_CHANNELS.trades }

export class Traffic {
  readonly repair: Repair
  readonly #around: TrafficSurroundings
  /** generations of the open sockets, by connection: two while one replaces the other */
  readonly #open = new Map<number, Set<number>>()
  /** what the runs before this one missed */
  #down: DownNotice | undefined
  readonly #firstOpenMs = new Map<number, number>()

  constructor(around: TrafficSurroundings) {
    this.#around = around
    this.repair = this.#newRepair()
  }

  /** Gives a connection its ring, before it is opened. */
  route({ index, shard }: PlannedConnection): void {
    const { network, router } = this.#around
    const flow = { pause: () => network.connection(index).pause(), resume: () => network.connection(index).resume() }
    router.connect(index, shard, flow)
  }

  /** Told to every shard before anything is open, and written at once for all that the connections will carry. */
  down(notice: DownNotice): void {
    const { placement, router } = this.#around
    this.#down = notice
    router.down(notice)
    for (const connection of placement.connections) this.#tellCarried(connection)
  }

  /** Blocks that were accepted are deleted, and of all channels that there are: nobody knows which. */
  dropped(range: DownNotice['lost'][number]): void {
    for (const connection of this.#around.placement.connections) this.#tellCarried(connection, { dropped: range })
  }

  #tellCarried(connection: PlannedConnection, what: Pick<DownNotice, 'dropped'> = {}): void {
    const { index, shard } = connection
    const { instruments: carried } = this.#notice({ connection: index, instruments: connection.instruments })
    this.#around.router.down({ ...what, lost: [], connections: [index], carried } satisfies DownNotice, shard)
  }

  // ---- from the sockets

  onOpen({ index }: Pick<PlannedConnection, 'index'>, generation: number): void {
    this.#open.set(index, (this.#open.get(index) ?? new Set()).add(generation))
    if (!this.#firstOpenMs.has(index)) this.#firstOpenMs.set(index, this.#around.time.monotonicMs())
    const { instruments } = this.#around.placement.connection(index)
    this.#around.router.open(index, generation, this.#notice({ connection: index, instruments }))
  }

  /** From here on all of it is heard, whether or not something has come. */
  onSubscribed({ index }: Pick<PlannedConnection, 'index'>, generation: number): void {
    this.#around.router.join(index, generation, { connection: index, instruments: [], isSubscribed: true })
  }

  onClose({ index }: Pick<PlannedConnection, 'index'>, generation: number, reason: string): void {
    const { placement, network, router } = this.#around
    this.#open.get(index)?.delete(generation)
    const { instruments, original } = placement.connection(index)
    // while another socket or leg carries these books, what was asked for them is still wanted
    const isCarried = placement.connections.some((each) => each.original === original && this.#isOpen(each.index))
    if (!isCarried) for (const { instrument } of instruments) network.snapshots.cancel(instrument)
    router.close(index, generation, reason)
  }

  #isOpen(index: number): boolean {
    return (this.#open.get(index)?.size ?? 0) > 0
  }

  onSnapshot({ instrument, connection, generation }: SnapshotWant, body: Buffer): void {
    this.#around.router.snapshot(connection, generation, this.#indexOf(instrument), body)
  }

  onSnapshotFailed({ instrument, connection, generation }: SnapshotWant, reason: string): void {
    this.#around.log.warn({ instrument: instrument.id, reason }, 'no snapshot')
    this.#around.router.snapshotFailed(connection, generation, this.#indexOf(instrument), reason)
  }

  // ---- from the roster

  /** The shard is told before the venue is asked, so that it knows of the instrument when the first message comes. */
  onJoin(change: ContentChange): void {
    const { network, router } = this.#around
    for (const generation of this.#open.get(change.connection) ?? [])
      router.join(change.connection, generation, this.#notice(change))
    network.connection(change.connection).subscribe(change.streams)
  }

  onPart(change: ContentChange): void {
    const { network, router } = this.#around
    const { connection, streams, instruments } = change
    for (const generation of this.#open.get(connection) ?? []) {
      router.part(connection, generation, this.#notice(change))
    }
    for (const { instrument } of instruments) network.snapshots.cancel(instrument)
    network.connection(connection).unsubscribe(streams)
  }

  // ---- from the shards

  onRequest(shard: number, kind: number, bytes: Uint8Array, offset: number, length: number): void {
    const { network, placement } = this.#around
    const carrier = { connection: source(bytes, offset), generation: generation(bytes, offset) }
    if (kind === WANT_RECONNECT)
      return network.connection(carrier.connection).reconnect(carrier.generation, 'UNREADABLE')
    const place = placement.at(shard, extra(bytes, offset))
    assert(place !== undefined, `shard ${shard} asks for instrument ${extra(bytes, offset)}`)
    if (place.isRemoved) return // it asked before it knew
    switch (kind) {
      case WANT_SNAPSHOT:
        return network.snapshots.want({ instrument: place.instrument, ...carrier })
      case WANT_RESUBSCRIBE:
        return this.#resubscribe(place, carrier, bytes[offset] as number)
      case WANT_TRADES:
        return this.repair.want({ instrument: place.instrument, ...carrier, ...tradesQuestion(bytes, offset, length) })
      default:
        assert(false, `request of unknown kind ${kind}`)
    }
  }

  /** The new worker knows nothing: tell it who is gone and which sockets are open, before any data. */
  onShardRestarted(shard: number): void {
    const { placement, router } = this.#around
    this.#downAgain(shard)
    for (const { id } of placement.members(shard)) {
      const place = placement.find(id)
      if (place?.isRemoved === true) router.remove(shard, place.index, 'REMOVED')
    }
    for (const connection of placement.connections) {
      if (connection.shard !== shard) continue
      for (const generation of this.#open.get(connection.index) ?? []) {
        this.onOpen(connection, generation)
        this.onSubscribed(connection, generation)
      }
    }
    router.endOfBurst()
  }

  /** The worker before it may have died with what it had been told: what had not opened, or only just. */
  #downAgain(shard: number): void {
    const { placement, router, time } = this.#around
    const keptMs = time.monotonicMs() - DOWN_KEPT_MS
    const untold = placement.connections.filter(
      (each) => each.shard === shard && (this.#firstOpenMs.get(each.index) ?? Infinity) > keptMs,
    )
    if (this.#down === undefined || untold.length === 0) return
    router.down({ ...this.#down, connections: untold.map(({ index }) => index) }, shard)
    for (const connection of untold) this.#tellCarried(connection)
  }

  /** The streams of one channel (as gaps name them) of one instrument start anew on one socket. */
  #resubscribe({ instrument }: Place, { connection, generation }: Carrier, gapChannel: number): void {
    const { placement, network } = this.#around
    const { instruments } = placement.connection(connection)
    const carried = instruments.filter((each) => each.instrument.id === instrument.id)
    const streams = this.#streamsOf(carried, (channel) => GAP_CHANNEL_OF[channel] === gapChannel)
    const others = this.#streamsOf(instruments.filter((each) => !carried.includes(each)))
    // what brings others their news, too, is not taken from them for this one, unless it has nothing else
    const own = streams.filter((stream) => !others.includes(stream))
    network.connection(connection).resubscribe(generation, own.length > 0 ? own : streams)
  }

  #streamsOf(
    instruments: readonly PlannedInstrument[],
    isWanted: (channel: Channel) => boolean = () => true,
  ): readonly string[] {
    const names = instruments.flatMap(({ instrument, channels }) => {
      const rules = this.#around.rules.get(instrument.exchange)
      return channels.filter(isWanted).flatMap((channel) => rules?.streams(instrument, channel) ?? [])
    })
    return [...new Set(names.map(({ name }) => name))]
  }

  /** What OPEN, JOIN and PART say. */
  #notice({ connection, instruments }: Pick<ContentChange, 'connection' | 'instruments'>): OpenNotice {
    return {
      connection,
      leg: this.#around.placement.connection(connection).leg,
      instruments: instruments.map(({ instrument, channels }) => ({ instrument: this.#indexOf(instrument), channels })),
    }
  }

  #indexOf({ id }: Instrument): number {
    const place = this.#around.placement.find(id)
    assert(place !== undefined, `${id} has no place in a shard`)
    return place.index
  }

  #newRepair(): Repair {
    const { rules, network, router, log } = this.#around
    return new Repair(REPAIR_DEFAULTS, {
      request: ({ instrument: { exchange, market, symbol }, channel, firstSeq, lastSeq }) =>
        rules.get(exchange)?.tradesRequest(market, symbol, channel, firstSeq, lastSeq),
      fetch: (instrument, request) => {
        const market = network.markets.get(marketKeyOf(instrument))
        assert(market !== undefined, `${instrument.id} is of no market that is collected`)
        return market.rest.get(request, 'gap')
      },
      onTrades: ({ connection, generation, instrument, channel }, body) => {
        router.trades(connection, generation, this.#indexOf(instrument), TRADE_CHANNEL_CODES[channel], body)
      },
      onFailed: ({ connection, generation, instrument }, reason) => {
        log.warn({ instrument: instrument.id, reason }, 'missing trades are not repaired')
        router.tradesFailed(connection, generation, this.#indexOf(instrument), reason)
      },
    })
  }
}

function tradesQuestion(
  bytes: Uint8Array,
  offset: number,
  length: number,
): Pick<TradesWant, 'channel' | 'firstSeq' | 'lastSeq'> {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset + offset, length).toString('utf8'))
}
