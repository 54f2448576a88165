import { readdirSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Metrics } from './metrics.ts'

/** The delay of a timer of this many ms is the sample; below 10 ms the measuring itself shows. */
const DELAY_RESOLUTION_MS = 10

/** The process itself: memory, CPU, descriptors, event loop. @returns stops the measuring. */
export function observeRuntime(metrics: Metrics, version: string, startedMs: number): () => void {
  metrics.source('marketprism_build_info', () => [{ labels: { version }, value: 1 }])
  metrics.source('marketprism_start_time_seconds', () => startedMs / 1000)
  metrics.source('marketprism_cpu_seconds_total', () => {
    const { user, system } = process.cpuUsage()
    return [
      { labels: { mode: 'user' }, value: user / 1e6 },
      { labels: { mode: 'system' }, value: system / 1e6 },
    ]
  })
  metrics.source('marketprism_resident_memory_bytes', () => process.memoryUsage.rss())
  metrics.source('marketprism_heap_used_bytes', () => process.memoryUsage().heapUsed)
  metrics.source('marketprism_external_memory_bytes', () => process.memoryUsage().external)
  metrics.source('marketprism_open_fds', openFds)
  const delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
  delay.enable()
  metrics.source('marketprism_eventloop_delay_seconds', () => {
    // Node's histogram measures the whole interval of its timer; what exceeds the resolution is delay.
    const excess = (ns: number): number => Math.max(0, ns / 1e9 - DELAY_RESOLUTION_MS / 1e3)
    const samples = [
      { labels: { quantile: '0.5' }, value: excess(delay.percentile(50)) },
      { labels: { quantile: '0.99' }, value: excess(delay.percentile(99)) },
      { labels: { quantile: '1' }, value: excess(delay.max) },
    ]
    delay.reset()
    return samples
  })
  return () => delay.disable()
}

/** Linux and macOS list the descriptors of a process; elsewhere there is no number, and no series. */
function openFds(): number | readonly [] {
  for (const directory of ['/proc/self/fd', '/dev/fd']) {
    try {
      return readdirSync(directory).length - 1 // the listing itself holds one
    } catch {
      // not on this system: try the next
    }
  }
  return []
}
