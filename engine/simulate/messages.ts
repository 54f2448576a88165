/**
 * The venue's messages as templates. `%x` stands for a field, `$s` and `$p` for symbol and pair, filled in once per
 * instrument. Key order and number formats are those of recorded frames: spot trades end in `M`, futures trades have
 * `X`; the spot bookTicker has no type and no time; COIN-M puts `u` before `e` and adds `ps`.
 */
import { writeDecimal, writeInteger } from './digits.ts'
import type { MarketName, StreamKind } from './venue.ts'

type Shape = Readonly<Record<Exclude<StreamKind, 'other'>, string>>

const FUTURES_TRADE = '{"e":"trade","E":%E,"T":%T,"s":"$s","t":%i,"p":"%p","q":"%q","X":"MARKET","m":%m}'
const FUTURES_AGG = '{"e":"aggTrade","E":%E,"a":%i,"s":"$s","p":"%p","q":"%q","f":%f,"l":%l,"T":%T,"m":%m}'

export const SHAPES: Readonly<Record<MarketName, Shape>> = {
  spot: {
    trade: '{"e":"trade","E":%E,"s":"$s","t":%i,"p":"%p","q":"%q","T":%T,"m":%m,"M":true}',
    aggTrade: '{"e":"aggTrade","E":%E,"s":"$s","a":%i,"p":"%p","q":"%q","f":%f,"l":%l,"T":%T,"m":%m,"M":true}',
    bookTicker: '{"u":%u,"s":"$s","b":"%b","B":"%B","a":"%a","A":"%A"}',
    depth: '{"e":"depthUpdate","E":%E,"s":"$s","U":%U,"u":%u,"b":[%x],"a":[%y]}',
  },
  usdm: {
    trade: FUTURES_TRADE,
    aggTrade: FUTURES_AGG,
    bookTicker: '{"e":"bookTicker","u":%u,"s":"$s","b":"%b","B":"%B","a":"%a","A":"%A","T":%T,"E":%E}',
    depth: '{"e":"depthUpdate","E":%E,"T":%T,"s":"$s","U":%U,"u":%u,"pu":%v,"b":[%x],"a":[%y]}',
  },
  coinm: {
    trade: FUTURES_TRADE,
    aggTrade: FUTURES_AGG,
    bookTicker: '{"u":%u,"e":"bookTicker","s":"$s","ps":"$p","b":"%b","B":"%B","a":"%a","A":"%A","T":%T,"E":%E}',
    depth: '{"e":"depthUpdate","E":%E,"T":%T,"s":"$s","ps":"$p","U":%U,"u":%u,"pu":%v,"b":[%x],"a":[%y]}',
  },
}

/** Changed levels of one side of a depth update: price and quantity mantissas, `count` of them. */
export interface Levels {
  readonly prices: Float64Array
  readonly quantities: Float64Array
  count: number
}

/** One event, in our words; reused for every event, so that the hot path allocates nothing. */
export interface Fields {
  eventMs: number
  tradeMs: number
  id: number
  price: number
  quantity: number
  buyerIsMaker: boolean
  firstTradeId: number
  lastTradeId: number
  firstSeq: number
  lastSeq: number
  prevSeq: number
  bidPrice: number
  bidQuantity: number
  askPrice: number
  askQuantity: number
  readonly bids: Levels
  readonly asks: Levels
}

export const LEVELS_MAX = 4096

export function createFields(): Fields {
  const levels = (): Levels => ({
    prices: new Float64Array(LEVELS_MAX),
    quantities: new Float64Array(LEVELS_MAX),
    count: 0,
  })
  return {
    eventMs: 0,
    tradeMs: 0,
    id: 0,
    price: 0,
    quantity: 0,
    buyerIsMaker: false,
    firstTradeId: 0,
    lastTradeId: 0,
    firstSeq: 0,
    lastSeq: 0,
    prevSeq: 0,
    bidPrice: 0,
    bidQuantity: 0,
    askPrice: 0,
    askQuantity: 0,
    bids: levels(),
    asks: levels(),
  }
}

/** How the numbers of one instrument look on the wire. */
export interface NumberFormat {
  readonly priceScale: number
  readonly quantityScale: number
  readonly priceDecimals: number
  readonly quantityDecimals: number
}

/** A template cut at its fields: part, field, part, field, …, part. */
export interface Template {
  readonly parts: readonly Uint8Array[]
  readonly fields: readonly number[]
  readonly format: NumberFormat
}

const ascii = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'))

export function compileTemplate(shape: string, symbol: string, pair: string, format: NumberFormat): Template {
  const filled = shape.replaceAll('$s', symbol).replaceAll('$p', pair)
  const pieces = filled.split('%')
  const fields = pieces.slice(1).map((piece) => piece.charCodeAt(0))
  return { parts: [ascii(pieces[0] ?? ''), ...pieces.slice(1).map((piece) => ascii(piece.slice(1)))], fields, format }
}

const code = (letter: string): number => letter.charCodeAt(0)
const [EVENT_MS, TRADE_MS, ID, PRICE, QUANTITY] = [code('E'), code('T'), code('i'), code('p'), code('q')]
const [MAKER, FIRST_TRADE, LAST_TRADE, FIRST_SEQ, LAST_SEQ] = [code('m'), code('f'), code('l'), code('U'), code('u')]
const [PREV_SEQ, BID, BID_QUANTITY, ASK, ASK_QUANTITY] = [code('v'), code('b'), code('B'), code('a'), code('A')]
const [BIDS, ASKS] = [code('x'), code('y')]
const TRUE = ascii('true')
const FALSE = ascii('false')
const LEVEL_START = ascii('["')
const LEVEL_MIDDLE = ascii('","')
const LEVEL_END = ascii('"],')

/** Prints one event at the start of `target`. @returns its length in bytes. */
export function encodeEvent(template: Template, fields: Fields, target: Uint8Array): number {
  const { parts, fields: letters } = template
  let at = copy(parts[0] as Uint8Array, target, 0)
  for (let index = 0; index < letters.length; index++) {
    at = writeField(letters[index] as number, template.format, fields, target, at)
    at = copy(parts[index + 1] as Uint8Array, target, at)
  }
  return at
}

function writeField(letter: number, format: NumberFormat, fields: Fields, target: Uint8Array, at: number): number {
  switch (letter) {
    case EVENT_MS:
      return writeInteger(target, at, fields.eventMs)
    case TRADE_MS:
      return writeInteger(target, at, fields.tradeMs)
    case ID:
      return writeInteger(target, at, fields.id)
    case PRICE:
      return writePrice(format, fields.price, target, at)
    case QUANTITY:
      return writeQuantity(format, fields.quantity, target, at)
    case MAKER:
      return copy(fields.buyerIsMaker ? TRUE : FALSE, target, at)
    case FIRST_TRADE:
      return writeInteger(target, at, fields.firstTradeId)
    case LAST_TRADE:
      return writeInteger(target, at, fields.lastTradeId)
    case FIRST_SEQ:
      return writeInteger(target, at, fields.firstSeq)
    case LAST_SEQ:
      return writeInteger(target, at, fields.lastSeq)
    case PREV_SEQ:
      return writeInteger(target, at, fields.prevSeq)
    case BID:
      return writePrice(format, fields.bidPrice, target, at)
    case BID_QUANTITY:
      return writeQuantity(format, fields.bidQuantity, target, at)
    case ASK:
      return writePrice(format, fields.askPrice, target, at)
    case ASK_QUANTITY:
      return writeQuantity(format, fields.askQuantity, target, at)
    case BIDS:
      return writeLevels(format, fields.bids, target, at)
    case ASKS:
      return writeLevels(format, fields.asks, target, at)
    default:
      throw new Error(`a template names the unknown field ${String.fromCharCode(letter)}`)
  }
}

function writePrice(format: NumberFormat, mantissa: number, target: Uint8Array, at: number): number {
  return writeDecimal(target, at, mantissa, format.priceScale, format.priceDecimals)
}

function writeQuantity(format: NumberFormat, mantissa: number, target: Uint8Array, at: number): number {
  return writeDecimal(target, at, mantissa, format.quantityScale, format.quantityDecimals)
}

function writeLevels(format: NumberFormat, levels: Levels, target: Uint8Array, start: number): number {
  let at = start
  for (let index = 0; index < levels.count; index++) {
    at = copy(LEVEL_START, target, at)
    at = writePrice(format, levels.prices[index] as number, target, at)
    at = copy(LEVEL_MIDDLE, target, at)
    at = writeQuantity(format, levels.quantities[index] as number, target, at)
    at = copy(LEVEL_END, target, at)
  }
  return levels.count === 0 ? at : at - 1 // without the last comma
}

/** A loop beats `set` below some 30 bytes. */
function copy(source: Uint8Array, target: Uint8Array, at: number): number {
  const length = source.length
  if (length > 30) target.set(source, at)
  else for (let index = 0; index < length; index++) target[at + index] = source[index] as number
  return at + length
}
