import { assert } from '../engine/base/assert.ts'
import { type Clock, joinNs } from '../engine/base/clock.ts'
import { Cadence } from '../engine/book/cadence.ts'
import type { KeeperEvents } from '../engine/book/keeper-settings.ts'
import { LiveBooks } from '../engine/book/live-books.ts'
import { BookPublisher } from '../engine/book/publisher.ts'
import type { Instrument } from '../engine/exchanges/exchange.ts'
import { DepthEvent } from '../engine/record/emit.ts'
import { FrameTime } from '../engine/record/recorder.ts'
import { BOOK_STATES, GAP_CAUSES, GAP_CHANNELS } from '../engine/record/schema.ts'
import type { Counters } from '../engine/ring/counters.ts'
import {
  BOOK_WANTED,
  CLOSE,
  DATA,
  DOWN,
  DRAIN,
  INSTRUMENT,
  JOIN,
  LOSS,
  OPEN,
  PART,
  POLL,
  REMOVE,
  SNAPSHOT,
  SNAPSHOT_FAILED,
  TICK,
  TRADES,
  TRADES_FAILED,
  WANT_TRADES,
  extra,
  generation,
  receivedHi,
  receivedLo,
  source,
} from '../engine/ring/frame.ts'
import type { RingWriter } from '../engine/ring/ring.ts'
import { RejectedFrames } from './rejected-frames.ts'
import { RestAnswers, isDepthBody } from './shard-answers.ts'
import { type Connection, Connections, type OpenNotice } from './shard-connections.ts'
import { ShardCounts } from './shard-counters.ts'
import type { ShardCounter } from './shard-counters.ts'
import { UndescribedInstruments } from './shard-instrument-row.ts'
import { InstrumentList } from './shard-instruments.ts'
import type { InstrumentSlot } from './shard-instruments.ts'
import { type MarketSurroundings, NO_CARRIER, type ShardMarket } from './shard-market.ts'
import { momentOf, ShardOutput } from './shard-output.ts'
import { type TradeHole, TradeRepairs } from './shard-repairs.ts'
import type { BookShardSettings } from './shard-settings.ts'
import { Silences } from './shard-silences.ts'
import { SnapshotQuestions } from './shard-snapshots.ts'
import { ShardVenues } from './shard-venues.ts'

export { SHARD_DEFAULTS } from './shard-settings.ts'
export type { BookShardSettings }

/** EXTRA of a SNAPSHOT in a replay, where the body does not say whose it is: the book that waits. */
export const ANY_INSTRUMENT = 0xffffffff

/** More anchors than a worker lives to see; 4,294 lives fit the column. */
const BOOK_EPOCHS_A_LIFE = 1_000_000

const LEG_DUPLICATES = ['leg_0_duplicates', 'leg_1_duplicates', 'leg_2_duplicates'] as const

/**
 * The work of one shard as a pure function of its ring: frames in, blocks, live messages and requests out. No socket, no
 * clock, no randomness, so a recording of the frames is a recording of the run.
 *
 *   frame ─► connection ─► its market: parser ─► books, rows (one set of open blocks an exchange) ─► batch ring
 *
 * Arithmetic, one core, the recorded USD-M mix (294 bytes, 4 level updates a message): ring 50 ns, scan 300, book 100,
 * columns 80: some 550 ns a message. Measured 700 to 720 (1.4 M messages/s), 1,100 with the live path fed row by row.
 */
export class Shard {
  readonly list: InstrumentList
  readonly rejected = new RejectedFrames()
  readonly time = new FrameTime()
  readonly #settings: BookShardSettings
  readonly #counts: ShardCounts
  readonly #output: ShardOutput
  readonly #publisher: BookPublisher
  /** undefined where nothing goes out live */
  readonly #liveBooks: LiveBooks | undefined
  readonly #requests: RingWriter
  readonly #connections: Connections
  readonly #questions: SnapshotQuestions
  readonly #repairs: TradeRepairs
  readonly #venues: ShardVenues
  readonly #answers: RestAnswers
  readonly #silences: Silences
  readonly #cadence = new Cadence()
  readonly #around: MarketSurroundings
  readonly #snapshot = new DepthEvent()
  readonly #undescribed = new UndescribedInstruments()
  #connection: Connection | undefined
  #market: ShardMarket
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
    const nameOf = (instrument: number) => (this.list.slots[instrument] as InstrumentSlot).name
    this.#output = new ShardOutput(batches, this.#counts, awaitRoom, nameOf, settings)
    this.list = new InstrumentList(
      (market) => this.#keeperLimits(market),
      { ...this.#keeperEvents(), added: (slot) => this.#added(slot) },
      (exchange) => this.#venues.record(exchange),
      (market) => !settings.bookless.includes(market),
    )
    this.#repairs = new TradeRepairs(
      {
        writeGap: ({ slot, gap }) => {
          slot.tradeGapCount++
          slot.record.gaps.write(gap)
        },
        repaired: ({ slot, gap }) => {
          this.#counts.add('repaired_gaps', 1)
          slot.record.gaps.repaired(gap)
        },
        wantTrades: (hole) => this.#wantTrades(hole),
      },
      this.time,
    )
    this.#around = {
      list: this.list,
      counts: this.#counts,
      repairs: this.#repairs,
      cadence: this.#cadence,
      carrier: NO_CARRIER,
      learnUnknown: settings.learnUnknown,
      onDuplicate: () => this.#duplicate(1),
    }
    this.#venues = new ShardVenues(settings, this.time, this.#output, this.#around)
    this.#answers = new RestAnswers(this.list, this.#venues, this.#repairs, (outcome, bytes, offset, length) => {
      if (this.#counts.refused(outcome)) this.#reject(outcome, bytes, offset, length)
    })
    this.#connections = new Connections(this.list, this.time, this.#cadence, (slot) => this.#venues.marketOf(slot))
    this.#silences = new Silences(this.list, this.#connections, this.time, this.#counts, requests)
    const isInStream = (instrument: number) => (this.list.slots[instrument] as InstrumentSlot).keeper.isAnchoredInStream
    const frameHead = () => ({ source: this.#source, generation: this.#generation })
    this.#questions = new SnapshotQuestions(requests, this.#connections, this.time, this.#counts, isInStream, frameHead)
    this.#publisher = new BookPublisher(
      settings.snapshots,
      settings.publisher,
      this.time,
      this.list.scales,
      this.#output.publications,
      (outcome, by) => this.#counts.add(`publish_${outcome}`, by),
    )
    const { producer, shardIndex: shard, run } = settings
    if (settings.live)
      this.#liveBooks = new LiveBooks({ producer, shard, run }, this.time, this.list.scales, nameOf, this.#output)
    this.#market = this.#venues.marketOf(undefined)
    for (const instrument of settings.instruments) this.list.add(instrument)
  }

  /** One record of the frame ring. */
  onFrame(kind: number, bytes: Uint8Array, offset: number, length: number): void {
    this.time.hi = receivedHi(bytes, offset) | 0
    this.time.lo = receivedLo(bytes, offset) | 0
    this.#source = source(bytes, offset)
    this.#generation = generation(bytes, offset)
    this.#undescribed.describe()
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
        return this.#instrument(JSON.parse(plainText(bytes, offset, length)) as Instrument, extra(bytes, offset))
      case JOIN:
        return this.#connections.join(this.#source, this.#generation, JSON.parse(plainText(bytes, offset, length)))
      case PART:
        return this.#connections.part(this.#source, this.#generation, JSON.parse(plainText(bytes, offset, length)))
      case REMOVE:
        return this.#remove(plainText(bytes, offset, length), extra(bytes, offset))
      case POLL:
        return this.#answers.poll(bytes, offset, length, extra(bytes, offset))
      case TRADES:
        return this.#answers.trades(bytes, offset, length, extra(bytes, offset))
      case TRADES_FAILED:
        return this.#answers.tradesFailed(extra(bytes, offset))
      case DOWN:
        return this.#connections.wasDown(JSON.parse(plainText(bytes, offset, length)))
      case BOOK_WANTED:
        return this.#liveBooks?.want(this.#slot(extra(bytes, offset)))
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
    let opened = 0
    for (const { gaps } of this.#venues.records) opened += gaps.openedCount
    this.#counts.settle(opened)
  }

  /** So that blocks say when they were encoded. */
  useClock = (clock: Pick<Clock, 'stamp'>) => this.#output.useMoments(() => momentOf(clock.stamp(), this.time))

  /** A worker before this one died: everything since then may be missing, on whatever the connections carry. */
  restarted(sinceHi: number, sinceLo: number, detail: string, lives: number): void {
    // deltas and anchors of one boot belong together by their epoch, so it must not be one of the dead
    for (const { keeper } of this.list.slots) keeper.book.epoch = lives * BOOK_EPOCHS_A_LIFE
    this.#connections.restarted(sinceHi | 0, sinceLo | 0, detail)
  }

  // ---- connections

  #open(notice: OpenNotice): void {
    this.#connections.open(this.#source, this.#generation, notice)
    this.#leave()
  }

  #enter(connection: Connection | undefined): void {
    this.#connection = connection
    this.#market = connection?.market ?? this.#venues.marketOf(undefined)
    this.#around.carrier = connection ?? NO_CARRIER
  }

  /** The connections changed: the next frame looks its own up. */
  #leave(): void {
    this.#enter(undefined)
  }

  /** An event came a second time; with several legs that is the rule, and tells which of them is first. */
  #duplicate(by: number): void {
    this.#counts.add('duplicates', by)
    if (this.#connection !== undefined) this.#counts.add(LEG_DUPLICATES[this.#connection.leg] as ShardCounter, by)
  }

  // ---- frames

  #data(bytes: Uint8Array, offset: number, length: number): void {
    this.#counts.messages++
    const connection = this.#connections.find(this.#source, this.#generation)
    if (connection !== this.#connection) this.#enter(connection)
    if (connection !== undefined) {
      connection.lastHi = this.time.hi
      connection.lastLo = this.time.lo
      this.#counts.legMessages[connection.leg] = (this.#counts.legMessages[connection.leg] as number) + 1
    }
    if (this.#settings.learnUnknown && isDepthBody(bytes, offset))
      return this.#anchor(bytes, offset, length, ANY_INSTRUMENT)
    const outcome = this.#market.parser.parse(bytes, offset, length)
    if (outcome !== '') this.#refused(outcome, bytes, offset, length)
  }

  #refused(outcome: string, bytes: Uint8Array, offset: number, length: number): void {
    if (!this.#counts.refused(outcome)) return
    this.#reject(outcome, bytes, offset, length)
    const { instrument, channel } = this.#market.parser.blamed
    const slot = this.list.slots[instrument]
    if (slot === undefined || channel === 0) return
    if (channel === GAP_CHANNELS.book) slot.keeper.resync('rejected', 1, outcome)
    else if (channel !== GAP_CHANNELS.trades || slot.trades.isNamed) this.#missingEvent(slot, channel, outcome)
  }

  /** Numbered trades tell by their ids what is missing, others do not: the gap is from the refused frame to the next. */
  #missingEvent(slot: InstrumentSlot, channel: number, detail: string): void {
    const { hi, lo } = this.time
    const fromSeq = Math.max(0, slot.lastId(channel))
    slot.record.gaps.open(slot.index, channel, GAP_CAUSES.rejected, hi, lo, fromSeq, 1, detail)
  }

  #reject(reason: string, bytes: Uint8Array, offset: number, length: number): void {
    const ns = joinNs(this.time.hi, this.time.lo)
    this.rejected.keep(reason, this.#source, this.#generation, ns, bytes, offset, length)
  }

  #anchor(bytes: Uint8Array, offset: number, length: number, wanted: number): void {
    const slot = wanted === ANY_INSTRUMENT ? this.#waiting(bytes, offset, length) : this.list.slots[wanted]
    if (slot === undefined) return this.#counts.add('snapshots_unwanted', 1)
    const { keeper } = slot
    // A book that nobody opened yet waits from now on: in a recording the snapshot may come first.
    if (keeper.book.state === BOOK_STATES.INIT && this.#settings.learnUnknown) keeper.begin()
    const isAwaited = this.#settings.learnUnknown || this.#questions.isAwaited(slot.index, this.#generation)
    if (!(keeper.isWaiting || keeper.isRefreshing) || !isAwaited) return this.#counts.add('snapshots_unwanted', 1)
    this.#questions.answered(slot.index)
    const { parser } = this.#venues.marketOf(slot)
    const outcome = parser.parseSnapshot(bytes, offset, length, slot.index, this.#snapshot)
    if (outcome !== '') {
      this.#counts.refused(outcome)
      this.#reject(outcome, bytes, offset, length)
      return this.#snapshotFailed(slot.index)
    }
    if (keeper.isRefreshing) keeper.renew(this.#snapshot)
    else keeper.anchor(this.#snapshot)
  }

  /** A bare REST body of a recording: of the instrument it names, else of the one whose book waits. */
  #waiting(bytes: Uint8Array, offset: number, length: number): InstrumentSlot | undefined {
    const { slots } = this.list
    const symbol = this.#market.parser.snapshotSymbol(bytes, offset, length)
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

  #wantTrades({ slot, channel, firstSeq, lastSeq }: TradeHole): void {
    if (this.#settings.learnUnknown) return // nobody answers a replay
    const question = new TextEncoder().encode(JSON.stringify({ channel, firstSeq, lastSeq }))
    const { hi, lo } = this.time
    if (this.#requests.tryWrite(WANT_TRADES, this.#source, this.#generation, slot.index, hi, lo, question))
      this.#counts.add('repairs_wanted', 1)
  }

  // ---- instruments

  #added(slot: InstrumentSlot): void {
    if (slot.hasBook) this.#counts.add('books_INIT', 1)
    if (slot.name.kind !== undefined) this.#undescribed.add(slot)
  }

  /** An instrument is new, or something about it changed. */
  #instrument(instrument: Instrument, index: number): void {
    const isKnown = this.list.slots[index] !== undefined
    const slot = this.list.add(instrument, index)
    if (isKnown) this.#undescribed.add(slot)
    this.#undescribed.describe()
  }

  #slot(index: number): InstrumentSlot {
    const slot = this.list.slots[index]
    assert(slot !== undefined, `no instrument ${index}`)
    return slot
  }

  /** The venue has ended it, or nobody wants it any more; its index stays taken. */
  #remove(reason: string, index: number): void {
    const slot = this.#slot(index)
    const isDelisted = reason === 'DELISTED'
    slot.isRemoved = true
    if (slot.hasBook) slot.keeper.retire(isDelisted ? BOOK_STATES.DELISTED : BOOK_STATES.INIT)
    slot.record.gaps.closeAll(index)
    // no gap tells what passes from here on, as nobody wants it: the instrument's row does
    slot.name = { ...slot.name, status: reason, ...(isDelisted ? { isTrading: false, isPreOpen: false } : {}) }
    this.#undescribed.add(slot)
    this.#undescribed.describe()
  }

  // ---- time

  #tick(): void {
    this.#questions.tick()
    this.#repairs.tick()
    if (!this.#settings.learnUnknown)
      for (const silence of this.#cadence.check(this.#questions.nowMs())) this.#silences.end(silence)
    for (const { keeper } of this.list.slots) keeper.tick()
    this.#publisher.tick(this.#questions.nowMs(), this.list.slots, this.#settings.publishes)
    this.#liveBooks?.tick(this.#questions.nowMs(), this.list.slots)
    const { hi, lo } = this.time
    for (const { recorder } of this.#venues.records) recorder.sealOlderThan(hi, lo, this.#settings.batch.ageMsMax)
  }

  #drain(): void {
    for (const slot of this.list.slots) slot.keeper.finish()
    this.#repairs.finish()
    this.#publisher.writeRows(this.list.slots)
    for (const { recorder } of this.#venues.records) recorder.sealAll()
    this.#output.drained()
  }

  // ---- what the keepers say

  #keeperLimits(market: string): BookShardSettings['keeper'] {
    const { keeper, learnUnknown, snapshotLevels } = this.#settings
    return {
      ...keeper,
      snapshotLevels: snapshotLevels[market] ?? keeper.snapshotLevels,
      refreshes: keeper.refreshes && !learnUnknown,
    }
  }

  #keeperEvents(): KeeperEvents {
    return {
      wantSnapshot: (instrument, attempt) => this.#questions.want(instrument, attempt),
      awaitSnapshot: (instrument) => this.#questions.await(instrument),
      settled: (instrument) => this.#questions.settled(instrument),
      stateChanged: (instrument, from, to) => {
        this.#counts.stateChanged(from, to)
        this.#liveBooks?.stateChanged(this.#slot(instrument))
      },
      anchored: (instrument, reason) => this.#liveBooks?.anchored(this.#slot(instrument), reason),
      count: (what, by) => {
        if (what === 'applied') this.#counts.applied += by
        else if (what === 'duplicates') this.#duplicate(by)
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

function plainText(bytes: Uint8Array, offset: number, length: number): string {
  return Buffer.from(bytes.subarray(offset, offset + length)).toString('utf8')
}
