import { EXIT_USAGE, Fault } from '../../base/fault.ts'
import type { SpoolBlock } from './files.ts'

/** Which blocks of a spool are meant. */
export interface BlockChoice {
  /** `{epoch}/{block_seq}` or `{epoch}`, both ends included */
  readonly from: string | undefined
  readonly to: string | undefined
  readonly table: string | undefined
}

export function blockFilter({ from, to }: BlockChoice): (block: SpoolBlock) => boolean {
  const first = placeOf(from, 0)
  const last = placeOf(to, Number.MAX_SAFE_INTEGER)
  const isBelow = (a: Place, b: Place) => a.epoch < b.epoch || (a.epoch === b.epoch && a.seq < b.seq)
  if (first !== undefined && last !== undefined && isBelow(last, first))
    throw new Fault('WRONG_RANGE', `--from ${from} is behind --to ${to}: give the older block first`, EXIT_USAGE)
  return ({ epoch, blockSeq }) => {
    const place = { epoch, seq: blockSeq }
    return !(first !== undefined && isBelow(place, first)) && !(last !== undefined && isBelow(last, place))
  }
}

interface Place {
  readonly epoch: number
  readonly seq: number
}

/** @param seqDefault for an epoch alone: its first or its last block. */
function placeOf(text: string | undefined, seqDefault: number): Place | undefined {
  if (text === undefined) return undefined
  const [, epoch, seq] = /^(\d{1,10})(?:\/(\d{1,10}))?$/.exec(text) ?? []
  if (epoch === undefined)
    throw new Fault(
      'WRONG_BLOCK',
      `${text} is no block: give epoch/number as spool ls shows them, or an epoch`,
      EXIT_USAGE,
    )
  return { epoch: Number(epoch), seq: seq === undefined ? seqDefault : Number(seq) }
}
