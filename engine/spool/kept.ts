import { type Disk, readJson, replaceAdvice } from './disk.ts'

/**
 * The file KEPT: up to which receive time everything was durable, ns since the epoch as decimal text. The next run says from
 * it what it missed; without it the newest block tells, and that block may have been deleted.
 */
const KEPT_FILE = 'KEPT'
const WRITE_MS = 1000

interface Kept {
  readonly untilNs: string
}

/** 0 when there is none. */
export async function readKept(disk: Disk): Promise<bigint> {
  const untilNs: unknown = (await readJson<Kept>(disk, KEPT_FILE))?.untilNs
  return typeof untilNs === 'string' && /^\d{1,19}$/.test(untilNs) ? BigInt(untilNs) : 0n
}

export class KeptNote {
  untilNs = 0n
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
    await replaceAdvice(this.#disk, KEPT_FILE, JSON.stringify({ untilNs: String(this.untilNs) } satisfies Kept))
  }
}
