/** What `marketprism verify` found, one line a thing. */

/** `skipped`: it does not apply here, or cannot be known now; nothing is wrong by that. */
export type Verdict = 'good' | 'bad' | 'skipped'

export interface Finding {
  readonly what: string
  readonly verdict: Verdict
  readonly detail: string
  /** what to do; '' where nothing is to be done */
  readonly remedy: string
}

export class Findings {
  readonly list: Finding[] = []

  good(what: string, detail: string): void {
    this.list.push({ what, verdict: 'good', detail, remedy: '' })
  }

  bad(what: string, detail: string, remedy: string): void {
    this.list.push({ what, verdict: 'bad', detail, remedy })
  }

  skipped(what: string, detail: string): void {
    this.list.push({ what, verdict: 'skipped', detail, remedy: '' })
  }

  /** The lines of our faults are `what is wrong: what to do`. */
  fault(what: string, error: unknown): void {
    const { message = String(error) } = error as Partial<Error>
    const at = message.lastIndexOf(': ')
    if (at < 0) this.bad(what, message, 'try again; the log of the server may say more')
    else this.bad(what, message.slice(0, at), message.slice(at + 2))
  }

  /** A check that fails in a way of its own is a finding, not the end of the others. */
  async guard(what: string, check: () => Promise<void>): Promise<void> {
    try {
      await check()
    } catch (error) {
      this.fault(what, error)
    }
  }
}
