/**
 * Benches, named after the topology that they measure: `npm run bench [-- --only NAME --runs N --json]`; gatewayHistory only when it is
 * asked for, with --rows N and --directory DIR.
 * Each checks its answer before it prints a rate. The last line of stdout with --json is one object.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Bench, BenchResult } from './bench.ts'
import { encode } from './encode.ts'
import { gatewayHistory } from './gateway-history.ts'
import { jetstreamToClickHouse } from './jetstream-to-clickhouse.ts'
import { ladder } from './ladder.ts'
import { machineState } from './measure.ts'
import { MessageShelf } from './messages.ts'
import { PROJECT_ROOT } from './paths.ts'
import { pipeline } from './pipeline.ts'
import { ring } from './ring.ts'
import { scan } from './scan.ts'
import { socketToClickHouse } from './socket-to-clickhouse.ts'
import { socketToRing } from './socket-to-ring.ts'
import { type BenchVenue, BINANCE, BYBIT, DERIBIT, OKX } from './venues.ts'

const BENCHES: Readonly<Record<string, Bench>> = {
  ring,
  scan: scan(BINANCE),
  scanOkx: scan(OKX),
  scanDeribit: scan(DERIBIT),
  scanBybit: scan(BYBIT),
  ladder,
  encode,
  pipeline: pipeline(BINANCE),
  pipelineOkx: pipeline(OKX),
  pipelineDeribit: pipeline(DERIBIT),
  pipelineBybit: pipeline(BYBIT),
  socketToRing,
  socketToClickHouse,
  gatewayHistory,
  jetstreamToClickHouse: jetstreamToClickHouse({ rows: 3_000_000, rowsPerBlock: 16_384 }),
  jetstreamToClickHouseSmall: jetstreamToClickHouse({ rows: 600_000, rowsPerBlock: 400 }),
}
const EXIT_USAGE = 2
const RUNS_DEFAULT = 7

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    rows: { type: 'string' },
    directory: { type: 'string' },
    runs: { type: 'string', default: String(RUNS_DEFAULT) },
  },
})
/** It stores 100 million rows. */
const LARGE = ['gatewayHistory']
const names = values.only.length > 0 ? values.only : Object.keys(BENCHES).filter((name) => !LARGE.includes(name))
const unknown = names.find((name) => BENCHES[name] === undefined)
if (unknown !== undefined) {
  console.error(`bench: no bench ${unknown}; allowed are ${Object.keys(BENCHES).join(', ')}`)
  process.exit(EXIT_USAGE)
}

const say = (line: string) => console.error(line)
const recordingsFolder = process.env.MARKETPRISM_RECORDINGS ?? join(PROJECT_ROOT, '..', 'shared', 'data')
const folder = await mkdtemp(join(tmpdir(), 'marketprism-bench-'))
try {
  const machine = machineState()
  say(
    `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, load ${machine.loadBefore.toFixed(2)}, stolen ${share(machine.stealShare)}`,
  )
  const shelf = new MessageShelf(recordingsFolder, folder, say)
  const results: Record<string, BenchResult> = {}
  for (const name of names) {
    const context = {
      messagesOf: (venue: BenchVenue) => shelf.of(venue),
      runCount: Number(values.runs),
      rows: values.rows === undefined ? undefined : Number(values.rows),
      directory: values.directory,
      say,
    }
    const result = await (BENCHES[name] as Bench)(context)
    results[name] = result
    print(name, result)
  }
  printTable(results)
  if (values.json) {
    const recordings = shelf.loaded.map(({ venue, source, symbol, messages, byteCount }) => [
      venue.exchange,
      { source, symbol, messages: messages.length, bytes: byteCount },
    ])
    console.log(JSON.stringify({ ...flat(results), machine, recordings: Object.fromEntries(recordings) }))
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}

function out(line: string): void {
  if (values.json) say(line)
  else console.log(line)
}

/** The pipelines of all venues beside each other. */
function printTable(results: Readonly<Record<string, BenchResult>>): void {
  const pipelines = Object.entries(results).filter(([name]) => name.startsWith('pipeline'))
  const columns = Object.keys(pipelines[0]?.[1].ratios ?? {})
  if (pipelines.length < 2) return
  out(['venue'.padEnd(18), 'messages/s'.padStart(12), ...columns.map((column) => column.padStart(20))].join(' '))
  for (const [name, { rate: ours, ratios }] of pipelines) {
    const cells = columns.map((column) => (ratios[column]?.toFixed(2) ?? 'none').padStart(20))
    out([name.padEnd(18), rate(ours), ...cells].join(' '))
  }
}

function print(name: string, result: BenchResult): void {
  out(
    `${name.padEnd(20)} ${rate(result.rate)} ${result.unit}  (best ${rate(result.best)}, worst ${rate(result.worst)}, ${result.runCount} runs)`,
  )
  for (const [other, measured] of Object.entries(result.others)) {
    out(
      `  ${other.padEnd(18)} ${rate(measured.rate)} ${result.unit}  (best ${rate(measured.best)}, worst ${rate(measured.worst)})`,
    )
  }
  for (const [ratio, value] of Object.entries(result.ratios))
    out(`  ${ratio.padEnd(18)} ${value === null ? 'none' : value.toFixed(2)}`)
  for (const note of result.notes) out(`  ${note}`)
}

/** `{pipeline: {rate, …, vsTardisDev}}`: ratios stand beside the rate of their bench. */
function flat(results: Readonly<Record<string, BenchResult>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(results).map(([name, { ratios, ...rest }]) => [name, { ...rest, ...ratios }]),
  )
}

function rate(value: number): string {
  return Math.round(value).toLocaleString('en').padStart(12)
}

function share(value: number | null): string {
  return value === null ? 'unknown' : `${(value * 100).toFixed(1)} %`
}
