import type { ChildProcess } from 'node:child_process'
import { Fault } from '../../base/fault.ts'
import { forkClients } from '../demo/clients.ts'
import type { VisitOrder, VisitPlan, VisitReport } from './protocol.ts'

/** A process of clients that ask over HTTP. */
export class Visitors {
  readonly #child: ChildProcess
  readonly #ended: Promise<never>

  constructor(plan: VisitPlan) {
    this.#child = forkClients(new URL('./visitor-process.js', import.meta.url))
    this.#ended = new Promise((_, reject) => {
      this.#child.once('exit', (code) =>
        reject(new Fault('CLIENTS', `the process of clients ended (exit ${code}) before the trial did`)),
      )
    })
    this.#ended.catch(() => {}) // whoever waits hears it
    this.#tell({ type: 'plan', plan })
  }

  /** So long at the rate of the plan; then what came of it. */
  flood(seconds: number): Promise<VisitReport> {
    const report = new Promise<VisitReport>((resolve) => this.#child.once('message', resolve))
    this.#tell({ type: 'flood', seconds })
    return Promise.race([report, this.#ended])
  }

  #tell(order: VisitOrder): void {
    if (this.#child.connected) this.#child.send(order)
  }

  close(): void {
    this.#child.kill('SIGKILL')
  }
}
