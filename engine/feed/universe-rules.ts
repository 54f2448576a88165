/**
 * The language of `instruments`: each entry chooses from what a venue lists, in order; the last word counts.
 *
 *   entry     := [ '!' ] rule                    ! takes away what the entries before it chose
 *   rule      := 'top:' N [ ':' filter ]         the N with the highest turnover of 24 h
 *              | filter
 *   filter    := kind ':' bases                  kind: spot perpetual future option index *
 *              | glob                            * and ? over symbols
 *              | symbol
 *   bases     := base { ('+' | ',') base } | '*'
 *
 * Case does not matter anywhere.
 */
import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import { editDistance, nearest } from '../base/nearest.ts'
import { INSTRUMENT_KINDS, type Instrument } from '../exchanges/exchange.ts'

export interface Rule {
  /** as it was written, for messages */
  readonly text: string
  readonly takesAway: boolean
  /** 0: all that pass */
  readonly topCount: number
  /** a symbol that must be listed, in capitals; '': none, the filter chooses */
  readonly symbol: string
  readonly passes: (instrument: Instrument) => boolean
}

/** How many likely names an error offers. */
const SUGGESTION_COUNT_MAX = 5
const KIND_WORDS = Object.keys(INSTRUMENT_KINDS).filter((word) => word !== 'other')
const ANY = '*'

export function readRule(market: string, entry: string): Rule {
  const takesAway = entry.startsWith('!')
  const text = takesAway ? entry.slice(1) : entry
  const [head = '', ...tail] = text.split(':')
  if (head.toLowerCase() !== 'top') return { ...readFilter(market, entry, text), text: entry, takesAway, topCount: 0 }
  const [count = '', ...rest] = tail
  if (!/^[1-9]\d{0,4}$/.test(count))
    throw badRule(market, entry, 'top: takes a count and perhaps a filter, e.g. top:50, top:20:*USDT')
  const filter = readFilter(market, entry, rest.length === 0 ? ANY : rest.join(':'))
  return { passes: filter.passes, symbol: '', text: entry, takesAway, topCount: Number(count) }
}

function readFilter(market: string, entry: string, text: string): Pick<Rule, 'symbol' | 'passes'> {
  const [kind = '', bases, ...rest] = text.split(':')
  if (bases === undefined) {
    if (text === '') throw badRule(market, entry, 'nothing is named')
    const passes = globTest(text)
    return { symbol: /[*?]/.test(text) ? '' : text.toUpperCase(), passes: ({ symbol }) => passes(symbol) }
  }
  const word = kind.toLowerCase()
  if (word !== ANY && !KIND_WORDS.includes(word)) {
    const guess = nearest(word, [...KIND_WORDS, 'top'])
    const hint = guess === null ? '' : `did you mean ${guess}? `
    throw badRule(market, entry, `there is no kind ${kind}: ${hint}kinds are ${KIND_WORDS.join(', ')}, *`)
  }
  const wanted = bases.toUpperCase().split(/[+,]/)
  if (rest.length > 0 || wanted.includes(''))
    throw badRule(market, entry, `${word}: takes currencies, e.g. ${word}:BTC+ETH, or ${word}:*`)
  return {
    symbol: '',
    passes: (instrument) =>
      (word === ANY || instrument.kind === word) &&
      (bases === ANY || wanted.includes(instrument.base?.toUpperCase() ?? '')),
  }
}

/**
 * The first of the ranking, but those that are collected already stay while they are not clearly out: at the edge of a
 * rule, ranks change from hour to hour, and each change costs a book its beginning.
 */
export function takeTop(
  count: number,
  found: readonly Instrument[],
  volumes: ReadonlyMap<string, number>,
  collected: ReadonlySet<string>,
): Instrument[] {
  const volumeOf = ({ symbol }: Instrument): number => volumes.get(symbol) ?? 0
  const ranked = [...found].sort((a, b) => volumeOf(b) - volumeOf(a) || (a.id < b.id ? -1 : 1))
  const stays = ranked.slice(0, count + Math.floor(count * EDGE_SHARE)).filter(({ id }) => collected.has(id))
  const staying = new Set(stays.slice(0, count))
  const comes = ranked.filter((instrument) => !staying.has(instrument)).slice(0, count - staying.size)
  return [...staying, ...comes]
}

const EDGE_SHARE = 0.1

export function badRule(market: string, entry: string, why: string): Fault {
  return new Fault('BAD_RULE', `${market}: cannot read ${entry}: ${why}`, EXIT_CONFIG)
}

export function noMatch(market: string, rule: Rule, listed: readonly Instrument[]): Fault {
  const bases = [...new Set(listed.flatMap(({ base }) => base ?? []))].sort()
  const shown = bases.slice(0, 20).join(' ')
  const hint =
    rule.text.includes(':') && bases.length > 0 ? `; currencies are ${shown}${bases.length > 20 ? ' …' : ''}` : ''
  return new Fault(
    'NO_SYMBOL_MATCHES',
    `${market}: no trading symbol matches ${rule.text}, ${listed.length} are listed${hint}`,
    EXIT_CONFIG,
  )
}

export function unknownSymbol(market: string, symbol: string, listed: readonly Instrument[]): Fault {
  const near = nearSymbols(
    symbol.toUpperCase(),
    listed.map((instrument) => instrument.symbol),
  )
  const isCurrency = listed.some(({ base }) => base?.toUpperCase() === symbol.toUpperCase())
  const hint = isCurrency
    ? `it is a currency: write *:${symbol}, or perpetual:BTC+${symbol} for several`
    : near.length === 0
      ? 'nothing similar is listed'
      : `did you mean ${near.join(', ')}?`
  return new Fault('UNKNOWN_SYMBOL', `${market} lists no symbol ${symbol}: ${hint}`, EXIT_CONFIG)
}

function nearSymbols(wanted: string, symbols: readonly string[]): string[] {
  const distanceMax = Math.max(2, Math.floor(wanted.length / 3))
  return symbols
    .map((symbol) => ({ symbol, capitals: symbol.toUpperCase() }))
    .map(({ symbol, capitals }) => ({
      symbol,
      shared: sharedPrefix(wanted, capitals),
      distance: capitals.startsWith(wanted) ? 0.5 : editDistance(wanted, capitals),
    }))
    .filter(({ distance }) => distance <= distanceMax)
    .sort((a, b) => a.distance - b.distance || b.shared - a.shared)
    .slice(0, SUGGESTION_COUNT_MAX)
    .map(({ symbol }) => symbol)
}

function sharedPrefix(a: string, b: string): number {
  let length = 0
  while (length < a.length && a[length] === b[length]) length++
  return length
}

function globTest(glob: string): (symbol: string) => boolean {
  const source = glob
    .toUpperCase()
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*/g, '.*')
    .replace(/\?/g, '.')
  const expression = new RegExp(`^${source}$`)
  return (symbol) => expression.test(symbol.toUpperCase())
}
