/**
 * The venues' messages as templates. `%x` stands for a field, `$s`, `$p` and `$n` for symbol, pair and name of the stream,
 * filled in once per stream. Key order and number formats are those of recorded frames.
 */
import { writeBare, writeDecimal, writeInteger, writeTrimmed } from './digits.ts'

/** What a change does to a level. */
export const LEVEL_NEW = 0
export const LEVEL_CHANGED = 1
export const LEVEL_DELETED = 2

/** Changed levels of one side of a depth update: price and quantity mantissas, `count` of them. */
export interface Levels {
  readonly prices: Float64Array
  readonly quantities: Float64Array
  readonly actions: Uint8Array
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
  /** of the venue's matching engine, over all that happens */
  seq: number
  readonly bids: Levels
  readonly asks: Levels
}

export const LEVELS_MAX = 4096

export function createFields(): Fields {
  const levels = (): Levels => ({
    prices: new Float64Array(LEVELS_MAX),
    quantities: new Float64Array(LEVELS_MAX),
    actions: new Uint8Array(LEVELS_MAX),
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
    seq: 0,
    bids: levels(),
    asks: levels(),
  }
}

/**
 * fixed: always so many digits behind the point; trimmed: without zeros at the end; bare: the shorter of `12.5` and
 * `1.25e1`, as Deribit prints doubles.
 */
export type NumberStyle = 'fixed' | 'trimmed' | 'bare'

/** `["1","2"]`, OKX `["1","2","0","1"]` with the number of orders, Deribit `["new",1.0,2.0]`. */
export type LevelForm = 'pair' | 'okx' | 'action'

/** How the numbers of one instrument look on the wire. */
export interface NumberFormat {
  /** absent: fixed */
  readonly style?: NumberStyle
  readonly priceScale: number
  readonly quantityScale: number
  readonly priceDecimals: number
  readonly quantityDecimals: number
  /** one quantity step, as a mantissa of quantityScale; absent: 1 */
  readonly stepMantissa?: number
}

/** A template cut at its fields: part, field, part, field, …, part. */
export interface Template {
  readonly parts: readonly Uint8Array[]
  readonly fields: readonly number[]
  readonly format: NumberFormat
  readonly levelForm: LevelForm
}

const ascii = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'))

/** What a template is filled with once for all. */
export interface TemplateNames {
  readonly symbol: string
  readonly pair: string
  readonly stream: string
}

export function compileTemplate(
  shape: string,
  names: TemplateNames,
  format: NumberFormat,
  levelForm: LevelForm,
): Template {
  const filled = shape.replaceAll('$s', names.symbol).replaceAll('$p', names.pair).replaceAll('$n', names.stream)
  const pieces = filled.split('%')
  const fields = pieces.slice(1).map((piece) => piece.charCodeAt(0))
  const parts = [ascii(pieces[0] ?? ''), ...pieces.slice(1).map((piece) => ascii(piece.slice(1)))]
  return { parts, fields, format, levelForm }
}

const code = (letter: string): number => letter.charCodeAt(0)
const [EVENT_MS, TRADE_MS, ID, PRICE, QUANTITY] = [code('E'), code('T'), code('i'), code('p'), code('q')]
const [MAKER, FIRST_TRADE, LAST_TRADE, FIRST_SEQ, LAST_SEQ] = [code('m'), code('f'), code('l'), code('U'), code('u')]
const [PREV_SEQ, BID, BID_QUANTITY, ASK, ASK_QUANTITY] = [code('v'), code('b'), code('B'), code('a'), code('A')]
const [BIDS, ASKS, SEQ, COUNT, STEPS] = [code('x'), code('y'), code('s'), code('c'), code('k')]
const [SIDE, SIDE_CAPITAL] = [code('d'), code('D')]
const SIDES = [ascii('buy'), ascii('sell')] as const
const SIDES_CAPITAL = [ascii('Buy'), ascii('Sell')] as const
const TRUE = ascii('true')
const FALSE = ascii('false')
const LEVEL_START = ascii('["')
const LEVEL_MIDDLE = ascii('","')
const LEVEL_END = ascii('"],')
const OKX_LEVEL_END = [ascii('","0","1"],'), ascii('","0","3"],'), ascii('","0","0"],')] as const // by action
const ACTION_START = [ascii('["new",'), ascii('["change",'), ascii('["delete",')] as const
const ACTION_END = ascii('],')
const COMMA = ascii(',')

/** Prints one event at the start of `target`. @returns its length in bytes. */
export function encodeEvent(template: Template, fields: Fields, target: Uint8Array): number {
  const { parts, fields: letters } = template
  let at = copy(parts[0] as Uint8Array, target, 0)
  for (let index = 0; index < letters.length; index++) {
    at = writeField(letters[index] as number, template, fields, target, at)
    at = copy(parts[index + 1] as Uint8Array, target, at)
  }
  return at
}

function writeField(letter: number, template: Template, fields: Fields, target: Uint8Array, at: number): number {
  const { format } = template
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
      return writeLevels(template, fields.bids, target, at)
    case ASKS:
      return writeLevels(template, fields.asks, target, at)
    case SEQ:
      return writeInteger(target, at, fields.seq)
    case COUNT:
      return writeInteger(target, at, fields.lastTradeId - fields.firstTradeId + 1)
    case STEPS:
      return writeBare(target, at, fields.quantity / (format.stepMantissa ?? 1), 0)
    case SIDE:
      return copy(SIDES[fields.buyerIsMaker ? 1 : 0], target, at)
    case SIDE_CAPITAL:
      return copy(SIDES_CAPITAL[fields.buyerIsMaker ? 1 : 0], target, at)
    default:
      throw new Error(`a template names the unknown field ${String.fromCharCode(letter)}`)
  }
}

function writePrice(format: NumberFormat, mantissa: number, target: Uint8Array, at: number): number {
  return writeNumber(format.style, target, at, mantissa, format.priceScale, format.priceDecimals)
}

function writeQuantity(format: NumberFormat, mantissa: number, target: Uint8Array, at: number): number {
  return writeNumber(format.style, target, at, mantissa, format.quantityScale, format.quantityDecimals)
}

function writeNumber(
  style: NumberStyle | undefined,
  target: Uint8Array,
  at: number,
  mantissa: number,
  scale: number,
  decimals: number,
): number {
  if (style === 'bare') return writeBare(target, at, mantissa, scale)
  if (style === 'trimmed') return writeTrimmed(target, at, mantissa, scale)
  return writeDecimal(target, at, mantissa, scale, decimals)
}

function writeLevels({ format, levelForm }: Template, levels: Levels, target: Uint8Array, start: number): number {
  let at = start
  for (let index = 0; index < levels.count; index++) {
    const action = levels.actions[index] as 0 | 1 | 2
    at = copy(levelForm === 'action' ? ACTION_START[action] : LEVEL_START, target, at)
    at = writePrice(format, levels.prices[index] as number, target, at)
    at = copy(levelForm === 'action' ? COMMA : LEVEL_MIDDLE, target, at)
    at = writeQuantity(format, levels.quantities[index] as number, target, at)
    at = copy(levelForm === 'action' ? ACTION_END : levelForm === 'okx' ? OKX_LEVEL_END[action] : LEVEL_END, target, at)
  }
  return levels.count === 0 ? at : at - 1 // without the last comma
}

/** Levels as the same form prints them, for messages that are made seldom. */
export function levelsText(
  format: NumberFormat,
  levelForm: LevelForm,
  levels: readonly (readonly [price: number, quantity: number])[],
): string {
  const count = levels.length
  const copied: Levels = {
    prices: Float64Array.from(levels, ([price]) => price),
    quantities: Float64Array.from(levels, ([, quantity]) => quantity),
    actions: new Uint8Array(count),
    count,
  }
  const bytes = new Uint8Array(count * LEVEL_BYTES_MAX + 1)
  const length = writeLevels({ parts: [], fields: [], format, levelForm }, copied, bytes, 0)
  return Buffer.from(bytes.buffer, 0, length).toString('latin1')
}

const LEVEL_BYTES_MAX = 80

/** A loop beats `set` below some 30 bytes. */
function copy(source: Uint8Array, target: Uint8Array, at: number): number {
  const length = source.length
  if (length > 30) target.set(source, at)
  else for (let index = 0; index < length; index++) target[at + index] = source[index] as number
  return at + length
}
