import type { Cadence } from '../engine/book/cadence.ts'
import type { Channel } from '../engine/exchanges/exchange.ts'
import { READ_RULES } from '../engine/exchanges/index.ts'
import type { FrameTime, GapRow } from '../engine/record/recorder.ts'
import { BOOK_STATES, GAP_CAUSES, GAP_CHANNELS, GAP_STATUSES } from '../engine/record/schema.ts'
import type { InstrumentList, InstrumentSlot } from './shard-instruments.ts'
import type { ShardMarket } from './shard-market.ts'

interface CarriedInstrument {
  readonly slot: InstrumentSlot
  readonly channels: readonly number[]
}

/** One socket that is open and subscribed: which channels of which instruments it carries. */
export interface Connection {
  readonly source: number
  readonly generation: number
  /** A number for each socket, never 0. */
  readonly key: number
  /** Grows and shrinks while the socket is open. */
  instruments: readonly CarriedInstrument[]
  readonly market: ShardMarket
  /** 0 unless several connections carry the same streams. */
  readonly leg: number
  /** Receive time of its last frame: up to here nothing is missing. */
  lastHi: number
  lastLo: number
}

/** What OPEN says. */
export interface OpenNotice {
  readonly connection: number
  readonly leg?: number
  /** all that the connection should carry is acknowledged by now */
  readonly isSubscribed?: boolean
  readonly instruments: readonly { readonly instrument: number; readonly channels: readonly Channel[] }[]
}

const CHANNEL_OF: Readonly<Record<Channel, number>> = { ...GAP_CHANNELS, agg_trades: GAP_CHANNELS.trades }

/** Channels that speak only when something happened: to be subscribed again is all the proof there is. */
const EVENT_CHANNELS: readonly number[] = [GAP_CHANNELS.liquidations, GAP_CHANNELS.klines]

/** Where nothing has to come, being subscribed is the end of a gap; a book starts anew in any case. */
function closeQuiet({ instruments }: Connection): void {
  for (const { slot, channels } of instruments) {
    for (const channel of channels) {
      const isQuiet = EVENT_CHANNELS.includes(channel) || (!slot.isTrading && channel !== GAP_CHANNELS.book)
      if (isQuiet) slot.record.gaps.close(slot.index, channel, 0)
    }
  }
}

/** Channels as the tables of gaps name them, each once. */
function gapChannels(channels: readonly Channel[]): readonly number[] {
  return [...new Set(channels.map((channel) => CHANNEL_OF[channel]))]
}

/** A time in which nothing was kept, whatever the connections carry, and the channels whose gap is written. */
interface Absence {
  readonly cause: number
  readonly hi: number
  readonly lo: number
  /** 0 while it lasts: until the channel delivers again */
  readonly toHi: number
  readonly toLo: number
  readonly detail: string
  /** undefined: all */
  readonly connections: readonly number[] | undefined
  readonly told: Set<string>
}

const nobody = (connections: Absence['connections']): Pick<Absence, 'connections' | 'told'> => ({
  connections,
  told: new Set(),
})

/** What DOWN says: times in ns since the epoch, as decimal text. */
export interface DownNotice {
  /** everything received before is kept; absent when nothing is known of an earlier run */
  readonly sinceNs?: string
  /** blocks that were accepted and are damaged */
  readonly lost: readonly { readonly fromNs: string; readonly toNs: string; readonly detail: string }[]
  /** blocks that were accepted and are deleted, for the spool is full; told at once for what is `carried`, and not again */
  readonly dropped?: DownNotice['lost'][number]
  /** these alone; absent: all */
  readonly connections?: readonly number[]
  /** what they will carry, when they open: the process may end before they do, and the next one would not know */
  readonly carried?: OpenNotice['instruments']
}

/**
 * The open connections of a shard. Two generations of one connection may be open at once: a channel is interrupted only
 * when the last connection that carries it is gone.
 */
export class Connections {
  readonly #open = new Map<number, Connection>()
  readonly #list: InstrumentList
  readonly #time: FrameTime
  readonly #cadence: Cadence
  readonly #marketOf: (slot: InstrumentSlot | undefined) => ShardMarket
  readonly #absences: Absence[] = []
  /** The last one looked up: frames come in bursts. */
  #last: Connection | undefined

  /** @param marketOf the market of a connection whose first instrument this is */
  constructor(
    list: InstrumentList,
    time: FrameTime,
    cadence: Cadence,
    marketOf: (slot: InstrumentSlot | undefined) => ShardMarket,
  ) {
    this.#list = list
    this.#time = time
    this.#cadence = cadence
    this.#marketOf = marketOf
  }

  find(source: number, generation: number): Connection | undefined {
    const last = this.#last
    if (last !== undefined && last.source === source && last.generation === generation) return last
    const found = this.#open.get(keyOf(source, generation))
    if (found !== undefined) this.#last = found
    return found
  }

  open(source: number, generation: number, notice: OpenNotice): void {
    if (this.#open.has(keyOf(source, generation))) this.close(source, generation, 'opened twice')
    const instruments = this.#named(notice)
    this.#tellAbsences([source], instruments)
    const { hi, lo } = this.#time
    const connection: Connection = {
      source,
      generation,
      key: keyOf(source, generation),
      instruments,
      market: this.#marketOf(instruments[0]?.slot),
      leg: notice.leg ?? 0,
      lastHi: hi,
      lastLo: lo,
    }
    this.#open.set(keyOf(source, generation), connection)
    this.#cover(connection, instruments)
    if (notice.isSubscribed === true) closeQuiet(connection)
  }

  /** A worker before this one died: everything since then may be missing, on whatever the connections carry. */
  restarted(hi: number, lo: number, detail: string): void {
    this.#absences.push({ cause: GAP_CAUSES.worker_restart, hi, lo, toHi: 0, toLo: 0, detail, ...nobody(undefined) })
  }

  /** The process did not run, or its disk lost what it had kept. */
  wasDown({ sinceNs, lost, dropped, connections, carried }: DownNotice): void {
    if (carried !== undefined) {
      const instruments = this.#named({ instruments: carried })
      if (dropped === undefined) this.#tellAbsences(connections, instruments)
      else this.#tellAbsence({ ...pastAbsence(GAP_CAUSES.loss, dropped), ...nobody(connections) }, instruments)
      return
    }
    for (const range of lost)
      this.#absences.push({ ...pastAbsence(GAP_CAUSES.spool_corrupt, range), ...nobody(connections) })
    if (sinceNs === undefined) return
    const [hi, lo] = wordsOf(sinceNs)
    const detail = 'the collector did not run'
    // before that of a worker: of two gaps that last the first is opened, and this one began earlier
    this.#absences.unshift({
      cause: GAP_CAUSES.collector_down,
      hi,
      lo,
      toHi: 0,
      toLo: 0,
      detail,
      ...nobody(connections),
    })
  }

  #tellAbsences(connections: readonly number[] = [], instruments: readonly CarriedInstrument[]): void {
    for (const absence of this.#absences)
      if (connections.some((one) => absence.connections?.includes(one) !== false))
        this.#tellAbsence(absence, instruments)
  }

  #tellAbsence(absence: Absence, instruments: readonly CarriedInstrument[]): void {
    const { cause, hi, lo, toHi, detail, told } = absence
    for (const { slot, channels } of instruments) {
      for (const channel of channels) {
        const key = `${slot.index}/${channel}`
        if (told.has(key)) continue
        told.add(key)
        if (toHi === 0) slot.record.gaps.open(slot.index, channel, cause, hi, lo, 0, 0, detail)
        else slot.record.gaps.write(closedGap(slot.index, channel, absence))
      }
    }
  }

  /** An open socket carries more from now on. */
  join(source: number, generation: number, notice: OpenNotice): void {
    const connection = this.find(source, generation)
    if (connection === undefined) return // it closed meanwhile; its successor's OPEN says all
    const added = this.#named(notice)
    connection.instruments = [...connection.instruments, ...added]
    this.#cover(connection, added)
    if (notice.isSubscribed === true) closeQuiet(connection)
  }

  /** An open socket does not carry this any more: that was wanted, so nothing is missing. */
  part(source: number, generation: number, notice: OpenNotice): void {
    const connection = this.find(source, generation)
    if (connection === undefined) return
    for (const { slot, channels } of this.#named(notice)) {
      const carried = connection.instruments.filter((one) => one.slot === slot)
      const kept = connection.instruments.filter((one) => one.slot !== slot)
      const left = carried.flatMap((one) => one.channels).filter((channel) => !channels.includes(channel))
      const gone = carried.flatMap((one) => one.channels).filter((channel) => channels.includes(channel))
      connection.instruments = left.length === 0 ? kept : [...kept, { slot, channels: left }]
      for (const channel of gone) this.#uncover(connection, slot, channel)
      if (gone.includes(GAP_CHANNELS.book) && slot.keeper.legCount === 0) slot.keeper.retire(BOOK_STATES.INIT)
    }
  }

  #named(notice: Pick<OpenNotice, 'instruments'>): readonly CarriedInstrument[] {
    return notice.instruments.flatMap(({ instrument, channels }) => {
      const slot = this.#list.slots[instrument]
      return slot === undefined ? [] : [{ slot, channels: gapChannels(channels) }]
    })
  }

  #cover({ leg }: Connection, instruments: readonly CarriedInstrument[]): void {
    for (const { slot, channels } of instruments) {
      for (const channel of channels) {
        slot.coverage[channel] = (slot.coverage[channel] as number) + 1
        const { exchange, market } = slot.name
        this.#cadence.open(slot.index, channel, leg, `${exchange}.${market}`, READ_RULES.get(exchange)?.habits)
      }
      if (!channels.includes(GAP_CHANNELS.book)) continue
      slot.keeper.legCount++
      slot.keeper.begin()
    }
  }

  /** @returns whether another connection still carries it. */
  #uncover({ leg }: Connection, slot: InstrumentSlot, channel: number): boolean {
    slot.coverage[channel] = (slot.coverage[channel] as number) - 1
    this.#cadence.close(slot.index, channel, leg)
    if (channel === GAP_CHANNELS.book) slot.keeper.legCount--
    return (slot.coverage[channel] as number) > 0
  }

  close(source: number, generation: number, reason: string): void {
    const connection = this.#open.get(keyOf(source, generation))
    if (connection === undefined) return
    this.#open.delete(keyOf(source, generation))
    this.#last = undefined
    const { lastHi, lastLo } = connection
    for (const { slot, channels } of connection.instruments) {
      for (const channel of channels) {
        if (this.#uncover(connection, slot, channel) && this.#isCarriedElsewhere(connection, slot, channel)) continue
        if (channel === GAP_CHANNELS.book) slot.keeper.suspend(lastHi, lastLo, reason)
        else
          slot.record.gaps.open(
            slot.index,
            channel,
            GAP_CAUSES.disconnect,
            lastHi,
            lastLo,
            slot.lastId(channel),
            0,
            reason,
          )
      }
    }
  }

  /** By its next generation or another leg. Others may carry the same channel too, but other streams of it. */
  #isCarriedElsewhere({ source, leg }: Connection, slot: InstrumentSlot, channel: number): boolean {
    for (const other of this.#open.values()) {
      if (other.source !== source && other.leg === leg) continue
      if (other.instruments.some((one) => one.slot === slot && one.channels.includes(channel))) return true
    }
    return false
  }

  /** Frames of this connection found no room. */
  lose(source: number, generation: number, lostCount: number): void {
    const connection = this.find(source, generation)
    if (connection === undefined) return
    const detail = `${lostCount} frames found no room in the ring`
    const { lastHi, lastLo } = connection
    for (const { slot, channels } of connection.instruments) {
      for (const channel of channels) {
        if (channel === GAP_CHANNELS.book) slot.keeper.resync('loss', lostCount, detail)
        else
          slot.record.gaps.open(
            slot.index,
            channel,
            GAP_CAUSES.loss,
            lastHi,
            lastLo,
            slot.lastId(channel),
            lostCount,
            detail,
          )
      }
    }
  }

  /** The newest connection that carries a channel (of this leg); for a book the one whose stream a snapshot has to fit. */
  carrierOf(instrument: number, channel: number = GAP_CHANNELS.book, leg?: number): Connection | undefined {
    let carrier: Connection | undefined
    for (const connection of this.#open.values()) {
      const carries = connection.instruments.some(
        ({ slot, channels }) => slot.index === instrument && channels.includes(channel),
      )
      if (carries && (leg === undefined || leg === connection.leg)) carrier = connection
    }
    return carrier
  }
}

function pastAbsence(cause: number, { fromNs, toNs, detail }: DownNotice['lost'][number]) {
  const [hi, lo] = wordsOf(fromNs)
  const [toHi, toLo] = wordsOf(toNs)
  return { cause, hi, lo, toHi, toLo, detail }
}

function closedGap(instrument: number, channel: number, absence: Absence): GapRow {
  const { cause, hi: fromHi, lo: fromLo, toHi, toLo, detail } = absence
  const { closed: status } = GAP_STATUSES
  return { instrument, channel, cause, status, fromHi, fromLo, toHi, toLo, fromSeq: 0, toSeq: 0, lostCount: 0, detail }
}

function wordsOf(ns: string): [hi: number, lo: number] {
  const value = BigInt(ns)
  return [Number(value >> 32n) | 0, Number(value & 0xffffffffn) | 0]
}

function keyOf(source: number, generation: number): number {
  return generation * 65_536 + source
}
