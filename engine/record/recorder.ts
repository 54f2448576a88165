import { OpenBlock } from './block.ts'
import type { BlockLimits } from './block.ts'
import { columnNamed } from './columns.ts'
import type { ColumnBuffer } from './columns.ts'
import type { DepthEvent, TickerEvent, TradeEvent } from './emit.ts'
import { KindColumns, type KindRefusal } from './kind-columns.ts'
import type { KindRow } from './schema-kinds.ts'
import { TRADE_ORIGINS, tableNamed } from './schema.ts'
import type { CellValue, KindTableName, Table } from './schema-columns.ts'

/**
 * Appends rows to the open blocks, one a table, and seals them by rows, bytes, age (in frame time) and day.
 *
 * Arithmetic: 30 stores a row, 30 ns; of 1,000,000 events/s that is 3 % of a core.
 */
export interface GapRow {
  instrument: number
  channel: number
  cause: number
  status: number
  fromHi: number
  fromLo: number
  toHi: number
  toLo: number
  fromSeq: number
  toSeq: number
  lostCount: number
  detail: string
}

export interface BookRow {
  instrument: number
  kind: number
  eventMs: number
  lastSeq: number
  epoch: number
  bidLevels: number
  askLevels: number
  bidCount: number
  askCount: number
  bidPrices: Float64Array
  bidQuantities: Float64Array
  askPrices: Float64Array
  askQuantities: Float64Array
}

export interface RecorderOptions extends BlockLimits {
  producer: string
  exchange: string
}

/** Receive time of the frame in hand, two words (as signed 32-bit numbers); every row gets it. */
export class FrameTime {
  hi = 0
  lo = 0
}

export class Recorder {
  readonly time: FrameTime
  readonly #blocks: OpenBlock[] = []
  readonly #kinds = new Map<KindTableName, KindColumns>()
  readonly #newBlock: (table: Table) => OpenBlock
  readonly #trades: TableColumns
  readonly #deltas: TableColumns
  readonly #snapshots: TableColumns
  readonly #tickers: TableColumns
  readonly #gaps: TableColumns
  readonly #priceScales: Uint8Array
  readonly #quantityScales: Uint8Array
  readonly #onSeal: (block: OpenBlock) => void

  /**
   * @param onSeal takes the rows of a full block away; the block is emptied when it returns.
   * @param onBlock hears of every block once, when it is made.
   */
  constructor(
    options: RecorderOptions,
    idOf: (instrument: number) => string,
    priceScales: Uint8Array,
    quantityScales: Uint8Array,
    onSeal: (block: OpenBlock) => void,
    time: FrameTime = new FrameTime(),
    onBlock: (block: OpenBlock) => void = () => {},
  ) {
    this.#newBlock = (table) => {
      const block = new OpenBlock(table, options.producer, options.exchange, options, idOf)
      this.#blocks.push(block)
      onBlock(block)
      return block
    }
    this.time = time
    this.#trades = new TableColumns(this.#newBlock(tableNamed('trades')))
    this.#deltas = new TableColumns(this.#newBlock(tableNamed('book_deltas')))
    this.#snapshots = new TableColumns(this.#newBlock(tableNamed('book_snapshots')))
    this.#tickers = new TableColumns(this.#newBlock(tableNamed('book_tickers')))
    this.#gaps = new TableColumns(this.#newBlock(tableNamed('gaps')))
    this.#priceScales = priceScales
    this.#quantityScales = quantityScales
    this.#onSeal = onSeal
  }

  get hi(): number {
    return this.time.hi
  }

  get lo(): number {
    return this.time.lo
  }

  /** Those that have been made so far: the hot tables, and the kinds that had a row. */
  get blocks(): readonly OpenBlock[] {
    return this.#blocks
  }

  /** @param origin a value of TRADE_ORIGINS */
  trade(event: TradeEvent, origin: number = TRADE_ORIGINS.stream): void {
    const c = this.#trades.columns
    const row = this.#open(this.#trades, event.instrument, event.idText.length, this.hi, this.lo)
    c[2].putMs(row, event.eventMs)
    c[3].putMs(row, event.tradeMs)
    c[4].bytes[row] = event.stream
    c[5].putNumber(row, event.tradeId)
    c[6].putNumber(row, event.firstTradeId)
    c[7].putNumber(row, event.lastTradeId)
    c[8].putNumber(row, event.price)
    c[9].putNumber(row, event.quantity)
    c[10].bytes[row] = this.#priceScales[event.instrument] as number
    c[11].bytes[row] = this.#quantityScales[event.instrument] as number
    c[12].bytes[row] = event.side
    c[13].putNumber(row, Math.max(event.lastSeq, 0))
    c[14].putBytes(row, event.idText.bytes, event.idText.length)
    c[15].bytes[row] = origin
    c[16].bytes[row] = event.liquidation
    this.#trades.block.rows++
  }

  ticker(event: TickerEvent): void {
    const c = this.#tickers.columns
    const row = this.#open(this.#tickers, event.instrument, 0, this.hi, this.lo)
    c[2].putMs(row, event.eventMs)
    c[3].putMs(row, event.transactionMs)
    c[4].putNumber(row, event.updateId)
    c[5].putNumber(row, event.bidPrice)
    c[6].putNumber(row, event.bidQuantity)
    c[7].putNumber(row, event.askPrice)
    c[8].putNumber(row, event.askQuantity)
    c[9].bytes[row] = this.#priceScales[event.instrument] as number
    c[10].bytes[row] = this.#quantityScales[event.instrument] as number
    this.#tickers.block.rows++
  }

  /** @param hi,lo when the event was received: before now if it waited for a snapshot. */
  delta(event: DepthEvent, state: number, epoch: number, hi: number, lo: number): void {
    const c = this.#deltas.columns
    const row = this.#open(this.#deltas, event.instrument, (event.bidCount + event.askCount) * 16, hi, lo)
    c[2].putMs(row, event.eventMs)
    c[3].putMs(row, event.transactionMs)
    c[4].putNumber(row, event.firstSeq)
    c[5].putNumber(row, event.lastSeq)
    c[6].putNumber(row, event.prevSeq)
    c[7].words[row] = epoch
    c[8].bytes[row] = state
    c[9].putArray(row, event.bidPrices, event.bidCount)
    c[10].putArray(row, event.bidQuantities, event.bidCount)
    c[11].putArray(row, event.askPrices, event.askCount)
    c[12].putArray(row, event.askQuantities, event.askCount)
    c[13].bytes[row] = this.#priceScales[event.instrument] as number
    c[14].bytes[row] = this.#quantityScales[event.instrument] as number
    this.#deltas.block.rows++
  }

  book(book: BookRow): void {
    const c = this.#snapshots.columns
    const row = this.#open(this.#snapshots, book.instrument, (book.bidCount + book.askCount) * 16, this.hi, this.lo)
    c[2].putMs(row, book.eventMs)
    c[3].bytes[row] = book.kind
    c[4].putNumber(row, Math.max(0, book.lastSeq))
    c[5].words[row] = book.epoch
    c[6].words[row] = book.bidLevels
    c[7].words[row] = book.askLevels
    c[8].putArray(row, book.bidPrices, book.bidCount)
    c[9].putArray(row, book.bidQuantities, book.bidCount)
    c[10].putArray(row, book.askPrices, book.askCount)
    c[11].putArray(row, book.askQuantities, book.askCount)
    c[12].bytes[row] = this.#priceScales[book.instrument] as number
    c[13].bytes[row] = this.#quantityScales[book.instrument] as number
    this.#snapshots.block.rows++
  }

  gap(gap: GapRow): void {
    const c = this.#gaps.columns
    const row = this.#open(this.#gaps, gap.instrument, gap.detail.length * 3, this.hi, this.lo)
    c[2].bytes[row] = gap.channel
    c[3].bytes[row] = gap.cause
    c[4].bytes[row] = gap.status
    c[5].putWords(row, gap.fromHi, gap.fromLo)
    c[6].putWords(row, gap.toHi, gap.toLo)
    c[7].putNumber(row, Math.max(0, gap.fromSeq))
    c[8].putNumber(row, Math.max(0, gap.toSeq))
    c[9].putNumber(row, gap.lostCount)
    c[10].putText(row, gap.detail)
    this.#gaps.block.rows++
  }

  /** A row of a kind that is neither trade nor book. @returns why it was refused, or ''. */
  row<Name extends KindTableName>(name: Name, instrument: number, row: KindRow<Name>): KindRefusal {
    let kind = this.#kinds.get(name)
    if (kind === undefined) {
      kind = new KindColumns(this.#newBlock(tableNamed(name)))
      this.#kinds.set(name, kind)
    }
    const refusal = kind.read(row as Readonly<Record<string, CellValue>>)
    if (refusal !== '') return refusal
    kind.put(this.#open(kind, instrument, kind.textBytes, this.hi, this.lo))
    return ''
  }

  /** Makes room for one more row and fills in its head. @returns its index. */
  #open(table: TableColumns | KindColumns, instrument: number, memberBytes: number, hi: number, lo: number): number {
    const { block } = table
    if (!block.accepts(memberBytes, hi, lo)) {
      this.seal(block)
      block.accepts(memberBytes, hi, lo)
    }
    const { rows } = block
    table.columns[0].shorts[rows] = block.localIndex(instrument)
    table.columns[1].putWords(rows, hi, lo)
    return rows
  }

  seal(block: OpenBlock): void {
    if (block.rows === 0) return
    this.#onSeal(block)
    block.reset()
  }

  sealAll(): void {
    for (const block of this.blocks) this.seal(block)
  }

  /** Seals what was opened more than `ageMsMax` before this time. */
  sealOlderThan(hi: number, lo: number, ageMsMax: number): void {
    for (const block of this.blocks) {
      if (block.rows > 0 && elapsedMs(block.openedHi, block.openedLo, hi, lo) >= ageMsMax) this.seal(block)
    }
  }
}

type SeventeenColumns = readonly [
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
  ColumnBuffer,
]

/** A block and its columns by position, as schema.ts lists them (a test holds the two against each other). */
class TableColumns {
  readonly block: OpenBlock
  readonly columns: SeventeenColumns

  constructor(block: OpenBlock) {
    this.block = block
    this.columns = block.columns as unknown as SeventeenColumns
    columnNamed(block.columns, 'received_ns')
  }
}

/** Milliseconds between two times given as words; negative when the second is earlier. */
export function elapsedMs(fromHi: number, fromLo: number, toHi: number, toLo: number): number {
  return ((toHi - fromHi) * 4294967296 + (toLo >>> 0) - (fromLo >>> 0)) / 1e6
}
