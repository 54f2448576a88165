/** One instrument of the simulated venue with everything that is known of it, and its figures as a venue would quote them. */
import type { Random } from '../base/random.ts'
import { bareText, decimalText, trimmedText } from './digits.ts'
import type { Instrument } from './instrument.ts'
import type { NumberStyle } from './messages.ts'
import type { Stream } from './streams.ts'
import type { Ledger } from './truth.ts'

export interface Desk {
  readonly instrument: Instrument
  /** null: an index, which nobody trades */
  readonly ledger: Ledger | null
  state: 'trading' | 'delisted'
  /** the tick was made this many digits finer since the listing */
  finerDigits: number
  /** streams that somebody asked for, by what feeds them */
  readonly trade: Stream[]
  readonly aggTrade: Stream[]
  readonly bookTicker: Stream[]
  readonly depth: Stream[]
}

/** A price or quantity as the venue prints it. */
export const priceText = ({ instrument: { listing } }: Desk, mantissa: number): string =>
  numberText(listing.style, mantissa, listing.priceScale, listing.priceDecimals)
export const quantityText = ({ instrument: { listing } }: Desk, mantissa: number): string =>
  numberText(listing.style, mantissa, listing.quantityScale, listing.quantityDecimals)

function numberText(style: NumberStyle | undefined, mantissa: number, scale: number, decimals: number): string {
  if (style === 'bare') return bareText(mantissa, scale)
  return style === 'trimmed' ? trimmedText(mantissa, scale) : decimalText(mantissa, scale, decimals)
}

/** Numbers of this moment as decimal texts. */
export interface Figures {
  readonly last: string
  readonly lastQuantity: string
  readonly open: string
  readonly high: string
  readonly low: string
  readonly bid: string
  readonly bidQuantity: string
  readonly ask: string
  readonly askQuantity: string
  readonly mark: string
  readonly index: string
  readonly volume: string
  readonly turnover: string
  readonly fills: number
  readonly openInterest: string
  readonly fundingRate: string
  readonly nextFundingMs: number
}

const FUNDING_MS = 8 * 3_600_000

export function figures(desk: Desk, nowMs: number): Figures {
  const { instrument } = desk
  const { listing, session } = instrument
  const tick = listing.tickMantissa
  const scale = 10 ** listing.priceScale
  const middle = ((instrument.bestBid + instrument.bestAsk) * tick) / 2
  const fine = (mantissa: number): string => (mantissa / scale).toFixed(Math.min(8, listing.priceScale + 2))
  return {
    last: priceText(desk, session.last),
    lastQuantity: quantityText(desk, session.lastQuantity),
    open: priceText(desk, session.open),
    high: priceText(desk, session.high),
    low: priceText(desk, session.low),
    bid: priceText(desk, instrument.bestBid * tick),
    bidQuantity: quantityText(desk, instrument.topQuantity(true)),
    ask: priceText(desk, instrument.bestAsk * tick),
    askQuantity: quantityText(desk, instrument.topQuantity(false)),
    mark: fine(middle + tick * 0.37),
    index: fine(middle - tick * 0.21),
    volume: quantityText(desk, session.volume),
    turnover: (session.turnover / scale / 10 ** listing.quantityScale).toFixed(8),
    fills: session.fills,
    openInterest: quantityText(desk, session.volume * 3 + listing.stepMantissa * 1_000_000),
    fundingRate: (((instrument.bestBid % 199) - 99) / 1e6).toFixed(16),
    nextFundingMs: Math.ceil((nowMs + 1) / FUNDING_MS) * FUNDING_MS,
  }
}

/** A bar of a minute: the running one, or the last that is complete. */
export interface Bar {
  readonly openMs: number
  readonly open: string
  readonly high: string
  readonly low: string
  readonly close: string
  readonly volume: string
  readonly turnover: string
  readonly fills: number
  readonly isClosed: boolean
}

/** The bar to tell of now: a closed one as long as its minute ended less than `everyMs` ago, else the running one. */
export function barOf(desk: Desk, nowMs: number, everyMs: number): Bar {
  const { instrument } = desk
  instrument.rollBar(nowMs)
  const isClosed = instrument.closedBar !== null && nowMs - instrument.bar.openMs < everyMs
  const bar = isClosed && instrument.closedBar !== null ? instrument.closedBar : instrument.bar
  const { priceScale, quantityScale } = instrument.listing
  return {
    openMs: bar.openMs,
    open: priceText(desk, bar.open),
    high: priceText(desk, bar.high),
    low: priceText(desk, bar.low),
    close: priceText(desk, bar.close),
    volume: quantityText(desk, bar.volume),
    turnover: (bar.turnover / 10 ** (priceScale + quantityScale)).toFixed(8),
    fills: bar.fills,
    isClosed,
  }
}

/** One of those that trade. */
export function someDesk(desks: readonly Desk[], random: Random): Desk | undefined {
  return desks[Math.floor(random() * desks.length)]
}
