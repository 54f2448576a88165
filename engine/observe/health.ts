/**
 * Three questions, kept apart because their answers call for different acts:
 *
 *   liveness      is this process of use at all? No → restart it. A dead NATS is no reason: a restart would not help.
 *   readiness     can it do its work now (spool writable, sockets open)? No → send no work, tell somebody.
 *   completeness  is what it delivers whole (books LIVE, no open gaps, no backlog)? No → the data have a hole.
 *
 * Dependencies (NATS, ClickHouse) are reported and lower the overall status to `degraded`; the spool bridges them.
 */
export type Aspect = 'liveness' | 'readiness' | 'completeness'

/** null = all is well, else what is wrong in a few words. */
export type Check = () => string | null

export interface DependencyState {
  readonly status: 'up' | 'down' | 'unused'
  readonly detail?: string
}

export interface HealthReport {
  readonly service: string
  readonly status: 'healthy' | 'degraded' | 'unhealthy'
  readonly version: string
  readonly timestamp: string
  readonly uptimeSeconds: number
  readonly liveness: AspectReport
  readonly readiness: AspectReport
  readonly completeness: AspectReport
  readonly dependencies: Readonly<Record<string, DependencyState>>
}

export interface AspectReport {
  readonly ok: boolean
  /** Check name → what is wrong; empty when ok. */
  readonly problems: Readonly<Record<string, string>>
}

export interface HealthOptions {
  /** e.g. `marketprism-collect` */
  readonly service: string
  readonly version: string
  /** ms since the epoch */
  readonly nowMs: () => number
}

export class Health {
  readonly #options: HealthOptions
  readonly #startedMs: number
  readonly #checks: Record<Aspect, Map<string, Check>> = {
    liveness: new Map(),
    readiness: new Map(),
    completeness: new Map(),
  }
  readonly #dependencies = new Map<string, () => DependencyState>()

  constructor(options: HealthOptions) {
    this.#options = options
    this.#startedMs = options.nowMs()
  }

  check(aspect: Aspect, name: string, check: Check): void {
    this.#checks[aspect].set(name, check)
  }

  dependency(name: string, state: () => DependencyState): void {
    this.#dependencies.set(name, state)
  }

  ask(aspect: Aspect): AspectReport {
    const problems: Record<string, string> = {}
    for (const [name, check] of this.#checks[aspect]) {
      const problem = guarded(check)
      if (problem !== null) problems[name] = problem
    }
    return { ok: Object.keys(problems).length === 0, problems }
  }

  report(): HealthReport {
    const [liveness, readiness, completeness] = [this.ask('liveness'), this.ask('readiness'), this.ask('completeness')]
    const dependencies = Object.fromEntries([...this.#dependencies].map(([name, state]) => [name, guardedState(state)]))
    const whole = completeness.ok && Object.values(dependencies).every((dependency) => dependency.status !== 'down')
    const nowMs = this.#options.nowMs()
    return {
      service: this.#options.service,
      status: !liveness.ok || !readiness.ok ? 'unhealthy' : whole ? 'healthy' : 'degraded',
      version: this.#options.version,
      timestamp: new Date(nowMs).toISOString(),
      uptimeSeconds: Math.round((nowMs - this.#startedMs) / 1000),
      liveness,
      readiness,
      completeness,
      dependencies,
    }
  }
}

/** A check that throws is a failed check, not a failed page. */
function guarded(check: Check): string | null {
  try {
    return check()
  } catch (error) {
    return `check failed: ${(error as Error).message}`
  }
}

function guardedState(state: () => DependencyState): DependencyState {
  try {
    return state()
  } catch (error) {
    return { status: 'down', detail: `check failed: ${(error as Error).message}` }
  }
}
