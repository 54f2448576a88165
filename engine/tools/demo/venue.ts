/** The simulated venue as a child process of the demo. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Fault } from '../../base/fault.ts'
import type { SimulatorReport } from '../../simulate/simulator.ts'
import { MARKET_NAMES, type MarketName } from '../../simulate/venue.ts'

export interface VenueOptions {
  readonly seconds: number | null
  readonly rate: number
  readonly seed: number | undefined
  readonly recordings: readonly string[]
  readonly speed: number
  readonly truthDirectory: string
  readonly instruments: Readonly<Partial<Record<MarketName, number>>>
  readonly channels: Readonly<Partial<Record<MarketName, readonly string[]>>>
  /** flags of `marketprism simulate` beyond these */
  readonly moreFlags?: readonly string[]
}

export interface Venue {
  readonly urls: Readonly<Partial<Record<MarketName, { readonly ws: string; readonly rest: string }>>>
  readonly pid: number
  /** the market has come to its end; sockets stay open */
  readonly over: Promise<void>
  /** ends the market now, if it has not ended by itself; `over` follows when its last events have left */
  finish(): void
  /** ends the process; what it sent is in the truth directory and in the report */
  stop(): Promise<SimulatorReport>
  /** ends the process at once, if it still runs */
  kill(): Promise<void>
}

interface Line extends Partial<SimulatorReport> {
  readonly ready?: true
  readonly over?: true
  readonly done?: true
}

export async function startVenue(options: VenueOptions): Promise<Venue> {
  const main = fileURLToPath(new URL('../../main.js', import.meta.url))
  const child = spawn(process.execPath, [main, 'simulate', 'binance', ...flagsOf(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true, // Ctrl-C is for the demo, which ends the venue when all has arrived
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  process.once('exit', () => child.kill('SIGKILL'))
  const lines = listen(child)
  const ready = await Promise.race([lines.ready, exited.then(() => undefined)])
  if (ready === undefined) {
    throw new Fault(
      'SIMULATOR',
      `the simulated venue ended before it began (exit code ${child.exitCode}); its reason stands above`,
    )
  }
  let report: Promise<SimulatorReport> | undefined
  const stop = (): Promise<SimulatorReport> => {
    report ??= (async () => {
      child.kill('SIGTERM')
      const last = await Promise.race([lines.done, exited.then(() => undefined)])
      await exited
      if (last === undefined)
        throw new Fault('SIMULATOR', `the simulated venue ended without a report (exit code ${child.exitCode})`)
      return last
    })()
    return report
  }
  return {
    urls: ready,
    pid: child.pid as number,
    over: Promise.race([lines.over, exited]),
    finish: () => void child.kill('SIGUSR2'),
    stop,
    kill: async () => {
      child.kill('SIGKILL')
      await exited
    },
  }
}

function listen(child: ChildProcess) {
  let onReady: (urls: Venue['urls']) => void = () => {}
  let onOver: () => void = () => {}
  let onDone: (report: SimulatorReport) => void = () => {}
  const ready = new Promise<Venue['urls']>((resolve) => (onReady = resolve))
  const over = new Promise<void>((resolve) => (onOver = resolve))
  const done = new Promise<SimulatorReport>((resolve) => (onDone = resolve))
  createInterface({ input: child.stdout as NonNullable<ChildProcess['stdout']> }).on('line', (text) => {
    const line = JSON.parse(text) as Line & Venue['urls']
    if (line.ready)
      onReady(Object.fromEntries(MARKET_NAMES.flatMap((name) => (line[name] ? [[name, line[name]]] : []))))
    else if (line.over) onOver()
    else if (line.done) onDone(line as unknown as SimulatorReport)
  })
  return { ready, over, done }
}

function flagsOf(options: VenueOptions): string[] {
  const flags = ['--stay', '--truth', options.truthDirectory, ...(options.moreFlags ?? [])]
  if (options.seed !== undefined) flags.push('--seed', String(options.seed))
  if (options.seconds !== null) flags.push('--seconds', String(options.seconds))
  if (options.recordings.length > 0) {
    const speed = Number.isFinite(options.speed) ? String(options.speed) : 'max'
    return [...flags, '--speed', speed, '--recording', ...options.recordings]
  }
  const markets = Object.entries(options.instruments)
  const streams = markets.reduce(
    (sum, [market, count]) => sum + count * (options.channels[market as MarketName]?.length ?? 0),
    0,
  )
  return [
    ...flags,
    '--markets',
    markets.map(([market]) => market).join(','),
    '--instruments',
    markets.map(([, count]) => count).join(','),
    '--rate',
    String(options.rate),
    '--start-after-streams',
    String(streams),
  ]
}
