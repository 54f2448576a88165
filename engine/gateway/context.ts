import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { EngineLink } from './engine-link.ts'
import type { GatewaySettings } from './settings.ts'

/** What every part of the gateway may use; made once by gateway.ts. */
export interface GatewayContext {
  readonly settings: GatewaySettings
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly engine: EngineLink
}
