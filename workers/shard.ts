import { assert } from '../engine/base/assert.ts'
import { joinNs } from '../engine/base/clock.ts'
import { GapLog } from '../engine/book/gap-log.ts'
import type { KeeperEvents } from '../engine/book/keeper.ts'
import { BookPublisher } from '../engine/book/publisher.ts'
import { JUMPED, REPEATED } from '../engine/book/trade-line.ts'
import { BinanceParser } from '../engine/exchanges/binance/parse.ts'
import type { Instrument } from '../engine/exchanges/exchange.ts'
import { DepthEvent, TickerEvent, TradeEvent } from '../engine/record/emit.ts'
import type { Emit, FrameParser } from '../engine/record/emit.ts'
import { Recorder } from '../engine/record/recorder.ts'
import { BOOK_STATES, GAP_CAUSES, GAP_CHANNELS, GAP_STATUSES, TRADE_STREAMS } from '../engine/record/schema.ts'
import type { Counters } from '../engine/ring/counters.ts'
import {
  CLOSE,
  DATA,
  DRAIN,
  INSTRUMENT,
  LOSS,
  OPEN,
  SNAPSHOT,
  SNAPSHOT_FAILED,
  TICK,
  extra,
  generation,
  receivedHi,
  receivedLo,
  source,
} from '../engine/ring/frame.ts'
import type { RingWriter } from '../engine/ring/ring.ts'
import { type Connection, Connections, gapChannels, type OpenNotice } from './shard-connections.ts'
import { ShardCounts } from './shard-counters.ts'
import type { ShardCounter } from './shard-counters.ts'
import { InstrumentList } from './shard-instruments.ts'
import type { InstrumentSlot } from './shard-instruments.ts'
import type { BookShardSettings } from './shard-settings.ts'
import { SnapshotQuestions } from './shard-snapshots.ts'
import { ShardOutput } from './shard-output.ts'
import { RejectedFrames } from './rejected-frames.ts'

export { SHARD_DEFAULTS } from './shard-settings.ts'
export type { BookShardSettings }

/** EXTRA of a SNAPSHOT in a replay, where the body does not say whose it is: the book that waits. */
export const ANY_INSTRUMENT = 0xffffffff

/**
 * The work of one shard as a pure function of its ring: frames in, blocks, live messages and requests out. No socket, no
 * clock, no randomness, so a recording of the frames is a recording of the run.
 *
 * Arithmetic, one core, the recorded USD-M mix (294 bytes, 4 level updates a message): ring 50 ns, scan 300, book 100,
 * columns 80: some 550 ns a message. Measured 700 to 720 (1.4 M messages/s), 1,100 with the live path fed row by row.
 */
/** The end of the worker before this one, and the channels whose gap is written. */
interface Restart {
  readonly hi: number
  readonly lo: number
  readonly detail: string
  readonly told: Set<string>
}

export class Shard implements Emit {
  readonly depth = new DepthEvent()
  readonly trade = new TradeEvent()
  readonly ticker = new TickerEvent()
  readonly priceScales: Uint8Array
  readonly quantityScales: Uint8Array
  readonly list: InstrumentList
  readonly rejected = new RejectedFrames()
  readonly recorder: Recorder
  readonly gaps: GapLog
  readonly #settings: BookShardSettings
  readonly #counts: ShardCounts
  readonly #parser: FrameParser
  readonly #output: ShardOutput
  readonly #publisher: BookPublisher
  readonly #requests: RingWriter
  readonly #connections: Connections
  readonly #questions: SnapshotQuestions
  readonly #snapshot = new DepthEvent()
  #connection: Connection | undefined
  #restart: Restart | undefined
  #table
  #source = 0
  #generation = 0

  constructor(
    settings: BookShardSettings,
    batches: RingWriter,
    requests: RingWriter,
    counters: Counters<ShardCounter>,
    awaitRoom: () => boolean,
  ) {
    this.#settings = settings
    this.#requests = requests
    this.#counts = new ShardCounts(counters)
    const limits = { ...settings.keeper, refreshes: settings.keeper.refreshes && !settings.learnUnknown }
    this.list = new InstrumentList(limits, this.#keeperEvents())
    this.priceScales = this.list.scales.prices
    this.quantityScales = this.list.scales.quantities
    this.#output = new ShardOutput(
      batches,
      this.#counts,
      awaitRoom,
      (instrument) => (this.list.slots[instrument] as InstrumentSlot).name,
    )
    const options = {
      producer: settings.producer,
      exchange: settings.exchange,
      rowsMax: settings.batch.rowsMax,
      bytesMax: settings.batch.bytesMax,
    }
    this.recorder = new Recorder(
      options,
      (instrument) => (this.list.slots[instrument] as InstrumentSlot).name.id,
      this.priceScales,
      this.quantityScales,
      (block) => this.#output.block(block),
    )
    if (settings.live) this.#output.followLive(this.recorder.blocks)
    this.gaps = new GapLog(this.recorder)
    this.list.attach(this.recorder, this.gaps)
    this.#connections = new Connections(this.list, this.gaps, this.recorder, settings.market)
    const frameHead = () => ({ source: this.#source, generation: this.#generation })
    this.#questions = new SnapshotQuestions(requests, this.#connections, this.recorder, this.#counts, frameHead)
    this.#parser = new BinanceParser(this)
    this.#publisher = new BookPublisher(
      settings.snapshots,
      settings.publisher,
      this.recorder,
      this.list.scales,
      this.#output,
      (outcome, by) => this.#counts.add(`publish_${outcome}`, by),
    )
    this.#table = this.list.table(settings.market)
    for (const instrument of settings.instruments) {
      assert(
        instrument.exchange === settings.exchange,
        `instrument ${instrument.id} in a shard of ${settings.exchange}`,
      )
      this.list.add(instrument)
    }
  }

  /** One record of the frame ring. */
  onFrame(kind: number, bytes: Uint8Array, offset: number, length: number): void {
    this.recorder.hi = receivedHi(bytes, offset) | 0
    this.recorder.lo = receivedLo(bytes, offset) | 0
    this.#source = source(bytes, offset)
    this.#generation = generation(bytes, offset)
    switch (kind) {
      case DATA:
        return this.#data(bytes, offset, length)
      case TICK:
        return this.#tick()
      case SNAPSHOT:
        return this.#anchor(bytes, offset, length, extra(bytes, offset))
      case SNAPSHOT_FAILED:
        return this.#snapshotFailed(extra(bytes, offset))
      case OPEN:
        return this.#open(JSON.parse(plainText(bytes, offset, length)) as OpenNotice)
      case CLOSE:
        this.#connections.close(this.#source, this.#generation, plainText(bytes, offset, length))
        return this.#leave()
      case LOSS:
        this.#counts.add('frames_lost', extra(bytes, offset))
        return this.#connections.lose(this.#source, this.#generation, extra(bytes, offset))
      case INSTRUMENT:
        this.list.add(JSON.parse(plainText(bytes, offset, length)) as Instrument, extra(bytes, offset))
        return
      case DRAIN:
        return this.#drain()
      default:
        assert(false, `frame of unknown kind ${kind}`)
    }
  }

  /** After each drain of the ring: what is new goes out on the live path, and everything becomes visible. */
  endOfDrain(): void {
    this.#output.endOfDrain()
    this.#requests.publish()
    this.#counts.settle(this.gaps.openedCount)
  }

  /** A worker before this one died: everything since then may be missing, on whatever the connections carry. */
  restarted(sinceHi: number, sinceLo: number, detail: string): void {
    this.#restart = { hi: sinceHi | 0, lo: sinceLo | 0, detail, told: new Set() }
  }

  #open(notice: OpenNotice): void {
    if (this.#restart !== undefined) this.#tellRestart(this.#restart, notice)
    this.#connections.open(this.#source, this.#generation, notice)
    this.#leave()
  }

  #tellRestart({ hi, lo, detail, told }: Restart, { instruments }: OpenNotice): void {
    for (const { instrument, channels } of instruments) {
      for (const channel of gapChannels(channels)) {
        const key = `${instrument}/${channel}`
        if (told.has(key)) continue
        told.add(key)
        this.gaps.open(instrument, channel, GAP_CAUSES.worker_restart, hi, lo, 0, 0, detail)
      }
    }
  }

  // ---- what the parser calls

  get symbols(): object {
    return this.#table
  }

  find(bytes: Uint8Array, offset: number, end: number): number {
    return this.#table.find(bytes, offset, end)
  }

  learn(bytes: Uint8Array, offset: number, end: number): number {
    return this.#settings.learnUnknown
      ? this.list.learn(this.#settings.exchange, this.#settings.market, bytes, offset, end)
      : -1
  }

  widen(instrument: number, kind: 'price' | 'quantity', scale: number): boolean {
    this.#counts.add('scale_widenings', 1)
    return this.list.widen(instrument, kind, scale)
  }

  onDepth(): void {
    const slot = this.list.slots[this.depth.instrument] as InstrumentSlot
    slot.keeper.receive(this.depth)
  }

  onTrade(): void {
    const event = this.trade
    const slot = this.list.slots[event.instrument] as InstrumentSlot
    const line = event.stream === TRADE_STREAMS.trade ? slot.trades : slot.aggTrades
    const verdict = line.see(event.tradeId)
    if (verdict === REPEATED) return this.#counts.add('duplicates', 1)
    if (this.gaps.isOpen(event.instrument, GAP_CHANNELS.trades))
      this.gaps.close(event.instrument, GAP_CHANNELS.trades, event.tradeId)
    else if (verdict === JUMPED) this.#missingTrades(slot, line.idBeforeJump, line.lastHi, line.lastLo)
    line.lastHi = this.recorder.hi
    line.lastLo = this.recorder.lo
    if (event.isFiltered) return
    this.#counts.trades++
    slot.totals.add(event.tradeId, event.price, event.quantity)
    this.recorder.trade(event)
  }

  onTicker(): void {
    const event = this.ticker
    const slot = this.list.slots[event.instrument] as InstrumentSlot
    if (!slot.tickers.see(event.updateId)) return this.#counts.add('duplicates', 1)
    if (this.gaps.isOpen(event.instrument, GAP_CHANNELS.book_tickers))
      this.gaps.close(event.instrument, GAP_CHANNELS.book_tickers, event.updateId)
    slot.tickerCount++
    this.#counts.tickers++
    this.recorder.ticker(event)
  }

  /** Ids of the venue were skipped; the stream goes on, so the gap is closed from the start. */
  #missingTrades(slot: InstrumentSlot, idBefore: number, hi: number, lo: number): void {
    const { recorder, trade } = this
    this.gaps.openedCount++
    slot.tradeGapCount++
    recorder.gap({
      instrument: slot.index,
      channel: GAP_CHANNELS.trades,
      cause: GAP_CAUSES.sequence,
      status: GAP_STATUSES.closed,
      fromHi: hi,
      fromLo: lo,
      toHi: recorder.hi,
      toLo: recorder.lo,
      fromSeq: idBefore,
      toSeq: trade.tradeId,
      lostCount: trade.tradeId - idBefore - 1,
      detail: trade.stream === TRADE_STREAMS.trade ? 'trade' : 'agg_trade',
    })
  }

  // ---- frames

  #data(bytes: Uint8Array, offset: number, length: number): void {
    this.#counts.messages++
    const connection = this.#connections.find(this.#source, this.#generation)
    if (connection !== this.#connection) this.#enter(connection)
    if (connection !== undefined) {
      connection.lastHi = this.recorder.hi
      connection.lastLo = this.recorder.lo
    }
    if (this.#settings.learnUnknown && isDepthBody(bytes, offset))
      return this.#anchor(bytes, offset, length, ANY_INSTRUMENT)
    const outcome = this.#parser.parse(bytes, offset, length)
    if (outcome !== '') this.#refused(outcome, bytes, offset, length)
  }

  #enter(connection: Connection | undefined): void {
    this.#connection = connection
    this.#table = connection?.table ?? this.list.table(this.#settings.market)
  }

  /** The connections changed: the next frame looks its own up. */
  #leave(): void {
    this.#enter(undefined)
  }

  #refused(outcome: string, bytes: Uint8Array, offset: number, length: number): void {
    if (!this.#counts.refused(outcome)) return
    this.#reject(outcome, bytes, offset, length)
    const { instrument, isDepth, isTicker } = this.#parser.blamed
    const slot = this.list.slots[instrument]
    if (slot === undefined) return
    if (isDepth) slot.keeper.resync('rejected', 1, outcome)
    else if (isTicker) this.#missingTicker(slot, outcome)
  }

  /** Trades tell by their ids what is missing, tickers do not: the gap is from the refused frame to the next ticker. */
  #missingTicker({ index, tickers }: InstrumentSlot, detail: string): void {
    const { hi, lo } = this.recorder
    this.gaps.open(
      index,
      GAP_CHANNELS.book_tickers,
      GAP_CAUSES.rejected,
      hi,
      lo,
      Math.max(0, tickers.lastId),
      1,
      detail,
    )
  }

  #reject(reason: string, bytes: Uint8Array, offset: number, length: number): void {
    this.rejected.keep(
      reason,
      this.#source,
      this.#generation,
      joinNs(this.recorder.hi, this.recorder.lo),
      bytes,
      offset,
      length,
    )
  }

  #anchor(bytes: Uint8Array, offset: number, length: number, wanted: number): void {
    const slot = wanted === ANY_INSTRUMENT ? this.#waiting(bytes, offset, length) : this.list.slots[wanted]
    if (slot === undefined) return this.#counts.add('snapshots_unwanted', 1)
    // A book that nobody opened yet waits from now on: in a recording the snapshot may come first.
    if (slot.keeper.book.state === BOOK_STATES.INIT && this.#settings.learnUnknown) slot.keeper.begin()
    const isAwaited = this.#settings.learnUnknown || this.#questions.isAwaited(slot.index, this.#generation)
    const { keeper } = slot
    if (!(keeper.isWaiting || keeper.isRefreshing) || !isAwaited) return this.#counts.add('snapshots_unwanted', 1)
    this.#questions.answered(slot.index)
    const outcome = this.#parser.parseSnapshot(bytes, offset, length, slot.index, this.#snapshot)
    if (outcome !== '') {
      this.#counts.add(`rejected_${outcome}` as ShardCounter, 1)
      this.#counts.add('rejected', 1)
      this.#reject(outcome, bytes, offset, length)
      return this.#snapshotFailed(slot.index)
    }
    if (keeper.isRefreshing) keeper.renew(this.#snapshot)
    else keeper.anchor(this.#snapshot)
  }

  /** A bare REST body of a recording: of the instrument it names, else of the one whose book waits. */
  #waiting(bytes: Uint8Array, offset: number, length: number): InstrumentSlot | undefined {
    const { slots } = this.list
    const symbol = this.#parser.snapshotSymbol(bytes, offset, length)
    if (symbol !== '') return slots.find((slot) => slot.name.symbol === symbol)
    return (
      slots.find((slot) => slot.keeper.isWaiting) ?? slots.find((slot) => slot.keeper.book.state === BOOK_STATES.INIT)
    )
  }

  #snapshotFailed(instrument: number): void {
    const keeper = this.list.slots[instrument]?.keeper
    keeper?.abandonRefresh()
    if (keeper?.isWaiting) this.#questions.wantLater(instrument, keeper.attempts)
  }

  #tick(): void {
    this.#questions.tick()
    this.#publisher.tick(this.#questions.nowMs(), this.list.slots, this.#settings.publishes)
    this.recorder.sealOlderThan(this.recorder.hi, this.recorder.lo, this.#settings.batch.ageMsMax)
  }

  #drain(): void {
    for (const slot of this.list.slots) slot.keeper.finish()
    this.#publisher.writeRows(this.list.slots)
    this.recorder.sealAll()
    this.#output.drained()
  }

  // ---- what the keepers say

  #keeperEvents(): KeeperEvents {
    return {
      wantSnapshot: (instrument, attempt) => this.#questions.want(instrument, attempt),
      added: () => this.#counts.add('books_INIT', 1),
      stateChanged: (_instrument, from, to) => this.#counts.stateChanged(from, to),
      count: (what, by) => {
        if (what === 'applied') this.#counts.applied += by
        else this.#counts.add(what, by)
      },
    }
  }
}

/** @param awaitRoom waits a little for the batch ring to empty; false when the worker is to end. */
export function createShard(
  settings: BookShardSettings,
  batches: RingWriter,
  requests: RingWriter,
  counters: Counters<ShardCounter>,
  awaitRoom: () => boolean,
): Shard {
  return new Shard(settings, batches, requests, counters, awaitRoom)
}

const DEPTH_BODY = /^\s*\{\s*"lastUpdateId"/

/** Only a frame that does not begin like an event is looked at closer. */
function isDepthBody(bytes: Uint8Array, offset: number): boolean {
  if (bytes[offset + 2] === 115 || bytes[offset + 2] === 101) return false // {"s… and {"e…
  return DEPTH_BODY.test(plainText(bytes, offset, 40))
}

function plainText(bytes: Uint8Array, offset: number, length: number): string {
  return Buffer.from(bytes.subarray(offset, offset + length)).toString('utf8')
}
