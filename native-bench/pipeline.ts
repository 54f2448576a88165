import { type Bench, type BenchResult, check, ratio, WrongAnswer } from './bench.ts'
import { type Measured, measured, median } from './measure.ts'
import { type Answer, buildCeiling, checkFound, installPeers, Peer, type PeerPass, runCeiling } from './peers.ts'
import { OwnPipeline, type OwnPass, PIPELINE_BATCH, PIPELINE_SNAPSHOTS } from './pipeline-own.ts'
import { type BenchMessages, foundIn } from './messages.ts'
import { BINANCE, type BenchVenue } from './venues.ts'

/** ccxt.pro takes seconds a pass. */
const CCXT_ROUNDS_MAX = 5
/** Passes before the watch counts: one is too short to compile everything. */
const WARM_PASSES = 10
const CCXT_WARM_PASSES = 2

/** Another program that takes turns with ours. */
interface Rival {
  readonly name: string
  readonly peer: Peer
  readonly warmPasses: number
  readonly roundsMax: number
  /** our pass and its pass of the same round */
  readonly pairs: (readonly [ours: OwnPass, theirs: PeerPass])[]
}

/**
 * ring → scan → book → columns of blocks, in one worker thread. All messages lie in the ring before the worker begins, as
 * they lie in the memory of the peers: its time is that of this one thread, whatever else runs on few cores. The peers
 * (tardis-dev, ccxt.pro) stay in processes of their own and take turns with it, pass by pass; the C++ ceiling runs at the
 * end. All must end with the same best levels, trades and tops.
 */
export function pipeline(venue: BenchVenue): Bench {
  return async ({ messagesOf, runCount, say }): Promise<BenchResult> => {
    const recording = await messagesOf(venue)
    const notes: string[] = []
    const own = await OwnPipeline.start(recording)
    const rivals = await rivalsOf(recording, say, notes)
    try {
      const passes: OwnPass[] = []
      for (let warm = 0; warm < WARM_PASSES; warm++) await own.pass()
      const expected = expectedOf(recording)
      const take = async (): Promise<OwnPass> => {
        const pass = await own.pass()
        for (const kind of ['trades', 'book_tickers', 'book_deltas'] as const)
          check(
            pass.rows[kind] === expected[kind],
            `pipeline: ${pass.rows[kind]} rows of ${kind}, not ${expected[kind]}`,
          )
        check(pass.answer.counts.rejected === 0, `pipeline: ${pass.answer.counts.rejected} messages were rejected`)
        return pass
      }
      const answer = answerOf(recording, (await take()).answer, expected)
      for (const rival of rivals)
        for (let warm = 0; warm < rival.warmPasses; warm++)
          checkFound(rival.name, (await rival.peer.pass()).found, answer)
      for (let round = 0; round < runCount; round++) {
        passes.push(await take())
        for (const rival of rivals) {
          if (round >= rival.roundsMax) continue
          const theirs = await rival.peer.pass()
          checkFound(rival.name, theirs.found, answer)
          rival.pairs.push([await take(), theirs])
        }
      }
      const native = venue === BINANCE ? await ceilingOf(recording, answer, passes, runCount, notes) : null
      if (venue !== BINANCE) notes.push('the C++ ceiling reads frames of Binance only')
      return result(recording.messages.length, passes, rivals, native, notes)
    } finally {
      for (const { peer } of rivals) peer.stop()
      await own.stop()
    }
  }
}

const TABLES = { book: 'book_deltas', trades: 'trades', tickers: 'book_tickers' } as const

interface Expected {
  readonly trades: number
  readonly book_tickers: number
  readonly book_deltas: number
  readonly tradeQuantity: number
}

function expectedOf({ venue, messages }: BenchMessages): Expected {
  const expected = { trades: 0, book_tickers: 0, book_deltas: 0, tradeQuantity: 0 }
  for (const message of messages) {
    const found = foundIn(venue, message)
    if (found === undefined || found.isWhole) continue
    expected[TABLES[found.kind]] += found.rows
    expected.tradeQuantity += found.quantity
  }
  return expected
}

function answerOf({ messages }: BenchMessages, { bids, asks }: OwnPass['answer'], expected: Expected): Answer {
  const { trades, book_tickers: tickers, tradeQuantity } = expected
  return { messages: messages.length, bids, asks, trades, tradeQuantity, tickers }
}

async function rivalsOf(recording: BenchMessages, say: (line: string) => void, notes: string[]): Promise<Rival[]> {
  const { venue, textFile, symbol } = recording
  const input = { exchange: venue.exchange, file: textFile, symbol }
  const rivals: Rival[] = []
  const add = async (name: string, script: string, warmPasses: number, roundsMax: number, more: string[] = []) => {
    const peer = await Peer.start(script, input, more)
    notes.push(`${name}: ${peer.title}`)
    rivals.push({ name, peer, warmPasses, roundsMax, pairs: [] })
  }
  try {
    await installPeers(say)
    await add('tardisDev', 'tardis-dev', WARM_PASSES, Number.POSITIVE_INFINITY)
    await add('ccxtPro', 'ccxt-pro', CCXT_WARM_PASSES, CCXT_ROUNDS_MAX)
    await add('ccxtProWatched', 'ccxt-pro', CCXT_WARM_PASSES, CCXT_ROUNDS_MAX, ['watched'])
  } catch (error) {
    if (error instanceof WrongAnswer) throw error
    notes.push(`not all peers: ${(error as Error).message.split('\n', 1)[0]}`)
  }
  return rivals
}

async function ceilingOf(
  { venue, textFile, symbol }: BenchMessages,
  answer: Answer,
  passes: readonly OwnPass[],
  runCount: number,
  notes: string[],
): Promise<Measured | null> {
  const ceiling = await buildCeiling()
  if ('reason' in ceiling) {
    notes.push(ceiling.reason)
    return null
  }
  const { priceScale, quantityScale } = (passes[0] as OwnPass).answer
  const input = { exchange: venue.exchange, file: textFile, symbol }
  const found = await runCeiling(ceiling.program, input, runCount, {
    ...PIPELINE_BATCH,
    ageMs: PIPELINE_BATCH.ageMsMax,
    priceScale,
    quantityScale,
    snapshotMs: PIPELINE_SNAPSHOTS.intervalMs,
    snapshotDepth: PIPELINE_SNAPSHOTS.depth,
  })
  checkFound('native', { ...found, bids: [found.bid], asks: [found.ask] }, answer)
  notes.push(`native: ${found.peer} ${found.version}`)
  return measured(found.messages, found.seconds)
}

function result(
  messageCount: number,
  passes: readonly OwnPass[],
  rivals: readonly Rival[],
  native: Measured | null,
  notes: string[],
): BenchResult {
  const all = [...passes, ...rivals.flatMap(({ pairs }) => pairs.map(([ours]) => ours))]
  const rateOf = (seconds: readonly number[]) => measured(messageCount, seconds)
  const ours = rateOf(all.map(({ answer }) => answer.busy))
  const others: Record<string, Measured> = {
    byCpuTime: rateOf(all.map(({ answer }) => answer.cpu || answer.busy)),
  }
  const pairs = (name: string, of: (pair: Rival['pairs'][number]) => number): number | null => {
    const rival = rivals.find((one) => one.name === name)
    const found = median((rival?.pairs ?? []).map(of))
    return Number.isFinite(found) && found > 0 ? found : null
  }
  for (const { name, pairs: own } of rivals) {
    if (own.length > 0) others[name] = rateOf(own.map(([, { seconds }]) => seconds))
  }
  if (native !== null) others.native = native
  const wall = (name: string) => pairs(name, ([{ answer }, theirs]) => theirs.seconds / answer.busy)
  const cpu = (name: string) => pairs(name, ([{ answer }, theirs]) => theirs.cpuSeconds / answer.cpu)
  const ratios = {
    vsTardisDev: wall('tardisDev'),
    vsTardisDevCpu: cpu('tardisDev'),
    vsCcxtPro: wall('ccxtPro'),
    vsCcxtProCpu: cpu('ccxtPro'),
    vsCcxtProWatched: wall('ccxtProWatched'),
    vsCcxtProWatchedCpu: cpu('ccxtProWatched'),
    vsNative: ratio(ours, native),
  }
  return { ...ours, unit: 'messages/s', ratios, others, notes }
}
