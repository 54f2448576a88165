import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { GatewayCounts } from './counts.ts'
import type { EngineLink } from './engine-link.ts'
import type { Jobs } from './jobs.ts'
import type { LiveHub } from './live/live-hub.ts'
import type { GatewaySettings } from './settings.ts'
import type { SharedAnswers } from './shared-answers.ts'
import type { Store } from './store.ts'
import type { Upgrades } from './upgrades.ts'

/** What the thread gives the gateway. */
export interface Surroundings {
  readonly settings: GatewaySettings
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly engine: EngineLink
}

/**
 * What every part of the gateway may use; made once by gateway.ts. The parts themselves (store, live hub) are told what
 * they need and know no context, else the two would import each other.
 */
export interface GatewayContext extends Surroundings {
  readonly counts: GatewayCounts
  /** paths that take WebSockets are added here */
  readonly upgrades: Upgrades
  /** undefined: this deployment stores nothing that could be asked */
  readonly store: Store | undefined
  readonly live: LiveHub
  /** what is the same for all who ask */
  readonly answers: SharedAnswers
  /** what is done again and again is added here */
  readonly jobs: Jobs
}
