import type { Heartbeat } from '../exchanges/exchange.ts'

export interface LivenessTiming {
  /** nothing came for this long: ask the venue whether it is there */
  readonly probeAfterMs: number
  readonly probeTimeoutMs: number
  /** the venue answers but sends no data for this long: subscribe anew, on a fresh socket */
  readonly dataSilenceMsMax: number
  readonly watchIntervalMs: number
}

/** What the socket's handlers count; the watch compares with what it saw before. */
export interface Heard {
  readonly frameCount: number
  /** pings, pongs, acknowledgements */
  readonly otherCount: number
  readonly isPaused: boolean
}

export type LivenessVerdict = 'WELL' | 'PROBE' | 'PONG' | 'SILENT' | 'NO_DATA' | 'LIFE_OVER'

/** A subscription that stayed quiet is given twice the time on each new socket, up to this: quiet symbols exist. */
const DATA_SILENCE_FACTOR_MAX = 16
/** Without a question to ask, silence decides once this many of the venue's pings should have come. */
const MISSED_PINGS_MAX = 2

/**
 * Is this connection alive? Any frame is a sign of life; an unanswered question is a sign of death only after silence,
 * because a quiet symbol is not a dead socket. Asked once an interval; no clock and no socket inside.
 */
export class Liveness {
  readonly #timing: LivenessTiming
  readonly #heartbeat: Heartbeat
  readonly #canProbe: boolean
  #askedMs = 0
  #seenFrameCount = 0
  #seenOtherCount = 0
  #heardMs = 0
  #dataMs = 0
  #pongedMs = 0
  #endMs = 0
  #probedMs: number | undefined
  #dataSilenceFactor = 1

  constructor(timing: LivenessTiming, heartbeat: Heartbeat, canProbe: boolean) {
    this.#timing = timing
    this.#heartbeat = heartbeat
    this.#canProbe = canProbe
  }

  /** A new socket is open. @param lifeMs how old it may get */
  begin(nowMs: number, heard: Heard, lifeMs: number): void {
    this.#askedMs = this.#heardMs = this.#dataMs = this.#pongedMs = nowMs
    this.#endMs = nowMs + lifeMs
    this.#probedMs = undefined
    this.#see(heard)
  }

  check(nowMs: number, heard: Heard): LivenessVerdict {
    this.#forgiveOurStall(nowMs)
    this.#listen(nowMs, heard)
    const { probeAfterMs, probeTimeoutMs, dataSilenceMsMax } = this.#timing
    const { serverPingMs, unsolicitedPongMs } = this.#heartbeat
    if (nowMs > this.#endMs) return 'LIFE_OVER'
    if (this.#probedMs !== undefined && nowMs - this.#probedMs > probeTimeoutMs) return 'SILENT'
    if (!this.#canProbe && nowMs - this.#heardMs > MISSED_PINGS_MAX * serverPingMs) return 'SILENT'
    if (nowMs - this.#dataMs > dataSilenceMsMax * this.#dataSilenceFactor) {
      this.#dataSilenceFactor = Math.min(DATA_SILENCE_FACTOR_MAX, this.#dataSilenceFactor * 2)
      return 'NO_DATA'
    }
    if (this.#canProbe && this.#probedMs === undefined && nowMs - this.#heardMs > probeAfterMs) {
      this.#probedMs = nowMs
      return 'PROBE'
    }
    if (unsolicitedPongMs > 0 && nowMs - this.#pongedMs > unsolicitedPongMs) {
      this.#pongedMs = nowMs
      return 'PONG'
    }
    return 'WELL'
  }

  /** If this thread itself was late, the venue's frames are still in the kernel: our lateness is not its silence. */
  #forgiveOurStall(nowMs: number): void {
    const stallMs = Math.max(0, nowMs - this.#askedMs - 2 * this.#timing.watchIntervalMs)
    this.#askedMs = nowMs
    this.#heardMs += stallMs
    this.#dataMs += stallMs
    if (this.#probedMs !== undefined) this.#probedMs += stallMs
  }

  #listen(nowMs: number, heard: Heard): void {
    const hasData = heard.frameCount !== this.#seenFrameCount
    const isHeard = hasData || heard.otherCount !== this.#seenOtherCount || heard.isPaused
    if (hasData) this.#dataSilenceFactor = 1
    if (hasData || heard.isPaused) this.#dataMs = nowMs
    if (isHeard) {
      this.#heardMs = nowMs
      this.#probedMs = undefined
    }
    this.#see(heard)
  }

  #see(heard: Heard): void {
    this.#seenFrameCount = heard.frameCount
    this.#seenOtherCount = heard.otherCount
  }
}
