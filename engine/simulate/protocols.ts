/** The list of simulated venues. */
import { BINANCE } from './binance/index.ts'
import { BYBIT } from './bybit/index.ts'
import { DERIBIT } from './deribit/index.ts'
import { OKX } from './okx/index.ts'
import type { Protocol } from './protocol.ts'
import type { ExchangeName } from './venue.ts'

const PROTOCOLS: Readonly<Record<ExchangeName, Protocol>> = {
  binance: BINANCE,
  okx: OKX,
  deribit: DERIBIT,
  bybit: BYBIT,
}

export const protocolOf = (exchange: ExchangeName): Protocol => PROTOCOLS[exchange]
