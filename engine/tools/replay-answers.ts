import { Fault } from '../base/fault.ts'
import type { FeedRules, Instrument, RestRequest } from '../exchanges/exchange.ts'

/** What an answer of REST in a capture is, by the URL that was asked. */
export type Answer =
  | { readonly kind: 'snapshot'; readonly symbol: string }
  | { readonly kind: 'instruments'; readonly instruments: readonly Instrument[] }

export interface Answers {
  /** @returns undefined when it is nothing that a replay has use for. */
  read(url: string, body: Uint8Array): Answer | undefined
}

/** Stands for a symbol in a request, to see where the symbol goes. */
const ANY_SYMBOL = 'ANY'

/** The requests of the venue's own rules, turned round. @param market empty: all of the exchange. */
export function answersOf(rules: FeedRules, market: string): Answers {
  const markets = market === '' ? Object.keys(rules.markets) : [market]
  const lists = markets.map((name) => ({ name, asked: urlOf(rules.instrumentsRequest(name)) }))
  const depths = markets.flatMap((name) => {
    const depth = rules.markets[name]?.snapshotDepth ?? 0
    return depth === 0 ? [] : [urlOf(rules.snapshotRequest(name, ANY_SYMBOL, depth))]
  })
  return {
    read(text, body) {
      const url = URL.canParse(text) ? new URL(text) : undefined
      if (url === undefined) return undefined
      for (const depth of depths) {
        const symbol = url.pathname === depth.pathname ? url.searchParams.get(symbolParameter(depth)) : null
        if (symbol !== null) return { kind: 'snapshot', symbol }
      }
      const list = lists.find(({ asked }) => answersTo(asked, url))
      return list === undefined ? undefined : readList(rules, list.name, body)
    },
  }
}

function urlOf({ path }: RestRequest): URL {
  return new URL(path, 'https://venue')
}

function symbolParameter(depth: URL): string {
  for (const [name, value] of depth.searchParams) if (value === ANY_SYMBOL) return name
  return ''
}

/** The same path, and whatever the request says is said in the URL, too. */
function answersTo(asked: URL, url: URL): boolean {
  if (url.pathname !== asked.pathname) return false
  for (const [name, value] of asked.searchParams) if (url.searchParams.get(name) !== value) return false
  return true
}

/** An answer of a day on which the venue wrote its list in another way only tells less. */
function readList(rules: FeedRules, market: string, body: Uint8Array): Answer | undefined {
  try {
    const text = Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8')
    return { kind: 'instruments', instruments: rules.readInstruments(market, text) }
  } catch (error) {
    if (error instanceof Fault) return undefined
    throw error
  }
}
