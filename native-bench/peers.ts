import { type ChildProcess, execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { check } from './bench.ts'
import { NATIVE_FOLDER, PEERS_FOLDER, PROJECT_ROOT } from './paths.ts'

const run = promisify(execFile)
const OUTPUT_BYTES_MAX = 1 << 20
/** Sums of the same doubles in another order of rounding. */
const QUANTITY_TOLERANCE = 1e-9

type Levels<T> = readonly (readonly [price: T, quantity: T])[]

/** What one side found in the messages; levels best first. */
export interface PeerFound {
  readonly messages: number
  readonly bids: Levels<number>
  readonly asks: Levels<number>
  readonly trades: number
  /** sum over the trades; absent where the peer does not add it up */
  readonly tradeQuantity?: number
  readonly tickers: number
}

/** What all sides must have found. */
export interface Answer {
  readonly messages: number
  readonly bids: Levels<string>
  readonly asks: Levels<string>
  readonly trades: number
  readonly tradeQuantity: number
  readonly tickers: number
}

export interface PeerInput {
  readonly exchange: string
  readonly file: string
  readonly symbol: string
}

/** One pass over all messages. */
export interface PeerPass {
  readonly seconds: number
  /** of the thread that did it; 0 where the system does not tell */
  readonly cpuSeconds: number
  readonly found: PeerFound
}

/** Settings that decide how often the pipeline seals blocks; the ceiling gets the same. */
export interface CeilingSettings {
  readonly priceScale: number
  readonly quantityScale: number
  readonly rowsMax: number
  readonly bytesMax: number
  readonly ageMs: number
  readonly snapshotMs: number
  readonly snapshotDepth: number
}

/** Installs the peers' own packages, once. @throws with npm's words when it can not. */
export async function installPeers(say: (line: string) => void): Promise<void> {
  if (existsSync(join(PEERS_FOLDER, 'node_modules', '.package-lock.json'))) return
  say('installing tardis-dev and ccxt for comparison (native-bench/peers only) …')
  await run('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], {
    cwd: PEERS_FOLDER,
    maxBuffer: OUTPUT_BYTES_MAX,
  })
}

/** native-bench/peers/{name}.mjs in a process of its own, which stays and makes a pass whenever it is asked. */
export class Peer {
  readonly title: string
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, title: string) {
    this.#child = child
    this.title = title
  }

  static async start(name: string, { exchange, file, symbol }: PeerInput, more: readonly string[] = []): Promise<Peer> {
    const script = join(PEERS_FOLDER, `${name}.mjs`)
    const child = fork(script, [file, exchange, symbol, ...more], { execArgv: [], serialization: 'advanced' })
    const { peer, version } = (await messageOf(child, name)) as { peer: string; version: string }
    return new Peer(child, `${peer} ${version}`)
  }

  async pass(): Promise<PeerPass> {
    this.#child.send('pass')
    return (await messageOf(this.#child, this.title)) as PeerPass
  }

  stop(): void {
    this.#child.kill()
  }
}

async function messageOf(child: ChildProcess, name: string): Promise<unknown> {
  const ends = new AbortController()
  try {
    const ended = once(child, 'exit', { signal: ends.signal }).then(() => {
      throw new Error(`${name} ended, its words are above`)
    })
    const [message] = await Promise.race([once(child, 'message', { signal: ends.signal }), ended])
    return message
  } finally {
    ends.abort()
  }
}

/** Builds the C++ ceiling. @returns the program, or why there is none. */
export async function buildCeiling(): Promise<{ program: string } | { reason: string }> {
  const folder = join(PROJECT_ROOT, '.cache', 'native-bench')
  const program = join(folder, 'ceiling')
  try {
    await run('g++', ['--version'])
  } catch {
    return { reason: 'no g++ on this machine: the ratio to the C++ ceiling is null' }
  }
  await run('mkdir', ['-p', folder])
  await run('g++', ['-O3', '-march=native', '-std=c++17', '-o', program, join(NATIVE_FOLDER, 'ceiling.cpp')])
  return { program }
}

export interface CeilingAnswer {
  readonly peer: string
  readonly version: string
  readonly messages: number
  readonly seconds: readonly number[]
  readonly bid: readonly [number, number]
  readonly ask: readonly [number, number]
  readonly trades: number
  readonly tickers: number
}

export async function runCeiling(
  program: string,
  { file, symbol }: PeerInput,
  runCount: number,
  settings: CeilingSettings,
): Promise<CeilingAnswer> {
  const { priceScale, quantityScale, rowsMax, bytesMax, ageMs, snapshotMs, snapshotDepth } = settings
  const numbers = [priceScale, quantityScale, rowsMax, bytesMax, ageMs, snapshotMs, snapshotDepth].map(String)
  const { stdout } = await run(program, [file, String(runCount), symbol, ...numbers])
  return JSON.parse(stdout) as CeilingAnswer
}

/** A peer's rate counts only when it found what we found: as many best levels as it tells, trades and tickers. */
export function checkFound(name: string, found: PeerFound, ours: Answer): void {
  check(found.messages === ours.messages, `${name} read ${found.messages} messages of ${ours.messages}`)
  for (const side of ['bids', 'asks'] as const) {
    check(found[side].length > 0, `${name} has no ${side}`)
    found[side].forEach(([price, quantity], at) => {
      const [ourPrice, ourQuantity] = ours[side][at] ?? ['none', 'none']
      check(
        price === Number(ourPrice) && quantity === Number(ourQuantity),
        `${name} ends with ${quantity} at ${price} as level ${at} of its ${side}, we with ${ourQuantity} at ${ourPrice}`,
      )
    })
  }
  check(found.trades === ours.trades, `${name} found ${found.trades} trades, we ${ours.trades}`)
  check(found.tickers === ours.tickers, `${name} found ${found.tickers} book tickers, we ${ours.tickers}`)
  const { tradeQuantity = ours.tradeQuantity } = found
  check(
    Math.abs(tradeQuantity / ours.tradeQuantity - 1) < QUANTITY_TOLERANCE,
    `${name} found trades of ${tradeQuantity} in all, we of ${ours.tradeQuantity}`,
  )
}
