import type { GatewaySample } from '../gateway/counts.ts'
import type { Metrics } from '../observe/metrics.ts'

/** @param read what the gateway's thread said last; undefined before it has */
export function watchGateway(metrics: Metrics, read: () => GatewaySample | undefined): void {
  metrics.source('marketprism_gateway_requests_total', () =>
    (read()?.requests ?? []).map(([route, status, value]) => ({ labels: { route, status }, value })),
  )
  metrics.histogram('marketprism_gateway_request_seconds', () => read()?.latency ?? [])
  metrics.source('marketprism_gateway_refused_total', () =>
    Object.entries(read()?.refused ?? {}).map(([reason, value]) => ({ labels: { reason }, value })),
  )
  metrics.source('marketprism_gateway_questions_total', () => [
    { labels: { outcome: 'ok' }, value: (read()?.questions ?? 0) - (read()?.questionsFailed ?? 0) },
    { labels: { outcome: 'failed' }, value: read()?.questionsFailed ?? 0 },
  ])
  metrics.source('marketprism_gateway_in_flight', () => read()?.inFlight ?? 0)
  metrics.source('marketprism_gateway_questions_in_flight', () => read()?.questionsInFlight ?? 0)
  metrics.source('marketprism_gateway_clients', () => read()?.clients ?? 0)
  metrics.source('marketprism_gateway_queued_bytes', () => read()?.queuedBytes ?? 0)
  metrics.source('marketprism_gateway_frames_sent_total', () => read()?.sent ?? 0)
  metrics.source('marketprism_gateway_conflated_total', () => read()?.conflated ?? 0)
  metrics.source('marketprism_gateway_evicted_total', () => read()?.evicted ?? 0)
  metrics.source('marketprism_gateway_live_messages_total', () => read()?.liveMessages ?? 0)
  metrics.source('marketprism_gateway_live_lost_total', () => read()?.liveLost ?? 0)
}
