import assert from 'node:assert/strict'
import type { Answer } from './gateway.ts'
import type { TrueBooks } from './true-books.ts'

/**
 * What has to be answered for the book of a time: which event had been received when is read from the rows of the store by
 * plain SQL; what the book was then is the venues' own account, in which nothing of the engine takes part.
 */

/** How long after an event was made it may have been received, on a machine that does other things, too. */
const LATE_MS = 2_000
/** The others are cut by their venues, or worth too little for so many ticks. */
const DEEP = /^(binance|deribit\.perpetual)/

export type AskRows = <Row>(query: string) => Promise<Row[]>

export interface Received {
  readonly ns: bigint
  /** of the venue's account */
  readonly version: number
}

export interface Life {
  /** of the process that received it */
  readonly boot: string
  readonly anchor: Received & { readonly seq: number }
  /** what continued it, in the order of receiving */
  readonly events: readonly Received[]
}

/** From the anchors of a book to what continued each, as the rows tell. */
export async function livesOf(ask: AskRows, truth: TrueBooks): Promise<Life[]> {
  const [exchange, market, symbol] = truth.id.split('.')
  const rows = (what: string): Promise<{ ns: string; ms: string; seq: string; boot: string; epoch_: number }[]> =>
    ask(`SELECT toString(toUnixTimestamp64Nano(received_ns)) AS ns, toString(toUnixTimestamp64Milli(event_ns)) AS ms,
      toString(last_seq) AS seq, toString(epoch) AS boot, book_epoch AS epoch_ FROM ${what}
      AND exchange = '${exchange}' AND market = '${market}' AND symbol = '${symbol}' ORDER BY received_ns`)
  const [anchors, events] = await Promise.all([
    rows(`book_snapshots WHERE kind = 'anchor'`),
    rows(`book_deltas WHERE state = 'LIVE'`),
  ])
  const received = ({ ns, ms, seq }: (typeof events)[number]) => ({
    ns: BigInt(ns),
    version: truth.indexOf(Number(seq), Number(ms)),
  })
  return anchors.map((anchor) => ({
    boot: anchor.boot,
    anchor: { ...received(anchor), seq: Number(anchor.seq) },
    events: events.filter(({ boot, epoch_ }) => boot === anchor.boot && epoch_ === anchor.epoch_).map(received),
  }))
}

/** How much of what a killed engine had stored its successor takes for lost: it knows only up to when everything was. */
const UNSURE_NS = 6_000_000_000n
/** Nobody was there to say why. */
const CODES_OF_ENDS = ['book_not_live', 'not_stored_yet', 'book_unproven']

type Expected =
  | { readonly must: 'refuse'; readonly codes: readonly string[] }
  | ({ readonly must: 'tell' | 'either' } & {
      readonly life: Life
      readonly version: number
    })

/** When it was heard of last. */
export const endOf = ({ anchor, events }: Life): Received =>
  [anchor, ...events].reduce((last, event) => (event.ns > last.ns ? event : last))

function expectedAt(lives: readonly Life[], ns: bigint, isOver: boolean): Expected {
  const index = lives.findLastIndex(({ anchor }) => anchor.ns <= ns)
  const life = lives[index]
  if (life === undefined) return { must: 'refuse', codes: ['no_book', 'book_not_live'] }
  const known = life.events.filter((event) => event.ns <= ns)
  const version = Math.max(life.anchor.version, ...known.map((event) => event.version))
  const next = lives[index + 1]
  const end = endOf(life)
  const isLast = next === undefined ? isOver : next.boot !== life.boot
  if (isLast && ns <= end.ns && ns > end.ns - UNSURE_NS) return { must: 'either', life, version }
  if (ns < end.ns) return { must: 'tell', life, version }
  if (next === undefined) return { must: isOver ? 'either' : 'tell', life, version }
  // from the last event on something is missing, if anything was
  const isLost = next.anchor.version > version || next.anchor.version < 0
  if (ns <= end.ns || !isLost) return { must: 'either', life, version }
  return { must: 'refuse', codes: life.boot === next.boot ? ['book_not_live'] : CODES_OF_ENDS }
}

const IN_FLIGHT = 4

export async function eachOf(times: readonly bigint[], act: (ns: bigint) => Promise<void>): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      while (next < times.length) await act(times[next++] as bigint)
    }),
  )
}

/** @param isOver the last life has ended, too */
export function judge(
  truth: TrueBooks,
  lives: readonly Life[],
  ns: bigint,
  { status, json, text }: Answer,
  where: string,
  isOver = false,
): void {
  const expected = expectedAt(lives, ns, isOver)
  if (expected.must === 'refuse' || status !== 200) {
    assert.notEqual(expected.must, 'tell', `${where}: refused: ${text}`)
    assert.notEqual(status, 200, `${where}: told though nobody could know it: ${text.slice(0, 500)}`)
    const codes = expected.must === 'refuse' ? expected.codes : CODES_OF_ENDS
    assert.ok(codes.includes(json.error.code), `${where}: ${text}`)
    return
  }
  const { life, version } = expected
  if (version < 0) {
    // a REST snapshot may lie between two events, and is no book of the venue's account
    assert.deepEqual([json.last_seq, json.deltas], [life.anchor.seq, 0], where)
    return
  }
  const found = truth.indexOf(json.last_seq, Number(BigInt(json.event_ns) / 1_000_000n))
  assert.equal(found, version, `${where}: ${json.deltas} deltas from ${JSON.stringify(json.start)} to ${json.last_seq}`)
  const book = truth.book(version)
  for (const side of ['bids', 'asks'] as const) {
    const wanted = truth.id.startsWith('binance') ? book[side].slice(0, json[`proven_${side}`]) : book[side]
    assert.ok(wanted.length >= (DEEP.test(truth.id) ? 400 : 20), `${where}: ${wanted.length} ${side} are proven`)
    assert.deepEqual(json[side], wanted, `${where}: ${side}`)
  }
  // the event had been made, and what the venue did after it could not be here yet
  const ms = Number(ns / 1_000_000n)
  const [made, after] = [truth.versions[version], truth.versions[version + 1]]
  assert.ok(made !== undefined && made.ms <= ms + 1, `${where}: of the future`)
  assert.ok(after === undefined || after.ms >= ms - LATE_MS, `${where}: what came at ${after?.ms} is missing`)
}
