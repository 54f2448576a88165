/**
 * `marketprism demo`: simulated venues in a process of its own → the whole engine → ClickHouse, on this machine; then
 * every row against what the simulator says it sent.
 */
import type { Run } from '../base/run.ts'
import type { EngineProcess } from '../roles/process.ts'
import type { ExchangeName } from '../simulate/venue.ts'
import { recordedMarkets, spreadOverMarkets, withFigures } from './demo/markets.ts'
import { printReport } from './demo/report.ts'
import { compareWithTruth, onStage, playToEnd, stageDirectory } from './demo/stage.ts'
import type { Venue } from './demo/venue.ts'

export interface DemoOptions {
  /** null: a recording to its end */
  readonly seconds: number | null
  readonly rate: number
  readonly instruments: number
  readonly venues: readonly ExchangeName[]
  readonly seed: number | undefined
  readonly recordings: readonly string[]
  readonly speed: number
  readonly json: boolean
}

const DEMO_DIRECTORY = 'demo'

export async function runDemo(options: DemoOptions, run: Run): Promise<void> {
  const directory = stageDirectory(run, DEMO_DIRECTORY)
  const say = (line: string): void => void (options.json ? process.stderr : process.stdout).write(`${line}\n`)
  const markets =
    options.recordings.length > 0
      ? await recordedMarkets(options.recordings)
      : withFigures(spreadOverMarkets(options.instruments, options.venues))
  await onStage({ ...options, markets, directory, serves: true }, run, async (stage) => {
    const { engine, venue, client, status, config } = stage
    for (const line of whereDataGoes(engine, venue, directory)) say(line)
    await playToEnd(stage, run.stop)
    const { check, sent } = await compareWithTruth(stage)
    const { database } = config.clickhouse
    await printReport({ isJson: options.json, engine, client, database, check, sent, status, directory, say })
  })
}

function whereDataGoes(engine: EngineProcess, venue: Venue, directory: string): string[] {
  const { servers, collector, observe, serving } = engine
  return [
    `simulated: ${Object.entries(venue.urls)
      .map(([market, { ws }]) => `${market} ${ws}`)
      .join(', ')}`,
    `collecting ${collector?.instrumentCount ?? 0} instruments over ${collector?.plan.connections.length ?? 0} sockets`,
    `delivery: ${servers.delivery}${servers.deliveryReason === '' ? '' : ` (${servers.deliveryReason})`}`,
    ...servers.lines,
    `data: ${directory}`,
    ...(observe === undefined ? [] : [`pages: ${observe.url}/metrics  ${observe.url}/health`]),
    ...(serving === undefined ? [] : [`gateway: ${serving.url} (page, REST, WebSocket; as long as this runs)`]),
  ]
}
