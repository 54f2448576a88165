import type { FeedRules, Instrument, RestRequest } from '../exchanges/exchange.ts'
import type { RestClient } from './rest.ts'
import type { Priority } from './weight.ts'
import { noMatch, readRule, takeTop, unknownSymbol } from './universe-rules.ts'

/**
 * What is collected: the rules of a market → instruments, at the start and again and again. At the start a name that the
 * venue does not list is a mistake of who wrote it; later it is a delisting.
 */
export interface Universe {
  /** sorted by id */
  readonly instruments: readonly Instrument[]
  /** symbols that were named, exist, but do not trade now: subscribed all the same */
  readonly idle: readonly Instrument[]
  /** symbols, in the venue's spelling, of all that the venue lists */
  readonly listed: ReadonlySet<string>
}

/** Beside the list of the venue. */
export interface UniverseView {
  /** 24 h turnover by symbol; needed where a rule says `top:` */
  readonly volumes?: ReadonlyMap<string, number>
  /** ids that are collected now: they stay at the edge of a `top:` rule, and rules without a match are no mistake */
  readonly collected?: ReadonlySet<string>
}

const NOBODY: ReadonlySet<string> = new Set()
const NOTHING_KNOWN: ReadonlyMap<string, number> = new Map()

export function selectInstruments(
  market: string,
  entries: readonly string[],
  listed: readonly Instrument[],
  { volumes = NOTHING_KNOWN, collected }: UniverseView = {},
): Universe {
  const isStart = collected === undefined
  // a listing is collected from its call auction on; what is collected stays through a halt
  const open = listed.filter((each) => isTrading(each) || each.isPreOpen === true || collected?.has(each.id) === true)
  const chosen = new Map<string, Instrument>()
  for (const entry of entries) {
    const rule = readRule(market, entry)
    const among = rule.symbol !== '' ? listed : rule.takesAway ? [...chosen.values()] : open
    const found = among.filter(rule.passes)
    if (found.length === 0 && isStart && !rule.takesAway) {
      throw rule.symbol === '' ? noMatch(market, rule, listed) : unknownSymbol(market, entry, listed)
    }
    const taken = rule.topCount === 0 ? found : takeTop(rule.topCount, found, volumes, collected ?? NOBODY)
    for (const instrument of taken) {
      if (rule.takesAway) chosen.delete(instrument.id)
      else chosen.set(instrument.id, instrument)
    }
  }
  const instruments = [...chosen.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  return {
    instruments,
    idle: instruments.filter((instrument) => !isTrading(instrument)),
    listed: new Set(listed.map(({ symbol }) => symbol)),
  }
}

export function isTrading({ isTrading: told, status }: Instrument): boolean {
  return told ?? status === 'TRADING'
}

export interface UniverseQuestion {
  /** ids that are collected now; absent at the start */
  readonly collected?: ReadonlySet<string>
  /** entries that somebody wrote just now: a name among them that is not listed is a mistake */
  readonly checked?: readonly string[]
}

/** Asks the venue what it lists, and what is traded most where a rule needs that, and chooses. */
export async function readUniverse(
  rules: FeedRules,
  market: string,
  entries: readonly string[],
  rest: RestClient,
  { collected, checked = [] }: UniverseQuestion = {},
): Promise<Universe> {
  const name = `${rules.exchange}.${market}`
  const priority = collected === undefined ? 'start' : 'audit'
  const needsVolumes = entries.some((entry) => readRule(name, entry).topCount > 0)
  const listed = await readList(rules, market, rest, priority)
  const volumes = needsVolumes ? await readVolumes(rules, market, rest, priority) : NOTHING_KNOWN
  selectInstruments(name, checked, listed, { volumes })
  return selectInstruments(name, entries, listed, { volumes, ...(collected === undefined ? {} : { collected }) })
}

/** No venue has so many pages; a cursor that goes round in circles ends here. */
const PAGES_MAX = 100

async function readList(
  rules: FeedRules,
  market: string,
  rest: RestClient,
  priority: Priority,
): Promise<readonly Instrument[]> {
  const listed = new Map<string, Instrument>()
  let request: RestRequest | undefined = rules.instrumentsRequest(market)
  for (let page = 0; request !== undefined && page < PAGES_MAX; page++) {
    const body = await rest.text(request, priority)
    for (const instrument of rules.readInstruments(market, body)) listed.set(instrument.id, instrument)
    request = rules.nextInstrumentsRequest?.(market, body)
  }
  return [...listed.values()]
}

async function readVolumes(
  rules: FeedRules,
  market: string,
  rest: RestClient,
  priority: Priority,
): Promise<ReadonlyMap<string, number>> {
  const requests = rules.volumesRequests?.(market) ?? [rules.volumesRequest(market)]
  const answers = await Promise.all(requests.map((request) => rest.text(request, priority)))
  return new Map(answers.flatMap((body) => [...rules.readVolumes(market, body)]))
}

/** What is different between what is collected and what should be. */
export interface UniverseChange {
  readonly added: readonly Instrument[]
  readonly removed: readonly { readonly instrument: Instrument; readonly isDelisted: boolean }[]
  /** the same id, but its state, a step or anything else of it is different */
  readonly changed: readonly Instrument[]
}

export function compareUniverse(
  collected: readonly Instrument[],
  { instruments, listed }: Pick<Universe, 'instruments' | 'listed'>,
): UniverseChange {
  const wanted = new Map(instruments.map((instrument) => [instrument.id, instrument]))
  const known = new Set(collected.map(({ id }) => id))
  return {
    added: instruments.filter(({ id }) => !known.has(id)),
    removed: collected
      .filter(({ id }) => !wanted.has(id))
      .map((instrument) => ({ instrument, isDelisted: !listed.has(instrument.symbol) })),
    changed: collected.flatMap((before) => {
      const now = wanted.get(before.id)
      return now === undefined || isSame(before, now) ? [] : [now]
    }),
  }
}

function isSame(before: Instrument, now: Instrument): boolean {
  const names = new Set([...Object.keys(before), ...Object.keys(now)]) as Set<keyof Instrument>
  for (const name of names) if (before[name] !== now[name]) return false
  return true
}
