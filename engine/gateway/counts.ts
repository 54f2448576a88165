/**
 * What the gateway counts: plain numbers of its thread, sent to the main thread once a second, where they become metrics.
 * Each part adds to the numbers that are its own.
 */
export const REFUSALS = [
  'url',
  'headers',
  'host',
  'origin',
  'rate',
  'in_flight',
  'overload',
  'key',
  'scope',
  'connections',
  'malformed',
] as const
export type Refusal = (typeof REFUSALS)[number]

export class GatewayCounts {
  /** requests by reason why they were turned away at the door */
  readonly refused = Object.fromEntries(REFUSALS.map((reason) => [reason, 0])) as Record<Refusal, number>
  /** requests under way */
  inFlight = 0

  /** WebSocket clients that are there now */
  clients = 0
  /** bytes that wait for them */
  queuedBytes = 0
  /** frames that went to them */
  sent = 0
  /** updates that were folded into newer ones because a client was slow */
  conflated = 0
  /** clients that were closed because they did not read */
  evicted = 0
  /** live messages that came in, and those that were lost on the way */
  liveMessages = 0
  liveLost = 0

  /** questions to ClickHouse: under way, asked, failed */
  questionsInFlight = 0
  questions = 0
  questionsFailed = 0
}
