import type { Config, Effective } from './config.ts'
import type { Log } from './log.ts'

/** What the command line hands to a role or tool. */
export interface Run {
  readonly config: Config
  /** The same with the origin of every value. */
  readonly effective: Effective
  readonly log: Log
  /** of the package, for /health and the producer's records */
  readonly version: string
  /** Roles that share this process, e.g. ['collect', 'store']; empty for a tool. */
  readonly roles: readonly string[]
  /** Aborted at the first SIGINT or SIGTERM, or when a role beside this one fails: stop in order, then return. */
  readonly stop: AbortSignal
}
