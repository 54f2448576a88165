import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import { editDistance } from '../base/nearest.ts'
import type { FeedRules, Instrument } from '../exchanges/exchange.ts'
import type { RestClient } from './rest.ts'

/**
 * What is collected: a list of patterns a market → instruments.
 *
 * `BTCUSDT` is that symbol and must exist; `*USDT`, `BTC?SD*` are globs over the symbols that trade now; `!BUSD*` takes
 * away what the patterns before it chose. Case does not matter.
 */
export interface Universe {
  readonly instruments: readonly Instrument[]
  /** symbols that were named, exist, but do not trade now: subscribed all the same */
  readonly idle: readonly Instrument[]
}

/** How many likely names an error offers. */
const SUGGESTION_COUNT_MAX = 5
const TRADING = 'TRADING'

export function selectInstruments(
  market: string,
  patterns: readonly string[],
  listed: readonly Instrument[],
): Universe {
  const bySymbol = new Map(listed.map((instrument) => [instrument.symbol.toUpperCase(), instrument]))
  const chosen = new Map<string, Instrument>()
  for (const pattern of patterns) {
    if (pattern.startsWith('!')) {
      const matches = globTest(pattern.slice(1))
      for (const symbol of [...chosen.keys()]) if (matches(symbol)) chosen.delete(symbol)
    } else if (/[*?]/.test(pattern)) {
      const matches = globTest(pattern)
      const found = [...bySymbol].filter(([symbol, instrument]) => instrument.status === TRADING && matches(symbol))
      if (found.length === 0) {
        throw new Fault(
          'NO_SYMBOL_MATCHES',
          `${market}: no trading symbol matches ${pattern}, ${listed.length} are listed`,
          EXIT_CONFIG,
        )
      }
      for (const [symbol, instrument] of found) chosen.set(symbol, instrument)
    } else {
      const symbol = pattern.toUpperCase()
      const instrument = bySymbol.get(symbol)
      if (instrument === undefined) throw unknownSymbol(market, pattern, [...bySymbol.keys()])
      chosen.set(symbol, instrument)
    }
  }
  const instruments = [...chosen.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  return { instruments, idle: instruments.filter((instrument) => instrument.status !== TRADING) }
}

/** Asks the venue what it lists, and chooses. */
export async function readUniverse(
  rules: FeedRules,
  market: string,
  patterns: readonly string[],
  rest: RestClient,
): Promise<Universe> {
  const body = await rest.text(rules.instrumentsRequest(market), 'start')
  return selectInstruments(`${rules.exchange}.${market}`, patterns, rules.readInstruments(market, body))
}

function unknownSymbol(market: string, pattern: string, symbols: readonly string[]): Fault {
  const near = nearest(pattern.toUpperCase(), symbols)
  const hint = near.length === 0 ? 'nothing similar is listed' : `did you mean ${near.join(', ')}?`
  return new Fault('UNKNOWN_SYMBOL', `${market} lists no symbol ${pattern}: ${hint}`, EXIT_CONFIG)
}

function nearest(wanted: string, symbols: readonly string[]): string[] {
  const distanceMax = Math.max(2, Math.floor(wanted.length / 3))
  return symbols
    .map((symbol) => ({ symbol, distance: symbol.startsWith(wanted) ? 0.5 : editDistance(wanted, symbol) }))
    .filter(({ distance }) => distance <= distanceMax)
    .sort((a, b) => a.distance - b.distance || sharedPrefix(wanted, b.symbol) - sharedPrefix(wanted, a.symbol))
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
  return (symbol) => expression.test(symbol)
}
