/** The first pass over a recording: which market, which instruments with how many digits, which streams. */
import { EXIT_USAGE, Fault } from '../base/fault.ts'
import { SCALE_MAX } from './digits.ts'
import type { Listing } from './instrument.ts'
import type { RecordedLine } from './recorded-line.ts'
import { guessMarket, namedSymbol, readRecordedLines } from './recorded-line.ts'
import type { MarketName } from './venue.ts'
import { parseStream } from './binance/index.ts'

export interface Survey {
  readonly market: MarketName
  readonly listings: Listing[]
  readonly streams: string[]
  readonly snapshotSymbols: string[]
  readonly brokenLines: number
}

interface Digits {
  price: number
  priceWire: number
  quantity: number
  quantityWire: number
}

const PRICES = /"(?:p|b|a)":\s*"([0-9.]+)"/g
const QUANTITIES = /"(?:q|B|A)":\s*"([0-9.]+)"/g
const LEVELS = /\["([0-9.]+)",\s*"([0-9.]+)"\]/g

export async function surveyRecording(path: string, given: MarketName | null): Promise<Survey> {
  let market = given
  const streams = new Set<string>()
  const digits = new Map<string, Digits>()
  const snapshots: RecordedLine[] = []
  let brokenLines = 0
  for await (const { lines, broken } of readRecordedLines(path)) {
    brokenLines += broken
    for (const line of lines) {
      market ??= guessMarket(line)
      if (line.stream === null) {
        snapshots.push(line)
        continue
      }
      streams.add(line.stream)
      const parsed = parseStream(line.stream, '')
      if (parsed === null || parsed.kind === 'timed') continue
      measure(line.text, digitsOf(digits, parsed.symbol.toUpperCase()))
    }
  }
  if (market === null)
    throw new Fault(
      'RECORDING_MARKET',
      `the market of the recording ${path} can not be told; say it as usdm:${path} or with --market; played are combined streams of Binance ({"stream":…,"data":…})`,
      EXIT_USAGE,
    )
  const only = digits.size === 1 ? [...digits.keys()][0] : undefined
  const snapshotSymbols = new Set<string>()
  for (const line of snapshots) {
    const symbol = namedSymbol(line) ?? only
    if (symbol === undefined) continue
    snapshotSymbols.add(symbol)
    measure(line.text, digitsOf(digits, symbol))
  }
  const found = market
  const listings = [...digits].map(([symbol, counts]) => listed(found, symbol, counts))
  return { market, listings, streams: [...streams], snapshotSymbols: [...snapshotSymbols], brokenLines }
}

function digitsOf(digits: Map<string, Digits>, symbol: string): Digits {
  const known = digits.get(symbol)
  if (known !== undefined) return known
  const fresh = { price: 0, priceWire: 0, quantity: 0, quantityWire: 0 }
  digits.set(symbol, fresh)
  return fresh
}

function measure(text: string, digits: Digits): void {
  for (const match of text.matchAll(PRICES)) measurePrice(match[1] as string, digits)
  for (const match of text.matchAll(QUANTITIES)) measureQuantity(match[1] as string, digits)
  for (const match of text.matchAll(LEVELS)) {
    measurePrice(match[1] as string, digits)
    measureQuantity(match[2] as string, digits)
  }
}

function measurePrice(text: string, digits: Digits): void {
  digits.priceWire = Math.max(digits.priceWire, wireDigits(text))
  digits.price = Math.max(digits.price, significantDigits(text))
}

function measureQuantity(text: string, digits: Digits): void {
  digits.quantityWire = Math.max(digits.quantityWire, wireDigits(text))
  digits.quantity = Math.max(digits.quantity, significantDigits(text))
}

const wireDigits = (text: string): number => (text.includes('.') ? text.length - 1 - text.indexOf('.') : 0)

/** digits behind the point without trailing zeros */
function significantDigits(text: string): number {
  const point = text.indexOf('.')
  if (point < 0) return 0
  let end = text.length
  while (text.charCodeAt(end - 1) === 48) end--
  return end - 1 - point
}

function listed(market: MarketName, symbol: string, digits: Digits): Listing {
  const pair = symbol.split('_')[0] as string
  const quote = /(USDT|USDC|FDUSD|BUSD|USD|BTC|ETH|BNB|EUR|TRY)$/.exec(pair)?.[0] ?? ''
  return {
    market,
    symbol,
    pair,
    quote,
    base: pair.slice(0, pair.length - quote.length),
    priceScale: Math.min(SCALE_MAX, digits.price),
    quantityScale: Math.min(SCALE_MAX, digits.quantity),
    priceDecimals: digits.priceWire,
    quantityDecimals: digits.quantityWire,
    tickMantissa: 1,
    stepMantissa: 1,
  }
}
