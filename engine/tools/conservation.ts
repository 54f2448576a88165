/**
 * `marketprism conservation`: what the venues sent is in the store once and as it was sent, or a row of `gaps` tells that
 * it is not; whatever is killed, paused or cut off in between. The judge stands outside: the venues' own account of what
 * they sent, an outsider's reading of the spool, and ClickHouse to compare them.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { freshSeed } from '../base/random.ts'
import type { Run } from '../base/run.ts'
import type { ExchangeName } from '../simulate/venue.ts'
import { type Judgement, judged, missedRows, settle } from './conservation/judge.ts'
import { type Act, type Actor, actText, planNemesis } from './conservation/nemesis.ts'
import { onScene, type Scene } from './conservation/scene.ts'
import { spreadOverMarkets } from './demo/markets.ts'
import { stageDirectory } from './demo/stage.ts'
import { tellVerdict } from './demo/verdict.ts'

/** What is taken away, so that the trial has to miss: the memory of ClickHouse for inserts, the rows of gaps. */
export type Control = 'dedupe' | 'gaps'

export interface ConservationOptions {
  readonly seed: number | undefined
  /** how long things go wrong */
  readonly seconds: number
  readonly rate: number
  readonly instruments: number
  readonly venues: readonly ExchangeName[]
  /** once each */
  readonly killed: readonly Actor[]
  /** none: an honest run */
  readonly controls: readonly Control[]
  readonly json: boolean
}

const WARM_UP_MS = 3_000
const CALM_MS = 3_000
/** The usual blocks share an insert with others; those of a second are alone in theirs. Both ways have their own retries. */
const BATCH_AGES_MS = [250, 1_000] as const

const say = (line: string): void => void process.stderr.write(`${line}\n`)

export async function runConservation(options: ConservationOptions, run: Run): Promise<void> {
  const { seed = freshSeed(), venues, rate, controls, killed } = options
  const directory = stageDirectory(run, 'conservation')
  const markets = spreadOverMarkets(options.instruments, venues)
  const forgetsInserts = controls.includes('dedupe')
  const batchAgeMs = BATCH_AGES_MS[seed % 2] as number
  const startedMs = performance.now()
  await onScene({ directory, markets, rate, seed, batchAgeMs, forgetsInserts }, run, async (scene) => {
    say(`seed ${seed}, all in ${directory}`)
    await scene.start(() => scene.accepted.look(scene.spoolDirectory))
    const acts = planNemesis(seed, options.seconds, killed)
    await torment(scene, acts, run.stop)
    await settle(scene)
    const figures = {
      ...(await judged(scene, !controls.includes('gaps'))),
      kills: scene.restarts(),
      pauses: acts.filter(({ what }) => what === 'pause').length,
      linkFaults: acts.filter(({ what }) => what === 'reset' || what === 'toxic').length,
      seconds: Math.round((performance.now() - startedMs) / 1_000),
      seed,
    }
    tellVerdict(figures, missedOf(figures, options), options.json)
  })
}

/** Warm up, then one act after the other (they overlap), then calm. */
async function torment(scene: Scene, acts: readonly Act[], stop: AbortSignal): Promise<void> {
  await sleep(WARM_UP_MS)
  const startedMs = performance.now()
  const running: Promise<void>[] = []
  for (const act of acts) {
    const waitMs = startedMs + act.atMs - performance.now()
    if (waitMs > 0) await sleep(waitMs, undefined, { signal: stop }).catch(() => undefined)
    if (stop.aborted) break
    say(`${(act.atMs / 1_000).toFixed(1).padStart(5)} s  ${actText(act)}`)
    running.push(scene.suffer(act))
  }
  await Promise.all(running)
  scene.heal()
  await sleep(CALM_MS)
}

type Figures = Judgement & { readonly kills: Readonly<Record<Actor, number>> }

function missedOf(figures: Figures, { killed }: ConservationOptions): string[] {
  const { kills, unexplainedWithoutGapRows } = figures
  return [
    ...missedRows(figures),
    ...killed.filter((actor) => kills[actor] === 0).map((actor) => `${actor} was not killed`),
    ...(unexplainedWithoutGapRows > 0 ? [] : ['nothing was lost, so that the judge of gaps had nothing to say']),
  ]
}
