/**
 * `options` of /ws-stream-normalized, as tardis-machine documents them: one object or a list of
 * `{exchange, symbols?, dataTypes, withDisconnectMessages?, timeoutIntervalMS?}`. Its names of exchanges are those below; the
 * time-out says when it connects to the venue anew, which is the engine's business here.
 */

/** Their exchange → our exchange and markets. */
export const TARDIS_EXCHANGES: Readonly<Record<string, readonly [exchange: string, markets: readonly string[]]>> = {
  binance: ['binance', ['spot']],
  'binance-futures': ['binance', ['usdm']],
  'binance-delivery': ['binance', ['coinm']],
  okex: ['okx', ['spot']],
  'okex-swap': ['okx', ['swap']],
  'okex-futures': ['okx', ['futures']],
  'okex-options': ['okx', ['option']],
  deribit: ['deribit', ['perpetual', 'future', 'option', 'spot']],
  bybit: ['bybit', ['linear', 'inverse']],
  'bybit-spot': ['bybit', ['spot']],
}

/** `book_snapshot_{depth}_{interval}` and `quote`: the best levels at intervals of the wall clock; 0: at every change. */
export interface SampleKind {
  readonly name: string
  readonly depth: number
  readonly intervalMs: number
}

export interface TardisWish {
  readonly exchange: string
  /** as our subjects have them; undefined: all */
  readonly symbols: readonly string[] | undefined
  readonly types: ReadonlySet<PlainType>
  readonly samples: readonly SampleKind[]
  readonly withDisconnects: boolean
}

const PLAIN_TYPES = ['trade', 'book_change', 'book_ticker', 'derivative_ticker', 'liquidation'] as const
export type PlainType = (typeof PLAIN_TYPES)[number]

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 }
const DEPTH_MAX = 5_000
/** A timer waits no longer than 24 days. */
const INTERVAL_MS_MAX = 86_400_000
const WISHES_MAX = 50
const SYMBOLS_MAX = 5_000

/** @returns what is wrong, in one line. */
export function readOptions(text: string | null): readonly TardisWish[] | string {
  try {
    const given: unknown = JSON.parse(text ?? '')
    const list = Array.isArray(given) ? given : [given]
    if (list.length === 0 || list.length > WISHES_MAX) return `options: 1 to ${WISHES_MAX} objects`
    return list.map(wishOf)
  } catch (error) {
    if (error instanceof SyntaxError) return 'options is no JSON: ?options={"exchange":…,"dataTypes":[…]}, URL-encoded'
    return (error as Error).message
  }
}

function wishOf(given: unknown): TardisWish {
  const { exchange, symbols, dataTypes, withDisconnectMessages } = Object(given) as Record<string, unknown>
  if (typeof exchange !== 'string' || !Object.hasOwn(TARDIS_EXCHANGES, exchange))
    throw new Error(`exchange: there are ${Object.keys(TARDIS_EXCHANGES).join(', ')}`)
  if (!isTextList(dataTypes) || dataTypes.length === 0) throw new Error('dataTypes: a list of text')
  if (symbols !== undefined && symbols !== null && !(isTextList(symbols) && symbols.length <= SYMBOLS_MAX))
    throw new Error(`symbols: a list of at most ${SYMBOLS_MAX}`)
  const types = new Set<PlainType>()
  const samples: SampleKind[] = []
  for (const name of dataTypes) {
    const plain = PLAIN_TYPES.find((known) => known === name)
    if (plain === undefined) samples.push(sampleOf(name))
    else types.add(plain)
  }
  const isAll = !isTextList(symbols) || symbols.length === 0
  return {
    exchange,
    symbols: isAll ? undefined : [...new Set(symbols.map((symbol) => spelled(exchange, symbol)))],
    types,
    samples,
    withDisconnects: withDisconnectMessages === true,
  }
}

const isTextList = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((each) => typeof each === 'string' && /^[^\s\p{C}.*>]+$/u.test(each))

/** Some of their clients write symbols of Binance in lower case. */
const spelled = (exchange: string, symbol: string): string => (exchange === 'deribit' ? symbol : symbol.toUpperCase())

function sampleOf(name: string): SampleKind {
  const [, depth = '1', count = '0', unit = 'ms'] =
    /^book_snapshot_(\d{1,4})_(\d{1,7})(ms|s|m)$/.exec(name) ?? /^quote()(?:_(\d{1,7})(ms|s|m))?$/.exec(name) ?? []
  const isKnown = name.startsWith('quote') || /^book_snapshot_\d/.test(name)
  const kind = { name, depth: depth === '' ? 1 : Number(depth), intervalMs: Number(count) * (UNIT_MS[unit] as number) }
  if (
    !isKnown ||
    !/^(quote(_\d{1,7}(ms|s|m))?|book_snapshot_\d{1,4}_\d{1,7}(ms|s|m))$/.test(name) ||
    kind.depth < 1 ||
    kind.depth > DEPTH_MAX
  )
    throw new Error(
      `data type ${name.slice(0, 40)}: there are ${PLAIN_TYPES.join(', ')}, book_snapshot_{n}_{t}{ms|s|m}, quote`,
    )
  if (kind.intervalMs > INTERVAL_MS_MAX) throw new Error(`data type ${name}: an interval of a day at most`)
  return kind
}
