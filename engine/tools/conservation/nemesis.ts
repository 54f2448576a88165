/** What goes wrong in a run, and when: a function of the seed. Nothing here happens; conservation.ts does it. */
import { type Random, seededRandom } from '../../base/random.ts'
import type { Toxic } from './fault-link.ts'

export const ACTORS = ['engine', 'nats', 'store', 'clickhouse'] as const
export type Actor = (typeof ACTORS)[number]

export const LINKS = ['venue → engine', 'engine → nats', 'nats → store', 'store → clickhouse'] as const
export type LinkName = (typeof LINKS)[number]

export type Act = { readonly atMs: number } & (
  | { readonly what: 'kill'; readonly actor: Actor }
  | { readonly what: 'pause'; readonly actor: Actor; readonly forMs: number }
  | { readonly what: 'reset'; readonly link: LinkName }
  | { readonly what: 'toxic'; readonly link: LinkName; readonly toxic: Toxic; readonly forMs: number }
)

type Deed = Act extends infer A ? (A extends Act ? Omit<A, 'atMs'> : never) : never

/** A pause is shorter than what a venue or a broker takes for death. */
const PAUSE_MS = { min: 500, max: 3_000 } as const
const TOXIC_MS = { min: 1_000, max: 4_000 } as const
/** Inserts that are done and not acknowledged: each of them comes again. */
const SWALLOW_MS = { min: 500, max: 1_500 } as const
const SWALLOWED_INSERTS = { link: 'store → clickhouse', toxic: { kind: 'swallow' } } as const

/** Each process killed and paused, each link reset and made ill: all of it once at least, whatever the seed. */
export function planNemesis(seed: number, seconds: number, killed: readonly Actor[] = ACTORS): Act[] {
  const random = seededRandom(seed)
  const within = ({ min, max }: { min: number; max: number }): number => Math.round(min + random() * (max - min))
  const deeds: Deed[] = [
    ...killed.map((actor): Deed => ({ what: 'kill', actor })),
    ...ACTORS.map((actor): Deed => ({ what: 'pause', actor, forMs: within(PAUSE_MS) })),
    ...LINKS.map((link): Deed => ({ what: 'reset', link })),
    ...[1, 2].map((): Deed => ({ what: 'toxic', ...SWALLOWED_INSERTS, forMs: within(SWALLOW_MS) })),
    ...shuffled(LINKS, random).map(
      (link, index): Deed => ({
        what: 'toxic',
        link,
        toxic: toxicOf(index + seed, random),
        forMs: within(TOXIC_MS),
      }),
    ),
  ]
  const slotMs = (seconds * 1_000) / deeds.length
  return shuffled(deeds, random).map((deed, index) => ({ ...deed, atMs: Math.round((index + random()) * slotMs) }))
}

function toxicOf(index: number, random: Random): Toxic {
  const kinds: readonly Toxic[] = [
    { kind: 'latency', ms: 50 + Math.round(random() * 250) },
    { kind: 'slow', bytesPerSecond: 20_000 + Math.round(random() * 80_000) },
    { kind: 'slicer', bytes: 1 + Math.round(random() * 60) },
    { kind: 'blackhole' },
    { kind: 'swallow' },
    { kind: 'limit', bytes: 10_000 + Math.round(random() * 200_000) },
  ]
  return kinds[index % kinds.length] as Toxic
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items]
  return items.map(() => left.splice(Math.floor(random() * left.length), 1)[0] as T)
}

export function actText(act: Act): string {
  switch (act.what) {
    case 'kill':
      return `kill -9 ${act.actor}`
    case 'pause':
      return `${act.actor} stands still for ${act.forMs} ms`
    case 'reset':
      return `reset ${act.link}`
    case 'toxic': {
      const { kind, ...how } = act.toxic
      return `${kind} ${JSON.stringify(how)} on ${act.link} for ${act.forMs} ms`
    }
  }
}
