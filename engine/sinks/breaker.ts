import {
  BrokenCircuitError,
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  DelegateBackoff,
  handleWhen,
  type IHalfOpenAfterBackoffContext,
} from 'cockatiel'
import type { Log } from '../base/log.ts'

/**
 * A server that fails is left alone: after so many failures in a row nothing is asked of it for a while, then one request
 * goes first (half-open) and the others wait for its luck. The first rest is short, since most outages are restarts, and
 * each that follows is twice as long, up to the bound.
 */
export interface BreakerOptions {
  readonly failuresMax: number
  readonly restMsMin: number
  readonly restMsMax: number
}

export const BREAKER_DEFAULT: BreakerOptions = { failuresMax: 5, restMsMin: 1_000, restMsMax: 60_000 }

export const BREAKER_STATES = ['closed', 'half-open', 'open'] as const
export type BreakerState = (typeof BREAKER_STATES)[number]

export class Breaker {
  readonly #policy: CircuitBreakerPolicy
  /** times it opened */
  opened = 0

  /** @param isOutage whether this error says that the server, and not what was asked of it, is at fault */
  constructor(name: string, options: BreakerOptions, isOutage: (error: unknown) => boolean, log: Log) {
    const { failuresMax, restMsMin, restMsMax } = options
    this.#policy = circuitBreaker(handleWhen(isOutage), {
      breaker: new ConsecutiveBreaker(failuresMax),
      halfOpenAfter: new DelegateBackoff<IHalfOpenAfterBackoffContext>(({ attempt }) =>
        Math.min(restMsMax, restMsMin * 2 ** Math.min(30, attempt - 1)),
      ),
    })
    this.#policy.onBreak(() => {
      this.opened++
      log.warn({ failures: failuresMax }, `${name} is left alone for a while`)
    })
    this.#policy.onReset(() => log.info(`${name} is asked again`))
  }

  get state(): BreakerState {
    switch (this.#policy.state) {
      case CircuitState.Closed:
        return 'closed'
      case CircuitState.HalfOpen:
        return 'half-open'
      default:
        return 'open'
    }
  }

  /** @throws what `work` throws, or an error for which `isRest` is true. */
  run<T>(work: () => Promise<T>): Promise<T> {
    return this.#policy.execute(work)
  }
}

/** Nothing was asked: the breaker is open. */
export function isRest(error: unknown): boolean {
  return error instanceof BrokenCircuitError
}
