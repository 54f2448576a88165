/**
 * A plain client of Binance: the `ws` package, `JSON.parse`, a Map of strings a side, and the venue's own numbered
 * steps for a local book. Shares no line with the engine or the simulator, so that it can judge both.
 */
import assert from 'node:assert/strict'
import { WebSocket } from 'ws'

export interface Frame {
  readonly stream: string
  // biome-ignore lint/suspicious/noExplicitAny: what a venue sends is not typed
  readonly data: any
}

export interface VenueClient {
  readonly ws: WebSocket
  readonly frames: Frame[]
  /** answers to requests, raw messages, whatever is no combined frame */
  readonly others: string[]
  readonly closed: Promise<{ code: number; reason: string }>
  ask(request: unknown): Promise<unknown>
  until(done: () => boolean, what?: string): Promise<void>
}

export async function openClient(url: string, options: { autoPong?: boolean } = {}): Promise<VenueClient> {
  const ws = new WebSocket(url, { autoPong: options.autoPong ?? true })
  const frames: Frame[] = []
  const others: string[] = []
  ws.on('message', (bytes) => {
    const text = bytes.toString()
    try {
      const message = JSON.parse(text)
      if (typeof message.stream === 'string') frames.push(message)
      else others.push(text)
    } catch {
      others.push(text)
    }
  })
  ws.on('error', () => undefined)
  const closed = new Promise<{ code: number; reason: string }>((done) => {
    ws.on('close', (code, reason) => done({ code, reason: reason.toString() }))
  })
  await new Promise<void>((opened, failed) => {
    ws.once('open', opened)
    ws.once('error', failed)
  })
  const until = (done: () => boolean, what = 'the expected frames'): Promise<void> => eventually(done, what)
  const ask = async (request: unknown): Promise<unknown> => {
    const before = others.length
    ws.send(typeof request === 'string' ? request : JSON.stringify(request))
    await until(() => others.length > before, 'an answer')
    return JSON.parse(others[before] as string)
  }
  return { ws, frames, others, closed, ask, until }
}

export async function eventually(done: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  for (let waitedMs = 0; !done(); waitedMs += 5) {
    if (waitedMs > timeoutMs) assert.fail(`waited ${timeoutMs} ms for ${what}`)
    await new Promise((next) => setTimeout(next, 5))
  }
}

interface DepthSnapshot {
  readonly lastUpdateId: number
  readonly bids: [string, string][]
  readonly asks: [string, string][]
}

/** The venue's steps. Throws when an event breaks the chain. @returns null while the snapshot is too old. */
export function followBook(
  market: string,
  snapshot: DepthSnapshot,
  // biome-ignore lint/suspicious/noExplicitAny: what a venue sends is not typed
  events: readonly any[],
): { bids: Map<string, string>; asks: Map<string, string>; lastSeq: number; applied: number; stale: number } | null {
  const bids = new Map(snapshot.bids)
  const asks = new Map(snapshot.asks)
  let lastSeq = snapshot.lastUpdateId
  let applied = 0
  let stale = 0
  for (const event of events) {
    if (applied === 0 && (market === 'spot' ? event.u <= lastSeq : event.u < lastSeq)) {
      stale++
      continue
    }
    if (applied === 0) {
      const isFirst = market === 'spot' ? event.U <= lastSeq + 1 : event.U <= lastSeq || event.pu === lastSeq
      if (!isFirst) return null
    } else if (market === 'spot') {
      assert.equal(event.U, lastSeq + 1, `spot: U ${event.U} does not follow u ${lastSeq}`)
    } else {
      assert.equal(event.pu, lastSeq, `${market}: pu ${event.pu} is not the last u ${lastSeq}`)
    }
    for (const [levels, side] of [
      [event.b, bids],
      [event.a, asks],
    ] as const) {
      for (const [price, quantity] of levels as [string, string][]) {
        if (Number(quantity) === 0) side.delete(price)
        else side.set(price, quantity)
      }
    }
    lastSeq = event.u
    applied++
  }
  return { bids, asks, lastSeq, applied, stale }
}

/** Levels as mantissas, best first, the form of the simulator's truth. */
export function mantissas(
  side: ReadonlyMap<string, string>,
  scales: [number, number],
  isBid: boolean,
): [number, number][] {
  const shift = (text: string, scale: number): number => {
    const [whole = '', part = ''] = text.split('.')
    assert.match(part.slice(scale), /^0*$/, `${text} has more digits than ${scale}`)
    return Number(whole + part.slice(0, scale).padEnd(scale, '0'))
  }
  return [...side]
    .map(([price, quantity]): [number, number] => [shift(price, scales[0]), shift(quantity, scales[1])])
    .sort((left, right) => (isBid ? right[0] - left[0] : left[0] - right[0]))
}

export const REST_PATHS: Readonly<Record<string, string>> = { spot: '/api/v3', usdm: '/fapi/v1', coinm: '/dapi/v1' }
export const SYMBOLS: Readonly<Record<string, readonly [string, string]>> = {
  spot: ['BTCUSDT', 'ETHUSDT'],
  usdm: ['BTCUSDT', 'ETHUSDT'],
  coinm: ['BTCUSD_PERP', 'ETHUSD_PERP'],
}

/** `/stream?streams=` of these kinds for these symbols; `path` is USD-M's `/public` or `/market`. */
export function streamUrl(base: string, path: string, symbols: readonly string[], kinds: readonly string[]): string {
  const names = symbols.flatMap((symbol) => kinds.map((kind) => `${symbol.toLowerCase()}@${kind}`))
  return `${base}${path}/stream?streams=${names.join('/')}`
}
