import { assert } from '../../base/assert.ts'
import type { KlineInterval } from '../../record/schema-kinds.ts'

/** Bars: the venue's "resolution" (minutes, or 1D) and our word for it ("chart.trades.(instrument_name).(resolution)"). */
const RESOLUTIONS: readonly {
  readonly resolution: string
  readonly interval: KlineInterval
  readonly minutes: number
}[] = [
  { resolution: '1', interval: '1m', minutes: 1 },
  { resolution: '3', interval: '3m', minutes: 3 },
  { resolution: '5', interval: '5m', minutes: 5 },
  { resolution: '10', interval: '10m', minutes: 10 },
  { resolution: '15', interval: '15m', minutes: 15 },
  { resolution: '30', interval: '30m', minutes: 30 },
  { resolution: '60', interval: '1h', minutes: 60 },
  { resolution: '120', interval: '2h', minutes: 120 },
  { resolution: '180', interval: '3h', minutes: 180 },
  { resolution: '360', interval: '6h', minutes: 360 },
  { resolution: '720', interval: '12h', minutes: 720 },
  { resolution: '1D', interval: '1d', minutes: 1440 },
]

export interface Bar {
  readonly interval: KlineInterval
  readonly ns: bigint
}

const BARS: ReadonlyMap<string, Bar> = new Map(
  RESOLUTIONS.map(({ resolution, interval, minutes }) => [
    resolution,
    { interval, ns: BigInt(minutes) * 60_000_000_000n },
  ]),
)

export function barOf(resolution: string): Bar | undefined {
  return BARS.get(resolution)
}

export function resolutionOf(interval: string): string {
  const known = RESOLUTIONS.find((candidate) => candidate.interval === interval)
  assert(known !== undefined, `deribit has no bars of ${interval}`)
  return known.resolution
}
