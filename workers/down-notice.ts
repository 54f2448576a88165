import type { Clock } from '../engine/base/clock.ts'
import { blockHead } from '../engine/record/decode.ts'
import type { BlockTimes } from '../engine/spool/reader.ts'
import type { BlockRange, Spool } from '../engine/spool/spool.ts'
import type { DownNotice } from './shard-connections.ts'

/**
 * When the rows of a block were received; undefined for bytes that are none.
 * @param producers by boot, whose blocks there are: of each segment that is found one is asked at least
 */
export function timesOf(payload: Uint8Array, producers?: Map<number, string>): BlockTimes | undefined {
  try {
    const { producer, epoch, firstReceivedNs: firstNs, lastReceivedNs: lastNs } = blockHead(payload)
    producers?.set(Number(epoch), producer)
    return { firstNs, lastNs }
  } catch {
    return undefined
  }
}

/** Two readings of one clock differ by less. */
const STEP_NS = 100_000_000n

/**
 * From when on nothing is known, and what the disk has lost of what was known.
 * @param marginMs how much older than the newest block what was lost with the process can be
 */
export function downNotice(spool: Spool, marginMs: number, clock: Pick<Clock, 'anchorNs' | 'nowNs'>): DownNotice {
  const nowNs = clock.nowNs()
  const newestNs = spool.recovery.newestNs - BigInt(marginMs) * 1_000_000n
  const toldNs = spool.keptBefore.untilNs > 0n ? spool.keptBefore.untilNs + stepNs(spool, clock) : newestNs
  const sinceNs = toldNs < nowNs ? toldNs : nowNs // by a clock that was ahead, and is right since a start of the machine
  const lost = spool.lost.map(({ epoch, firstSeq, lastSeq, segment, firstNs, lastNs }) => ({
    fromNs: String(firstNs === 0n ? BigInt(epoch) * 1_000_000_000n : firstNs), // an epoch is the second of its start
    toNs: String(lastNs === 0n ? nowNs : lastNs),
    detail: `blocks ${epoch}/${firstSeq} to ${lastSeq} are damaged in ${segment}`,
  }))
  return sinceNs > 0n ? { sinceNs: String(sinceNs), lost } : { lost }
}

/** Blocks that were deleted undelivered, as a gap tells them. */
export function droppedRange({ epoch, firstSeq, lastSeq }: BlockRange, fromMs: number, toMs: number) {
  const ns = (ms: number): string => String(BigInt(Math.floor(ms)) * 1_000_000n)
  const detail = `blocks ${epoch}/${firstSeq} to ${lastSeq} were deleted undelivered (spool.onFull = dropOldest)`
  return { fromNs: ns(fromMs), toNs: ns(toMs), detail }
}

/** How far the clock was set since the last run: the time of its end is told by the clock of today. */
function stepNs({ keptBefore: { anchorNs: before } }: Spool, { anchorNs: now }: Pick<Clock, 'anchorNs'>): bigint {
  const step = before === 0n ? 0n : now - before
  return step > STEP_NS || step < -STEP_NS ? step : 0n
}
