import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Fault } from '../../base/fault.ts'
import { forkClients } from '../demo/clients.ts'
import type { CrowdMessage, CrowdOrder, CrowdPlan, CrowdReport } from './protocol.ts'

/** Some processes of clients. */
export class Crowd {
  readonly #children: readonly ChildProcess[]
  readonly #connected: number[]
  readonly #wanted: number

  /** @param plans one a process */
  constructor(plans: readonly CrowdPlan[]) {
    const program = new URL('./crowd-process.js', import.meta.url)
    this.#children = plans.map(() => forkClients(program))
    this.#connected = plans.map(() => 0)
    this.#wanted = plans.reduce((sum, { patterns }) => sum + patterns.length, 0)
    this.#children.forEach((child, index) => {
      child.on('message', (message: CrowdMessage) => {
        if (message.type === 'connected') this.#connected[index] = message.count
      })
      this.#tell(child, { type: 'start', plan: plans[index] as CrowdPlan })
    })
  }

  get isConnected(): boolean {
    return this.#connected.reduce((sum, count) => sum + count, 0) === this.#wanted
  }

  reset(): void {
    for (const child of this.#children) this.#tell(child, { type: 'reset' })
  }

  /** Of all together: percentiles are the worst of any process. */
  async report(): Promise<Omit<CrowdReport, 'type'>> {
    const parts = await Promise.all(this.#children.map((child) => this.#reportOf(child)))
    const sum = (of: (part: CrowdReport) => number): number => parts.reduce((total, part) => total + of(part), 0)
    const worst = (of: (part: CrowdReport) => number): number => Math.max(...parts.map(of))
    return {
      clients: sum(({ clients }) => clients),
      frames: sum(({ frames }) => frames),
      bytes: sum(({ bytes }) => bytes),
      samples: sum(({ samples }) => samples),
      p50Ms: worst(({ p50Ms }) => p50Ms),
      p99Ms: worst(({ p99Ms }) => p99Ms),
      maxMs: worst(({ maxMs }) => maxMs),
      seconds: worst(({ seconds }) => seconds),
      cpuSeconds: sum(({ cpuSeconds }) => cpuSeconds),
    }
  }

  async #reportOf(child: ChildProcess): Promise<CrowdReport> {
    this.#tell(child, { type: 'report' })
    for (;;) {
      const [message] = (await once(child, 'message')) as [CrowdMessage]
      if (message.type === 'report') return message
    }
  }

  #tell(child: ChildProcess, order: CrowdOrder): void {
    if (!child.connected) throw new Fault('CLIENTS', 'a process of clients ended before the trial did')
    child.send(order)
  }

  close(): void {
    for (const child of this.#children) child.kill('SIGKILL')
  }
}
