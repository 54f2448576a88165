import type { Instrument } from '../engine/exchanges/exchange.ts'
import type { KindRow } from '../engine/record/schema-kinds.ts'
import type { InstrumentSlot } from './shard-instruments.ts'

/** Instruments whose row is not written yet: before the first frame there is no time. */
export class UndescribedInstruments {
  #slots: InstrumentSlot[] = []

  add(slot: InstrumentSlot): void {
    this.#slots.push(slot)
  }

  describe(): void {
    if (this.#slots.length === 0) return
    const slots = this.#slots
    this.#slots = []
    for (const { index, name, record } of slots) record.recorder.row('instruments', index, instrumentRow(name))
  }
}

/** What an instrument is, as a row of `instruments`. */
function instrumentRow(instrument: Instrument): KindRow<'instruments'> {
  const { kind, status, base, quote, settle, underlying, expiryMs, strike, optionType } = instrument
  const { contractSize, contractUnit, tickSize, lotSize, priceScale, quantityScale } = instrument
  const isTrading = instrument.isTrading ?? status === 'TRADING'
  return {
    kind: kind ?? 'unknown',
    status,
    trading: isTrading ? 'trading' : instrument.isPreOpen === true ? 'pre_open' : 'closed',
    base: base ?? '',
    quote: quote ?? '',
    settle: settle ?? '',
    underlying: underlying ?? '',
    expiry_ns: BigInt(expiryMs ?? 0) * 1_000_000n,
    strike: strike ?? null,
    option_type: optionType ?? 'none',
    contract_size: contractSize ?? null,
    contract_unit: contractUnit ?? '',
    tick_size: tickSize ?? null,
    lot_size: lotSize ?? null,
    price_digits: String(priceScale),
    quantity_digits: String(quantityScale),
  }
}
