import { type Disk, readJson, replaceAdvice } from './disk.ts'

/**
 * The file KEPT: up to which receive time everything was durable, ns since the epoch as decimal text. The next run says from
 * it what it missed; without it the newest block tells, and that block may have been deleted.
 */
const KEPT_FILE = 'KEPT'
const WRITE_MS = 1000

/** What a run left to the next one. */
export interface Kept {
  /** what was received before was durable, ns since the epoch by that run's clock; 0 when that is not known */
  readonly untilNs: bigint
  /** that clock minus the machine's monotonic one, so that the next run sees whether it was set; 0 when that is not known */
  readonly anchorNs: bigint
}

export const NOTHING_KEPT: Kept = { untilNs: 0n, anchorNs: 0n }

export async function readKept(disk: Disk): Promise<Kept> {
  const found = await readJson<Record<string, unknown>>(disk, KEPT_FILE)
  const ns = (name: keyof Kept): bigint => {
    const text = found?.[name]
    return typeof text === 'string' && /^\d{1,19}$/.test(text) ? BigInt(text) : 0n
  }
  return { untilNs: ns('untilNs'), anchorNs: ns('anchorNs') }
}

export class KeptNote {
  untilNs = 0n
  anchorNs = 0n
  readonly #disk: Disk
  #writtenNs = 0n
  #writtenAtMs = 0

  constructor(disk: Disk) {
    this.#disk = disk
  }

  async writeIfDue(nowMs: number): Promise<void> {
    if (nowMs - this.#writtenAtMs < WRITE_MS) return
    this.#writtenAtMs = nowMs
    await this.write()
  }

  async write(): Promise<void> {
    if (this.untilNs === this.#writtenNs) return
    this.#writtenNs = this.untilNs
    const note = { untilNs: String(this.untilNs), anchorNs: String(this.anchorNs) }
    await replaceAdvice(this.#disk, KEPT_FILE, JSON.stringify(note))
  }
}
