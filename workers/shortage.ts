import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../engine/base/log.ts'
import { isFull } from '../engine/spool/disk.ts'

/** Shorter shortages are the work of back-pressure, and nothing for a person to do. */
const TOLD_MS = 1_000

/** A spool without room is told once, when it lasts, and once more when it is over. */
export class Shortage {
  readonly #directory: string
  readonly #nowMs: () => number
  readonly #log: Pick<Log, 'warn' | 'error'>
  #sinceMs: number | undefined
  #isTold = false
  #forgottenBlocks = 0
  #isForgettingTold = false

  constructor(directory: string, nowMs: () => number, log: Pick<Log, 'warn' | 'error'>) {
    this.#directory = directory
    this.#nowMs = nowMs
    this.#log = log
  }

  /** As of the last look. */
  get isThere(): boolean {
    return this.#sinceMs !== undefined
  }

  /**
   * @param reason '' when there is room
   * @param forgottenBlocks delivered, not known to be stored, and deleted for want of room, since the start
   */
  look(reason: string, forgottenBlocks = 0): void {
    if (forgottenBlocks > this.#forgottenBlocks && !this.#isForgettingTold) {
      this.#isForgettingTold = true
      this.#log.error(
        `the spool in ${this.#directory} is full and deletes blocks that are delivered and not known to be stored: what NATS loses of them now is lost; enlarge spool.maxBytes, or look why the store lags`,
      )
    }
    this.#forgottenBlocks = forgottenBlocks
    if (reason === '') {
      if (this.#isTold) this.#log.warn(`the spool in ${this.#directory} has room again`)
      this.#sinceMs = undefined
      this.#isTold = false
      return
    }
    const now = this.#nowMs()
    this.#sinceMs ??= now
    if (this.#isTold || now - this.#sinceMs < TOLD_MS) return
    this.#isTold = true
    this.#log.error(`the spool in ${this.#directory} has no room, so the sockets are held back: ${reason}`)
  }
}

const ROOM_LOOK_MS = 1_000

/** A full disk is no reason to end: a supervisor would start the process again and again. It is told once, and waited for. */
export async function whenThereIsRoom<T>(
  open: () => Promise<T>,
  directory: string,
  log: Pick<Log, 'warn' | 'error'>,
  lookMs = ROOM_LOOK_MS,
): Promise<T> {
  for (let isTold = false; ; isTold = true) {
    try {
      const opened = await open()
      if (isTold) log.warn(`the disk of the spool in ${directory} has room again: it is opened`)
      return opened
    } catch (error) {
      if (!isFull(error)) throw error
      if (!isTold)
        log.error(`the disk of the spool in ${directory} is full, so nothing is collected yet: free some space`)
      await sleep(lookMs)
    }
  }
}
