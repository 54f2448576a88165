/** What an instrument keeps of its trades: the last ones, minute by minute, and since the market opened. */
export interface Kept {
  readonly price: Float64Array
  readonly quantity: Float64Array
  readonly timeMs: Float64Array
  readonly buyerIsMaker: Uint8Array
}

export const keep = (count: number): Kept => ({
  price: new Float64Array(count),
  quantity: new Float64Array(count),
  timeMs: new Float64Array(count),
  buyerIsMaker: new Uint8Array(count),
})

/** What a minute saw: mantissas. */
export interface Span {
  openMs: number
  open: number
  high: number
  low: number
  close: number
  volume: number
  turnover: number
  fills: number
}

export interface Session {
  readonly open: number
  high: number
  low: number
  last: number
  lastQuantity: number
  volume: number
  turnover: number
  fills: number
}

export const newSession = (price: number, lastQuantity: number): Session => ({
  open: price,
  high: price,
  low: price,
  last: price,
  lastQuantity,
  volume: 0,
  turnover: 0,
  fills: 0,
})

export function newSpan(openMs: number, price: number): Span {
  return { openMs, open: price, high: price, low: price, close: price, volume: 0, turnover: 0, fills: 0 }
}

export function countFill(session: Session, bar: Span, price: number, quantity: number): void {
  session.last = price
  session.lastQuantity = quantity
  bar.close = price
  for (const span of [session, bar]) {
    span.high = Math.max(span.high, price)
    span.low = Math.min(span.low, price)
    span.volume += quantity
    span.turnover += price * quantity
    span.fills++
  }
}
