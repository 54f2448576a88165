import { assert } from '../base/assert.ts'
import { GAP_CHANNELS, type GapChannel } from '../record/schema.ts'

/**
 * Finds subscriptions that are silent although socket, acknowledgement and neighbours are well, without taking a quiet
 * symbol for a dead one.
 *
 * Every stream (instrument × channel × leg) learns its own rhythm: the mean interval of the last minutes and its longest
 * silence of the last hours. It is silent when
 *
 *      silence > max( floor, meanFactor × mean interval, LONGEST_FACTOR × longest silence ) × patience
 *
 * Why these: for a Poisson stream of rate λ the chance that one pause exceeds t is e^(−λt). With 30 means that is 1e-13
 * a pause: a thousand streams of ten events a second err once in 30 years. The mean of a real stream swings; what it has
 * already survived four times over is not counted against it.
 *
 * Where one stream brings several channels, each of them has the rhythm of all: what the venue leaves out of a message
 * (no funding of a dated future, nothing new in a delta) is no silence.
 *
 * A stream that has not delivered enough to have a rhythm is silent when its channel is known to start within `firstMs`
 * (what is told as soon as it is subscribed, prices sent by the clock) and did not, or when the other channels of its instrument
 * have delivered so much since that even the least of its peers, in proportion, would have delivered EXPECTED_MIN. Peers
 * are instruments that are no busier: the busier an instrument, the more it trades for each change of its book.
 *
 * Silence is only counted while its market delivers at all: when nothing comes, or this thread was late, the connection
 * and not the stream is in question, and that is watched elsewhere (feed/liveness.ts). Each alarm doubles the patience.
 *
 * Arithmetic: `note` is one increment in a typed array (1-2 ns, 0.2 % of a core at 1 M events/s). `check` looks at each
 * open stream once a second: 10,000 streams × ~50 ns = 0.5 ms.
 */

export interface CadenceRule {
  /** never silent before this; infinite: this channel is not judged */
  readonly floorMs: number
  /** of the mean interval: small where the venue sends by the clock */
  readonly meanFactor: number
  /** after opening, something comes within this, whatever the instrument */
  readonly firstMs: number
  /** busy enough that its neighbours on the same instrument tell of it, without peers to compare with */
  readonly isBusy: boolean
}

const MOVED: CadenceRule = { floorMs: 3_000, meanFactor: 30, firstMs: Number.POSITIVE_INFINITY, isBusy: true }
const CLOCKED: CadenceRule = { floorMs: 10_000, meanFactor: 8, firstMs: 15_000, isBusy: false }
const UNJUDGED: CadenceRule = { ...MOVED, floorMs: Number.POSITIVE_INFINITY, isBusy: false }

export const CADENCE_RULES: Readonly<Record<GapChannel, CadenceRule>> = {
  book: MOVED,
  trades: { ...MOVED, floorMs: 5_000 },
  book_tickers: MOVED,
  klines: { ...MOVED, floorMs: 15_000, isBusy: false },
  tickers: { ...MOVED, floorMs: 5_000, isBusy: false },
  mark_prices: CLOCKED,
  index_prices: CLOCKED,
  funding_rates: { ...CLOCKED, floorMs: 60_000, firstMs: 180_000 }, // the slowest venue repeats it every 30 to 90 s
  open_interests: { ...MOVED, floorMs: 15_000, isBusy: false },
  liquidations: UNJUDGED, // hours without one are good news
  long_short_ratios: UNJUDGED, // asked for, not sent
  volatility_indices: CLOCKED,
}

/** How the streams of a venue speak, beyond the rules above. */
export interface StreamHabits {
  /** channels that one stream brings */
  readonly together?: readonly (readonly GapChannel[])[]
  /** what is told as it stands as soon as it is subscribed */
  readonly greets?: readonly GapChannel[]
  /** so often it is told again although nothing changed */
  readonly repeatsMs?: Readonly<Partial<Record<GapChannel, number>>>
}

/** A greeting comes with the acknowledgement; a venue that restarts may take its time. */
const GREETING_MS = 10_000
/** Of the time between two repetitions: one of them may be lost. */
const REPEATS_FACTOR = 2.5

/** A subscribed stream that should have delivered and did not. */
export interface Silence {
  readonly instrument: number
  /** as in GAP_CHANNELS */
  readonly channel: number
  readonly leg: number
  readonly silentMs: number
  /** until then it surely delivered, by the clock of `check`: more may have passed than was counted as silence */
  readonly provenMs: number
  /** what it was allowed */
  readonly allowedMs: number
  readonly hasDelivered: boolean
}

export const CADENCE_CHECK_MS = 1_000
const CHANNEL_COUNT = 16
const LEG_COUNT = 4
const STREAMS_PER_INSTRUMENT = CHANNEL_COUNT * LEG_COUNT

/** The mean forgets with this time constant, the longest silence by half in this time. */
const MEAN_MEMORY_MS = 600_000
const LONGEST_HALVED_MS = 3_600_000
/** Fewer events are no rhythm. */
const LEARNED_EVENTS_MIN = 20
const LONGEST_FACTOR = 4
/** e^-12: one never-delivered stream in 160,000 is taken for dead wrongly, and then left in peace. */
const EXPECTED_MIN = 12
const PEERS_MIN = 3
/** The least of few peers is not the least of all. */
const PEER_RATIO_DOUBT = 5
/** Rates are noisy: so much busier is still no busier. */
const PEER_BUSIER_MAX = 1.2
/** Without peers: so many events of the neighbours, and so many a second, make one of a busy channel certain. */
const NEIGHBOUR_RATIO = 1 / 200
const NEIGHBOURS_PER_SECOND_MIN = 20
const PATIENCE_MAX = 64
/** Patience that an alarm cost comes back by half in each such time of delivering. */
const PATIENCE_HALVED_MS = 600_000

/** One stream: cold state; its count is in the typed array. */
interface Rhythm {
  readonly at: number
  readonly instrument: number
  readonly channel: number
  readonly leg: number
  readonly market: string
  readonly rule: CadenceRule
  readonly floorMs: number
  readonly firstMs: number
  /** places of the counts of all channels that its stream brings */
  readonly together: readonly number[]
  /** connections that carry it now: two during a rotation */
  openCount: number
  seenCount: number
  seenTogether: number
  /** events of this channel since the last look, and of all that its stream brings */
  own: number
  delivered: number
  silentMs: number
  provenMs: number
  /** since it was opened */
  openMs: number
  ownSinceOpen: number
  neighboursSinceOpen: number
  neighboursSinceOwn: number
  /** decaying sums whose quotient is the mean interval */
  events: number
  spanMs: number
  eventsEver: number
  longestMs: number
  patience: number
  calmMs: number
  wasAlarmed: boolean
}

export class Cadence {
  /** by stream; grown with the instruments */
  #counts = new Uint32Array(0)
  readonly #rhythms = new Map<number, Rhythm>()
  readonly #list: Rhythm[] = []
  /** what came since the last look: events by instrument, markets that delivered any */
  #sums = new Float64Array(0)
  readonly #alive = new Set<string>()
  readonly #peers = new Map<string, readonly Rhythm[]>()
  #checkedMs = Number.NaN

  /** Hot: once a delivered event. @param channel as in GAP_CHANNELS */
  note(instrument: number, channel: number, leg = 0): void {
    const at = instrument * STREAMS_PER_INSTRUMENT + channel * LEG_COUNT + leg
    this.#counts[at] = (this.#counts[at] as number) + 1
  }

  /**
   * A connection that carries this stream is open. What was learned in an earlier life still holds.
   * @param market streams of one market vouch for each other
   */
  open(instrument: number, channel: number, leg: number, market: string, habits: StreamHabits = {}): void {
    assert(channel > 0 && channel < CHANNEL_COUNT, `cadence of channel ${channel}`)
    assert(leg >= 0 && leg < LEG_COUNT, `cadence of leg ${leg}`)
    this.#grow(instrument)
    const at = instrument * STREAMS_PER_INSTRUMENT + channel * LEG_COUNT + leg
    const rhythm = this.#rhythms.get(at) ?? this.#add(newRhythm(at, instrument, channel, leg, market, habits))
    if (rhythm.openCount++ > 0) return // a rotation: the stream goes on
    rhythm.seenCount = this.#counts[at] as number
    rhythm.seenTogether = this.#countTogether(rhythm)
    rhythm.silentMs = rhythm.openMs = rhythm.ownSinceOpen = 0
    rhythm.provenMs = this.#checkedMs
    rhythm.neighboursSinceOpen = rhythm.neighboursSinceOwn = 0
  }

  #add(rhythm: Rhythm): Rhythm {
    this.#rhythms.set(rhythm.at, rhythm)
    this.#list.push(rhythm)
    return rhythm
  }

  close(instrument: number, channel: number, leg: number): void {
    const rhythm = this.#rhythms.get(instrument * STREAMS_PER_INSTRUMENT + channel * LEG_COUNT + leg)
    if (rhythm === undefined) return
    assert(rhythm.openCount > 0, `cadence of ${instrument}/${channel}/${leg} is closed already`)
    rhythm.openCount--
  }

  /** Cheap to call at every tick: looks only once in CADENCE_CHECK_MS. @returns who is silent, each once an alarm. */
  check(nowMs: number): readonly Silence[] {
    const elapsedMs = nowMs - this.#checkedMs
    if (elapsedMs < CADENCE_CHECK_MS) return NOBODY
    this.#checkedMs = nowMs
    if (Number.isNaN(elapsedMs)) return NOBODY
    // a longer pause is this thread's own: what came meanwhile is still on its way
    const countedMs = Math.min(elapsedMs, 2 * CADENCE_CHECK_MS)
    this.#countDelivered()
    const kept = Math.exp(-countedMs / MEAN_MEMORY_MS)
    const longestKept = 2 ** (-countedMs / LONGEST_HALVED_MS)
    for (const rhythm of this.#list) {
      if (rhythm.openCount === 0 || !this.#alive.has(rhythm.market)) continue
      const { delivered } = rhythm
      const neighbours = Math.max(0, (this.#sums[rhythm.instrument] as number) - delivered)
      if (delivered > 0 || Number.isNaN(rhythm.provenMs)) rhythm.provenMs = nowMs - elapsedMs
      rhythm.openMs += countedMs
      rhythm.ownSinceOpen += delivered
      rhythm.neighboursSinceOpen += neighbours
      rhythm.neighboursSinceOwn = delivered > 0 ? 0 : rhythm.neighboursSinceOwn + neighbours
      // once it was called silent, time that passes says nothing about its rhythm
      if (delivered > 0 || !rhythm.wasAlarmed) forget(rhythm, countedMs, kept, longestKept)
      if (delivered > 0) learn(rhythm, countedMs)
      else rhythm.silentMs += countedMs
    }
    return this.#judge()
  }

  #judge(): readonly Silence[] {
    const found: Silence[] = []
    this.#peers.clear()
    for (const rhythm of this.#list) {
      if (rhythm.openCount === 0 || rhythm.silentMs < rhythm.floorMs) continue
      const allowedMs = this.#allowedMs(rhythm)
      if (rhythm.silentMs <= allowedMs) continue
      found.push(alarm(rhythm, allowedMs))
    }
    return found
  }

  /** Fills `own` and `delivered` of every stream, the sums of the instruments and the set of markets that deliver. */
  #countDelivered(): void {
    this.#sums.fill(0)
    this.#alive.clear()
    for (const rhythm of this.#list) {
      if (rhythm.openCount === 0) continue
      const count = this.#counts[rhythm.at] as number
      rhythm.own = (count - rhythm.seenCount) >>> 0
      rhythm.seenCount = count
      const together = this.#countTogether(rhythm)
      rhythm.delivered = (together - rhythm.seenTogether) >>> 0
      rhythm.seenTogether = together
      if (rhythm.delivered === 0) continue
      this.#alive.add(rhythm.market)
      this.#sums[rhythm.instrument] = (this.#sums[rhythm.instrument] as number) + rhythm.own
    }
  }

  #countTogether({ together }: Rhythm): number {
    let count = 0
    for (const at of together) count = (count + (this.#counts[at] as number)) >>> 0
    return count
  }

  #allowedMs(rhythm: Rhythm): number {
    const { rule, floorMs, patience, eventsEver, events, spanMs, longestMs } = rhythm
    if (eventsEver >= LEARNED_EVENTS_MIN) {
      const meanMs = spanMs / Math.max(events, Number.MIN_VALUE)
      return Math.max(floorMs, rule.meanFactor * meanMs, LONGEST_FACTOR * longestMs) * patience
    }
    const hasBegun = rhythm.ownSinceOpen > 0
    if (!hasBegun && rhythm.silentMs > rhythm.firstMs * patience) return rhythm.firstMs * patience
    return this.#isExpected(rhythm) ? floorMs : Number.POSITIVE_INFINITY
  }

  /** Its neighbours deliver so much that it should have, too. */
  #isExpected(rhythm: Rhythm): boolean {
    const { neighboursSinceOwn, patience, silentMs, rule } = rhythm
    const { peerCount, ratioMin } = this.#peersOf(rhythm)
    const wanted = EXPECTED_MIN * patience ** 2
    if (peerCount >= PEERS_MIN) return (neighboursSinceOwn * ratioMin) / PEER_RATIO_DOUBT >= wanted
    const perSecond = (neighboursSinceOwn * 1_000) / silentMs
    return rule.isBusy && perSecond >= NEIGHBOURS_PER_SECOND_MIN && neighboursSinceOwn * NEIGHBOUR_RATIO >= wanted
  }

  /** What the same channel of instruments no busier delivers for each event of their other channels. */
  #peersOf(rhythm: Rhythm): { peerCount: number; ratioMin: number } {
    const busyMax = neighbourRate(rhythm) * PEER_BUSIER_MAX
    let peerCount = 0
    let ratioMin = Number.POSITIVE_INFINITY
    for (const peer of this.#group(rhythm)) {
      if (peer === rhythm || neighbourRate(peer) > busyMax) continue
      peerCount++
      ratioMin = Math.min(ratioMin, peer.ownSinceOpen / peer.neighboursSinceOpen)
    }
    return { peerCount, ratioMin }
  }

  /** Who can be compared with, listed once a check. */
  #group({ market, channel }: Rhythm): readonly Rhythm[] {
    const key = `${market}/${channel}`
    const known = this.#peers.get(key)
    if (known !== undefined) return known
    const group = this.#list.filter(
      (peer) =>
        peer.market === market &&
        peer.channel === channel &&
        peer.openCount > 0 &&
        peer.ownSinceOpen > 0 &&
        peer.neighboursSinceOpen >= LEARNED_EVENTS_MIN,
    )
    this.#peers.set(key, group)
    return group
  }

  #grow(instrument: number): void {
    const needed = (instrument + 1) * STREAMS_PER_INSTRUMENT
    if (needed <= this.#counts.length) return
    const grown = new Uint32Array(Math.max(needed, 2 * this.#counts.length))
    grown.set(this.#counts)
    this.#counts = grown
    this.#sums = new Float64Array(grown.length / STREAMS_PER_INSTRUMENT)
  }
}

const NOBODY: readonly Silence[] = []
const CHANNEL_NAMES = new Map<number, GapChannel>(
  Object.entries(GAP_CHANNELS).map(([name, channel]) => [channel, name as GapChannel]),
)

function newRhythm(
  at: number,
  instrument: number,
  channel: number,
  leg: number,
  market: string,
  { together, greets, repeatsMs }: StreamHabits,
): Rhythm {
  const name = CHANNEL_NAMES.get(channel)
  assert(name !== undefined, `cadence knows no channel ${channel}`)
  const rule = CADENCE_RULES[name]
  const restMs = REPEATS_FACTOR * (repeatsMs?.[name] ?? 0)
  const companions = together?.find((names) => names.includes(name)) ?? [name]
  return {
    at,
    instrument,
    channel,
    leg,
    market,
    rule,
    floorMs: Math.max(rule.floorMs, restMs),
    firstMs: Math.max(greets?.includes(name) === true ? GREETING_MS : rule.firstMs, restMs),
    together: companions.map((each) => at + (GAP_CHANNELS[each] - channel) * LEG_COUNT),
    openCount: 0,
    seenCount: 0,
    seenTogether: 0,
    own: 0,
    delivered: 0,
    silentMs: 0,
    provenMs: Number.NaN,
    openMs: 0,
    ownSinceOpen: 0,
    neighboursSinceOpen: 0,
    neighboursSinceOwn: 0,
    events: 0,
    spanMs: 0,
    eventsEver: 0,
    longestMs: 0,
    patience: 1,
    calmMs: 0,
    wasAlarmed: false,
  }
}

function learn(rhythm: Rhythm, elapsedMs: number): void {
  rhythm.events += rhythm.delivered
  rhythm.eventsEver += rhythm.delivered
  // a silence that ended after an alarm was mended: it is no habit of the stream
  if (!rhythm.wasAlarmed) rhythm.longestMs = Math.max(rhythm.longestMs, rhythm.silentMs)
  rhythm.wasAlarmed = false
  rhythm.silentMs = 0
  rhythm.calmMs += elapsedMs
  if (rhythm.calmMs < PATIENCE_HALVED_MS) return
  rhythm.calmMs = 0
  rhythm.patience = Math.max(1, rhythm.patience / 2)
}

/** @param kept @param longestKept what is left of the memories after `elapsedMs` */
function forget(rhythm: Rhythm, elapsedMs: number, kept: number, longestKept: number): void {
  rhythm.events *= kept
  rhythm.spanMs = rhythm.spanMs * kept + elapsedMs
  rhythm.longestMs *= longestKept
}

function neighbourRate({ neighboursSinceOpen, openMs }: Rhythm): number {
  return neighboursSinceOpen / Math.max(1, openMs)
}

function alarm(rhythm: Rhythm, allowedMs: number): Silence {
  const { instrument, channel, leg, silentMs, provenMs } = rhythm
  const hasDelivered = rhythm.ownSinceOpen > 0
  rhythm.wasAlarmed = true
  rhythm.patience = Math.min(PATIENCE_MAX, rhythm.patience * 2)
  rhythm.calmMs = 0
  rhythm.silentMs = 0
  return { instrument, channel, leg, silentMs, provenMs, allowedMs, hasDelivered }
}
