import { statfsSync } from 'node:fs'
import type { Log } from '../base/log.ts'

/**
 * A nats-server whose disk was full hangs: it is connected, acknowledges nothing and answers no question about streams,
 * also when there is room again (2.9.10). Only a start anew helps. Ours is ours to start: when publishes go unanswered for
 * a while and the disk has room, it is killed, which loses nothing that it acknowledged, and its keeper starts it again.
 */
export interface RevivalOptions {
  readonly lookMs: number
  /** looks in a row with timeouts and without an acknowledgement */
  readonly looksMin: number
  readonly freeBytesMin: number
  /** time for a started server to show that it acknowledges */
  readonly restMs: number
}

export const REVIVAL_DEFAULT: RevivalOptions = {
  lookMs: 5_000,
  looksMin: 3,
  freeBytesMin: 8 * 1024 * 1024,
  restMs: 60_000,
}

/** What a publisher has seen so far. */
export interface Acknowledgements {
  readonly acks: number
  readonly timeouts: number
}

export interface Patient {
  readonly storeDirectory: string
  /** Kills it; its keeper starts it again. */
  renew(): void
}

export class Revival {
  readonly #server: Patient
  readonly #read: () => Acknowledgements
  readonly #options: RevivalOptions
  readonly #log: Log
  #before: Acknowledgements
  #badLooks = 0
  #restsUntilMs = 0
  #isTold = false
  #looking: NodeJS.Timeout | undefined
  renewals = 0

  constructor(server: Patient, read: () => Acknowledgements, options: RevivalOptions, log: Log) {
    this.#server = server
    this.#read = read
    this.#options = options
    this.#log = log
    this.#before = read()
  }

  start(): void {
    this.#looking ??= setInterval(() => this.#look(), this.#options.lookMs)
  }

  stop(): void {
    clearInterval(this.#looking)
  }

  #look(): void {
    const now = this.#read()
    const isMute = now.acks === this.#before.acks && now.timeouts > this.#before.timeouts
    if (now.acks !== this.#before.acks) {
      this.#badLooks = 0
      this.#isTold = false
    } else if (isMute) this.#badLooks++
    this.#before = now
    if (this.#badLooks < this.#options.looksMin || performance.now() < this.#restsUntilMs) return
    this.#renew()
  }

  #renew(): void {
    const { storeDirectory } = this.#server
    const { bavail, bsize } = statfsSync(storeDirectory)
    const freeBytes = bavail * bsize
    if (freeBytes < this.#options.freeBytesMin) {
      if (!this.#isTold)
        this.#log.error(
          { storeDirectory, freeBytes },
          `nats-server acknowledges nothing: its disk is full; free some, then it is started anew; blocks wait in the spool`,
        )
      this.#isTold = true
      return
    }
    this.#log.error(
      { storeDirectory, freeBytes },
      'nats-server is connected and acknowledges nothing: it is started anew',
    )
    this.renewals++
    this.#badLooks = 0
    this.#restsUntilMs = performance.now() + this.#options.restMs
    this.#server.renew()
  }
}
