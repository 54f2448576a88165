/**
 * The book as this machine knew it at a time: a stored book and the deltas that continue it, folded by the engine, never
 * guessed. In this order, each a reason to refuse:
 *
 *   gaps      no interval in which the book was not LIVE may hold the time
 *   start     the newest anchor or checkpoint before the time; deltas of its chain have its producer, epoch and book_epoch
 *   settled   the producer's blocks around the time are all stored (they are numbered), and later ones, too; what was read
 *             before that was known is not believed
 *   chain     the numbers of those deltas, held against the venue's own rules (exchanges/…/sync.ts) once more: what was
 *             LIVE when it was recorded has to be whole in the store, too
 *   whole     what comes next continues it, too: the event after the time, or a stored book with the number of the last one.
 *             Else what lies between is not stored, and may have come before the time
 *   alive     something comes next; until the next checkpoint is stored, a quiet book is alive by the word of the live path
 *             alone: one that is not collected any more has no gap, and is no book
 *
 * Order within a chain is that of blocks and rows, which is that in which the collector applied the events: an event that
 * one connection brought early was received before those that it follows. So the book at a time is the chain up to the
 * first event received after it.
 *
 * What a REST snapshot was cut at bounds what is known: levels beyond the last one of the start are not claimed.
 *
 * Arithmetic: 300 s of a busy book are 3,000 deltas of 70 levels a side: the engine groups 420,000 levels in 20 ms, and
 * only the levels that were asked for come here, so the thread that serves WebSockets waits for nothing.
 */
import type { Chain } from '../../book/book.ts'
import type { SyncRules } from '../../book/chain.ts'
import { APPLY, IDLE, STALE } from '../../book/chain.ts'
import { READ_RULES } from '../../exchanges/index.ts'
import type { InstrumentName } from '../engine-link.ts'
import { HttpFault } from '../http-fault.ts'
import type { Params, Store } from '../store.ts'
import { gapsOver } from './gap-rows.ts'
import { nameOf } from './instrument.ts'
import { isoText, NS_PER_SECOND } from './time.ts'

export interface BookAt {
  readonly book_epoch: number
  readonly last_seq: number
  /** of the last event */
  readonly event_ns: string
  readonly received_ns: string
  readonly start: { readonly kind: string; readonly received_ns: string; readonly last_seq: number }
  /** events after the start */
  readonly deltas: number
  readonly proven_bids: number
  readonly proven_asks: number
  readonly bids: string[][]
  readonly asks: string[][]
}

/** Where a start is looked for, one after the other: checkpoints, then anchors, which live a day at most. */
const START_WINDOWS_NS = [900n * NS_PER_SECOND, 25n * 3_600n * NS_PER_SECOND]
/** An event that came early waits 2 s for those before it. */
const EARLY_NS = 10n * NS_PER_SECOND
/** Blocks are sealed and stored within this, and in a little disorder. */
const SETTLE_NS = 5n * NS_PER_SECOND
/** A producer that stored nothing for so long has ended: then its last blocks are all that there will be. */
const STOPPED_NS = 60n * NS_PER_SECOND
/** No block is open longer than this. */
const LEDGER_NS = 3_600n * NS_PER_SECOND
/** Checkpoints come every few minutes, unless the configuration says otherwise. */
const EVIDENCE_WINDOWS_NS = [900n * NS_PER_SECOND, 25n * 3_600n * NS_PER_SECOND]
const RETRY_S = 5
/** Refusals of which a gap at that time is the reason. */
const EXPLAINED_BY_GAPS = ['no_book', 'not_stored_yet', 'book_unproven']

interface Start {
  readonly kind: 'anchor' | 'checkpoint'
  readonly producer: string
  readonly epoch: string
  readonly book_epoch: number
  readonly last_seq: number
  readonly received: string
  readonly event: string
  readonly bid_levels: number
  readonly ask_levels: number
  readonly bids: number
  readonly asks: number
  /** at 10^-18; '' on an empty side */
  readonly last_bid: string
  readonly last_ask: string
}

interface Link {
  readonly place: string
  readonly received: string
  readonly event: string
  readonly first_seq: number
  readonly last_seq: number
  readonly prev_seq: number
}

/** What comes after the time: an event, or a book as it was stored then. */
interface Witness extends Omit<Link, 'place' | 'event'> {
  readonly is_event: 0 | 1
}

interface Question {
  readonly store: Store
  readonly instrument: InstrumentName
  readonly atNs: bigint
  readonly depth: number
  readonly nowNs: bigint
  /** since when the book is LIVE as it is heard now; undefined: it is not, or nothing is heard of it */
  liveSinceNs(): bigint | undefined
  readonly signal: AbortSignal | undefined
}

/** @throws HttpFault with the reason when there is no proven book of that time. */
export async function bookAt(question: Question): Promise<BookAt> {
  try {
    return await provenBook(question)
  } catch (refusal) {
    // what a gap explains is told as a gap
    if (refusal instanceof HttpFault && EXPLAINED_BY_GAPS.includes(refusal.code)) await assertNoGap(question)
    throw refusal
  }
}

async function provenBook(question: Question): Promise<BookAt> {
  const start = await findStart(question)
  if (start === undefined)
    throw new HttpFault(404, 'no_book', `${named(question)}: no anchor or checkpoint of that time is stored`)
  await assertStored(question, start)
  // only now: what was read before the ledger was known to be whole may lack a block that came in between
  const links = await linksOf(question, start)
  const { chain, book, isFollowed } = chainOf(question, start, links)
  const last = chain.at(-1)
  const [levels] = await Promise.all([
    levelsOf(question, start, chain), // the first: while it runs, the engine plans the others
    assertNoGap(question),
    isFollowed ? undefined : assertAlive(question, start, book, last?.received ?? start.received),
  ])
  return {
    book_epoch: start.book_epoch,
    last_seq: last?.last_seq ?? start.last_seq,
    event_ns: last?.event ?? start.event,
    received_ns: last?.received ?? start.received,
    start: { kind: start.kind, received_ns: start.received, last_seq: start.last_seq },
    deltas: chain.length,
    ...levels,
  }
}

async function assertNoGap(question: Question): Promise<void> {
  const { store, instrument, atNs, signal } = question
  const [gap] = await gapsOver(store, instrument, 'book', atNs, atNs + 1n, signal)
  if (gap === undefined) return
  const until = gap.status === 'open' ? {} : { until_ns: String(gap.toNs) }
  throw new HttpFault(503, 'book_not_live', `${named(question)}: gap (${gap.cause})`, {
    state: 'GAP',
    reason: gap.cause,
    since_ns: String(gap.fromNs),
    ...until,
  })
}

const named = ({ instrument, atNs }: Question): string => `${nameOf(instrument)} at ${isoText(atNs)}`
const IS_INSTRUMENT = ['exchange', 'market', 'symbol']
  .map((column) => `fact.${column} = {${column}:String}`)
  .join(' AND ')
const BETWEEN = (low: string, high: string): string =>
  `fact.received_ns >= fromUnixTimestamp64Nano({${low}:Int64}) AND fact.received_ns <= fromUnixTimestamp64Nano({${high}:Int64})`
const IS_BOOT = 'fact.producer = {producer:String} AND fact.epoch = {epoch:UInt64}'
const IS_CHAIN = `${IS_BOOT} AND fact.book_epoch = {book_epoch:UInt32}`
const PLACE = 'bitShiftLeft(fact.block_seq, 20) + fact.row_in_block'
/** A row has fewer levels of both sides than 2^this (LEVELS_MAX); 25 hours of blocks and rows leave so many bits. */
const LEVEL_BITS = 15
const ns = (column: string): string => `toString(toUnixTimestamp64Nano(fact.${column}))`
/** Mantissas of all scales as one integer, at 10^-18. */
const wide = (mantissa: string, scale: string): string =>
  `toInt128(${mantissa}) * toInt128(intExp10(18 - fact.${scale}))`

function rulesOf({ instrument }: Question): SyncRules | undefined {
  const rules = READ_RULES.get(instrument.exchange)
  try {
    return rules?.sync(instrument.market)
  } catch {
    return undefined
  }
}

async function findStart(question: Question): Promise<Start | undefined> {
  const { store, instrument, atNs, signal } = question
  const edge = (side: 'bid' | 'ask'): string => {
    const prices = `fact.${side}_price_mantissas`
    return `if(empty(${prices}), '', toString(${wide(`${prices}[-1]`, 'price_scale')})) AS last_${side}`
  }
  for (const windowNs of START_WINDOWS_NS) {
    const [start] = await store.rows<Start>(
      `SELECT toString(fact.kind) AS kind, fact.producer AS producer, toString(fact.epoch) AS epoch,
         fact.book_epoch AS book_epoch, fact.last_seq AS last_seq,
         ${ns('received_ns')} AS received, ${ns('event_ns')} AS event, fact.bid_levels AS bid_levels, fact.ask_levels AS ask_levels,
         length(fact.bid_price_mantissas) AS bids, length(fact.ask_price_mantissas) AS asks, ${edge('bid')}, ${edge('ask')}
       FROM book_snapshots AS fact
       WHERE ${IS_INSTRUMENT} AND fact.kind IN ('anchor', 'checkpoint') AND ${BETWEEN('low', 'at')}
       ORDER BY fact.received_ns DESC, ${PLACE} DESC LIMIT 1`,
      { ...instrument, low: atNs > windowNs ? atNs - windowNs : 0n, at: atNs },
      { signal },
    )
    if (start !== undefined) return start
  }
  return undefined
}

function chainParams({ instrument }: Question, { producer, epoch, book_epoch }: Start): Record<string, Params[string]> {
  return { ...instrument, producer, epoch, book_epoch }
}

/** What the chain is made of around the start and up to a little after the time, in its order, without the levels. */
async function linksOf(question: Question, start: Start): Promise<readonly Link[]> {
  const { store, atNs, signal } = question
  return await store.rows<Link>(
    `SELECT toString(${PLACE}) AS place, ${ns('received_ns')} AS received, ${ns('event_ns')} AS event,
       fact.first_seq AS first_seq, fact.last_seq AS last_seq, fact.prev_seq AS prev_seq
     FROM book_deltas AS fact
     WHERE ${IS_INSTRUMENT} AND ${IS_CHAIN} AND fact.state = 'LIVE' AND ${BETWEEN('low', 'high')}
     ORDER BY ${PLACE} LIMIT 1 BY ${PLACE}`,
    { ...chainParams(question, start), low: BigInt(start.received) - EARLY_NS, high: atNs + EARLY_NS },
    { signal },
  )
}

/** The links after the start up to the time. @throws HttpFault when they, or what comes next, do not continue it by the venue's rules. */
function chainOf(question: Question, start: Start, links: readonly Link[]) {
  const isAnchor = start.kind === 'anchor'
  // an anchor begins its epoch; a checkpoint stands behind the event with its number
  const before = isAnchor
    ? -1
    : links.findLastIndex((link) => link.last_seq === start.last_seq && BigInt(link.received) <= BigInt(start.received))
  const after = links.slice(before + 1)
  const end = after.findIndex(({ received }) => BigInt(received) > question.atNs)
  const chain = end < 0 ? after : after.slice(0, end)
  const isUnnumbered = isAnchor && start.last_seq === 0 && rulesOf(question)?.anchor === 'rest' // a new listing: any event continues it
  const book: Chain = { seq: isUnnumbered ? -1 : start.last_seq, events: isAnchor ? 0 : 1 }
  let staleCount = 0
  for (const link of chain) {
    if (verdictOf(question, book, link) === STALE) {
      if (book.seq === start.last_seq) staleCount++ // the start has them already
      continue
    }
    book.seq = link.last_seq
    book.events++
  }
  const next = after[chain.length]
  if (next !== undefined) verdictOf(question, book, next)
  return { chain: chain.slice(staleCount), book, isFollowed: next !== undefined }
}

/** @throws HttpFault when the event does not continue the book. */
function verdictOf(question: Question, book: Chain, link: Omit<Link, 'place' | 'event'>): number {
  const { first_seq, last_seq, prev_seq } = link
  const verdict =
    rulesOf(question)?.verdict(book, first_seq, last_seq, prev_seq) ??
    ((prev_seq > 0 ? prev_seq === book.seq : first_seq <= book.seq + 1) ? APPLY : undefined)
  if (verdict === APPLY || verdict === IDLE || verdict === STALE) return verdict
  throw brokenAt(question, `after ${book.seq} comes ${first_seq}..${last_seq}`, link.received)
}

function brokenAt(question: Question, what: string, since_ns: string): HttpFault {
  const message = `${named(question)}: ${what}, what lies between is not stored`
  return new HttpFault(503, 'book_unproven', message, { reason: 'chain', since_ns })
}

/** The levels that are proven, best first. */
async function levelsOf(question: Question, start: Start, chain: readonly Link[]) {
  const { store, depth, signal } = question
  // bids are those of a row's levels that stand before its asks; a side is ordered by its prices, those of bids below 0
  const needed =
    'bid_price_mantissas, bid_quantity_mantissas, ask_price_mantissas, ask_quantity_mantissas, price_scale, quantity_scale'
  const bound = (name: 'bid' | 'ask', isCut: boolean): string => {
    const edge = `toInt128({last_${name}:String})`
    return `is_ask = ${name === 'ask' ? 1 : 0}${isCut ? ` AND price <= ${name === 'ask' ? edge : `-${edge}`}` : ''}`
  }
  const isRest = rulesOf(question)?.anchor !== 'stream'
  const last_bid = start.last_bid === '' ? '999999999999999999999999999999999999' : start.last_bid
  const last_ask = start.last_ask === '' ? '-1' : start.last_ask
  const known = [
    bound('bid', isRest || start.bids < start.bid_levels),
    bound('ask', isRest || start.asks < start.ask_levels),
  ].join(' OR ')
  const decimal = (value: string): string => `reinterpret(${value}, 'Decimal(38, 18)')`
  const rows = await store.rows<{ is_ask: 0 | 1; levels: number; best: string[][] }>(
    `SELECT is_ask, count() AS levels, arrayMap(
         level -> (${decimal('if(is_ask = 1, level.1, -level.1)')}, ${decimal('level.2')}),
         arraySlice(arraySort(groupArray((price, quantity))), 1, {depth:UInt32})
       ) AS best
     FROM (
       SELECT at > length(bid_price_mantissas) AS is_ask, ${wide('price_mantissa', 'price_scale')} * if(is_ask, 1, -1) AS price,
         argMax(${wide('quantity_mantissa', 'quantity_scale')}, bitShiftLeft(place, ${LEVEL_BITS}) + at) AS quantity
       FROM (
         SELECT toUInt64(0) AS place, ${needed} FROM (
           SELECT ${needed} FROM book_snapshots AS fact
           WHERE ${IS_INSTRUMENT} AND ${IS_CHAIN} AND fact.kind = {kind:String} AND fact.last_seq = {start_seq:UInt64}
             AND fact.received_ns = fromUnixTimestamp64Nano({start:Int64}) LIMIT 1
         ) UNION ALL
         SELECT toUInt64(1 + ${PLACE} - {first:UInt64}) AS place, ${needed} FROM book_deltas AS fact
         WHERE ${IS_INSTRUMENT} AND ${IS_CHAIN} AND fact.state = 'LIVE' AND ${BETWEEN('low', 'high')}
           AND ${PLACE} >= {first:UInt64} AND ${PLACE} <= {last:UInt64}
       ) AS fact
       ARRAY JOIN arrayConcat(bid_price_mantissas, ask_price_mantissas) AS price_mantissa,
         arrayConcat(bid_quantity_mantissas, ask_quantity_mantissas) AS quantity_mantissa,
         arrayEnumerate(arrayConcat(bid_price_mantissas, ask_price_mantissas)) AS at
       GROUP BY is_ask, price HAVING quantity != 0 AND (${known})
     )
     GROUP BY is_ask`,
    {
      ...chainParams(question, start),
      kind: start.kind,
      start_seq: start.last_seq,
      start: BigInt(start.received),
      low: BigInt(start.received) - EARLY_NS,
      high: question.atNs,
      first: chain[0]?.place ?? '1',
      last: chain.at(-1)?.place ?? '0',
      depth,
      last_bid,
      last_ask,
    },
    { signal },
  )
  const [bids, asks] = [0, 1].map((side) => rows.find(({ is_ask }) => is_ask === side))
  return {
    proven_bids: bids?.levels ?? 0,
    proven_asks: asks?.levels ?? 0,
    bids: bids?.best ?? [],
    asks: asks?.best ?? [],
  }
}

/** Blocks are numbered: of those that hold rows between start and time none may be missing, and later ones have to be there. */
async function assertStored(question: Question, { producer, epoch, received }: Start): Promise<void> {
  const { store, atNs, nowNs, signal } = question
  const holds = `last_received_ns >= fromUnixTimestamp64Nano({low:Int64}) AND first_received_ns <= fromUnixTimestamp64Nano({at:Int64})`
  const [ledger] = await store.rows<{ first: string; last: string; blocks: number; newest: string }>(
    `SELECT toString(first_) AS first, toString(last_) AS last, arrayCount(seq -> seq >= first_ AND seq <= last_, all_) AS blocks, newest
     FROM (
       SELECT minIf(block_seq, ${holds}) AS first_, maxIf(block_seq, ${holds}) AS last_, groupUniqArray(block_seq) AS all_,
         toString(toUnixTimestamp64Nano(max(last_received_ns))) AS newest
       FROM blocks
       WHERE producer = {producer:String} AND epoch = {epoch:UInt64}
         AND first_received_ns >= fromUnixTimestamp64Nano({from:Int64}) AND first_received_ns <= fromUnixTimestamp64Nano({to:Int64})
     )`,
    {
      producer,
      epoch,
      at: atNs,
      low: BigInt(received) - EARLY_NS,
      from: BigInt(received) - LEDGER_NS,
      to: atNs + LEDGER_NS,
    },
    { signal },
  )
  const newestNs = BigInt(ledger?.newest ?? 0)
  const details = { stored_until_ns: String(newestNs) }
  if (newestNs < atNs || (newestNs < atNs + SETTLE_NS && nowNs < atNs + STOPPED_NS)) {
    const remedy = `rows are stored up to ${isoText(newestNs)}; the live book is at /v1/books`
    throw new HttpFault(503, 'not_stored_yet', `${named(question)}: ${remedy}`, details, RETRY_S)
  }
  const { first = '0', last = '0', blocks = 0 } = ledger ?? {}
  if (BigInt(last) - BigInt(first) + 1n !== BigInt(blocks)) {
    const what = `of the blocks ${first} to ${last} of ${producer} only ${blocks} are stored`
    throw new HttpFault(503, 'not_stored_yet', `${named(question)}: ${what}`, details, RETRY_S)
  }
}

/** A book that was taken from the list has no gap, and no rows any more. @throws HttpFault */
async function assertAlive(question: Question, start: Start, book: Chain, receivedNs: string): Promise<void> {
  const { atNs, liveSinceNs } = question
  const sinceNs = liveSinceNs()
  const isHeard = sinceNs !== undefined && sinceNs <= atNs
  const next = await witnessOf(question, start, isHeard ? EVIDENCE_WINDOWS_NS.slice(0, 1) : EVIDENCE_WINDOWS_NS)
  if (next === undefined && isHeard) return
  if (next === undefined) {
    const message = `${named(question)}: nothing of this book is stored after it, so it may have ended`
    throw new HttpFault(503, 'book_unproven', message, { reason: 'ended', since_ns: receivedNs })
  }
  if (next.is_event === 1) verdictOf(question, book, next)
  // whatever its epoch, it is the same book when nothing came between
  else if (next.last_seq !== Math.max(book.seq, 0))
    throw brokenAt(question, `after ${book.seq} a book of ${next.last_seq} is stored`, next.received)
}

/** The first thing after the time that tells of the book. */
async function witnessOf(question: Question, start: Start, windowsNs: readonly bigint[]): Promise<Witness | undefined> {
  const { store, atNs, signal } = question
  const of = (table: string, condition: string, columns: string): string =>
    `SELECT * FROM (
       SELECT ${columns}, fact.last_seq AS last_seq, fact.received_ns AS at_, ${PLACE} AS place_ FROM ${table} AS fact
       WHERE ${IS_INSTRUMENT} AND ${condition} AND ${BETWEEN('at', 'high')} ORDER BY at_, place_ LIMIT 1)`
  const events = 'toUInt8(1) AS is_event, fact.first_seq AS first_seq, fact.prev_seq AS prev_seq'
  const books = 'toUInt8(0) AS is_event, toUInt64(0) AS first_seq, toUInt64(0) AS prev_seq'
  for (const windowNs of windowsNs) {
    const [witness] = await store.rows<Witness>(
      `SELECT is_event, first_seq, last_seq, prev_seq, toString(toUnixTimestamp64Nano(at_)) AS received FROM (
         ${of('book_deltas', `${IS_CHAIN} AND fact.state = 'LIVE'`, events)} UNION ALL
         ${of('book_snapshots', IS_BOOT, books)}
       ) ORDER BY at_, is_event DESC LIMIT 1`,
      { ...chainParams(question, start), at: atNs, high: atNs + windowNs },
      { signal },
    )
    if (witness !== undefined) return witness
  }
  return undefined
}
