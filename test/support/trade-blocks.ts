import { sealedBlock, type SealedBlock } from '../../engine/sinks/sink.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './blocks.ts'

export const ROWS_A_BLOCK = 50

/** Blocks of one boot, received within one second, with trade ids 0, 1, 2 … */
export function tradeBlocks(producer: string, count: number): SealedBlock[] {
  return Array.from({ length: count }, (_, index) =>
    sealedBlock(
      buildBlock({
        table: 'trades',
        rows: tradeRows(ROWS_A_BLOCK, index * ROWS_A_BLOCK),
        instruments: index % 2 === 0 ? TRADE_INSTRUMENTS : [...TRADE_INSTRUMENTS].reverse(),
        epoch: 3n,
        blockSeq: BigInt(index),
        producer,
      }),
    ),
  )
}
