import { blockHead } from '../engine/record/decode.ts'
import type { BlockTimes } from '../engine/spool/reader.ts'
import type { Spool } from '../engine/spool/spool.ts'
import type { DownNotice } from './shard-connections.ts'

/** When the rows of a block were received; undefined for bytes that are none. */
export function timesOf(payload: Uint8Array): BlockTimes | undefined {
  try {
    const { firstReceivedNs: firstNs, lastReceivedNs: lastNs } = blockHead(payload)
    return { firstNs, lastNs }
  } catch {
    return undefined
  }
}

/**
 * From when on nothing is known, and what the disk has lost of what was known.
 * @param marginMs how much older than the newest block what was lost with the process can be
 */
export function downNotice(spool: Spool, marginMs: number, nowNs: bigint): DownNotice {
  const sinceNs = spool.keptUntilNs > 0n ? spool.keptUntilNs : spool.recovery.newestNs - BigInt(marginMs) * 1_000_000n
  const lost = spool.lost.map(({ epoch, firstSeq, lastSeq, segment, firstNs, lastNs }) => ({
    fromNs: String(firstNs === 0n ? BigInt(epoch) * 1_000_000_000n : firstNs), // an epoch is the second of its start
    toNs: String(lastNs === 0n ? nowNs : lastNs),
    detail: `blocks ${epoch}/${firstSeq} to ${lastSeq} are damaged in ${segment}`,
  }))
  return sinceNs > 0n ? { sinceNs: String(sinceNs), lost } : { lost }
}
