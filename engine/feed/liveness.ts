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
  #askedClientMs = 0
  #probedMs: number | undefined
  #dataSilenceFactor: number

  /** @param dataSilenceFactor what the socket before had come to */
  constructor(timing: LivenessTiming, heartbeat: Heartbeat, canProbe: boolean, dataSilenceFactor = 1) {
    this.#timing = timing
    this.#heartbeat = heartbeat
    this.#canProbe = canProbe
    this.#dataSilenceFactor = dataSilenceFactor
  }

  get dataSilenceFactor(): number {
    return this.#dataSilenceFactor
  }

  /** The socket is open. @param lifeMs after this it should be replaced; infinite where the venue lets it live */
  begin(nowMs: number, heard: Heard, lifeMs: number): void {
    this.#askedMs = this.#heardMs = this.#dataMs = this.#pongedMs = this.#askedClientMs = nowMs
    this.#endMs = nowMs + lifeMs
    this.#probedMs = undefined
    this.#see(heard)
  }

  check(nowMs: number, heard: Heard): LivenessVerdict {
    this.#forgiveOurStall(nowMs)
    this.#listen(nowMs, heard)
    const { probeTimeoutMs, dataSilenceMsMax } = this.#timing
    const { unsolicitedPongMs } = this.#heartbeat
    if (this.#probedMs !== undefined && nowMs - this.#probedMs > probeTimeoutMs) return 'SILENT'
    if (!this.#canProbe && nowMs - this.#heardMs > this.#unaskedSilenceMs()) return 'SILENT'
    if (nowMs - this.#dataMs > dataSilenceMsMax * this.#dataSilenceFactor) {
      this.#dataSilenceFactor = Math.min(DATA_SILENCE_FACTOR_MAX, this.#dataSilenceFactor * 2)
      return 'NO_DATA'
    }
    if (nowMs > this.#endMs) {
      this.#endMs = Number.POSITIVE_INFINITY // said once
      return 'LIFE_OVER'
    }
    if (this.#isProbeDue(nowMs)) {
      this.#probedMs = this.#askedClientMs = nowMs
      return 'PROBE'
    }
    if (unsolicitedPongMs > 0 && nowMs - this.#pongedMs > unsolicitedPongMs) {
      this.#pongedMs = nowMs
      return 'PONG'
    }
    return 'WELL'
  }

  /** In silence, and where the venue wants to be asked all the same, every so often. */
  #isProbeDue(nowMs: number): boolean {
    if (!this.#canProbe || this.#probedMs !== undefined) return false
    const { clientPingMs = 0 } = this.#heartbeat
    if (clientPingMs > 0 && nowMs - this.#askedClientMs >= clientPingMs) return true
    return nowMs - this.#heardMs > this.#timing.probeAfterMs
  }

  /** How long a venue that cannot be asked may say nothing at all. */
  #unaskedSilenceMs(): number {
    const { probeAfterMs, probeTimeoutMs } = this.#timing
    const { serverPingMs } = this.#heartbeat
    return serverPingMs > 0 ? MISSED_PINGS_MAX * serverPingMs : probeAfterMs + probeTimeoutMs
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
