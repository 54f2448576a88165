import { unpack } from 'msgpackr'
import type { OpenBlock } from '../engine/record/block.ts'
import { TradeEvent } from '../engine/record/emit.ts'
import { Recorder } from '../engine/record/recorder.ts'
import { type BenchContext, type BenchResult, check } from './bench.ts'
import { measured, repeat } from './measure.ts'

const ROWS = 1_000_000
const BLOCK = { rowsMax: 8192, bytesMax: 1 << 20 }
const FIRST_ID = 5_000_000_000

/** Trade rows → columns of a block → one msgpack map; the last block is read back by plain msgpackr. */
export async function encode({ runCount }: BenchContext): Promise<BenchResult> {
  const target = new Uint8Array(BLOCK.bytesMax * 2)
  const trade = Object.assign(new TradeEvent(), {
    stream: 1,
    eventMs: 1723161256322,
    tradeMs: 1723161256321,
    price: 618002,
    quantity: 14,
    side: 1,
  })
  const seconds = await repeat(runCount, () => {
    let rows = 0
    let length = 0
    const onSeal = (block: OpenBlock) => {
      rows += block.rows
      length = block.encodeInto(target, 0)
    }
    const scales = new Uint8Array(1)
    const recorder = new Recorder(
      { ...BLOCK, producer: 'bench', exchange: 'binance' },
      () => 'binance.usdm.BTCUSDT',
      scales,
      scales,
      onSeal,
    )
    const start = performance.now()
    for (let row = 0; row < ROWS; row++) {
      recorder.time.hi = 401_200_000
      recorder.time.lo = row
      trade.tradeId = trade.firstTradeId = trade.lastTradeId = FIRST_ID + row
      recorder.trade(trade)
    }
    recorder.sealAll()
    const took = (performance.now() - start) / 1000
    check(rows === ROWS, `encode: ${rows} rows came out of ${ROWS}`)
    check(
      lastTradeId(target.subarray(0, length)) === BigInt(FIRST_ID + ROWS - 1),
      'encode: msgpackr reads another last id',
    )
    return took
  })
  return {
    ...measured(ROWS, seconds),
    unit: 'rows/s',
    ratios: {},
    others: {},
    notes: ['rows of trades, 70 bytes each'],
  }
}

function lastTradeId(bytes: Uint8Array): bigint {
  const block = unpack(bytes) as { rows: number; columns: { trade_id: [string, Uint8Array] } }
  const column = block.columns.trade_id[1]
  return new DataView(column.buffer, column.byteOffset, column.length).getBigUint64((block.rows - 1) * 8, true)
}
