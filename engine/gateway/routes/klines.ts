import { Type } from 'typebox'
import { TRADE_STREAMS, tableNamed } from '../../record/schema.ts'
import { KLINE_INTERVALS } from '../../record/schema-kinds.ts'
import type { App } from '../app.ts'
import type { GatewayContext } from '../context.ts'
import { SHED_ORDER } from '../engine-link.ts'
import {
  answered,
  formatParameter,
  goneSignal,
  InstrumentParams,
  LIMIT_PRESET,
  NextCursor,
  pageParameters,
  rangeParameters,
  rowSchema,
  storeOf,
  storeRefusals,
  words,
} from '../history/answer.ts'
import { CANDLE_JOB, CandleJob } from '../history/candle-job.ts'
import { type CandleQuestion, candlesOf, hasNoTradesBefore, oldestTradeNs, sumsAreEqual } from '../history/candles.ts'
import { decodeCursor, encodeCursor } from '../history/cursor.ts'
import { History } from '../history/facts.ts'
import { type GapSpan, gapsOver } from '../history/gap-rows.ts'
import { assertKnown, instrumentNamed, nameOf } from '../history/instrument.ts'
import { type Interval, intervalOf } from '../history/interval.ts'
import { earlier, timeRange } from '../history/time.ts'
import { HttpFault } from '../http-fault.ts'

const exact = (description: string) => Type.Optional(Type.String({ description: `${description}; exact decimal` }))
const whole = (description: string) => Type.Optional(Type.Integer({ description }))

/** A bar made of trades; those of the venue have the columns of the table `klines`. */
const CandleRow = Type.Object({
  open_ns: Type.String({ description: 'begin of the bar (ns since the epoch)' }),
  close_ns: Type.String({ description: 'begin of the next bar' }),
  open: exact('price of the first trade'),
  high: exact(''),
  low: exact(''),
  close: exact('price of the last trade'),
  volume: exact("sum of the quantities, in the venue's unit"),
  notional: exact('sum of price × quantity'),
  taker_buy_volume: exact('of volume, bought by takers'),
  taker_buy_notional: exact('the same of notional'),
  trade_count: whole('trades'),
  match_count: whole('matches: a row of stream agg_trade may be several'),
  first_trade_id: whole(''),
  last_trade_id: whole(''),
  first_trade_ns: Type.Optional(Type.String()),
  last_trade_ns: Type.Optional(Type.String()),
  is_closed: Type.Optional(Type.Boolean({ description: 'its time is over' })),
  gap: Type.Optional(
    Type.Unsafe<string>({
      type: 'string',
      enum: ['none', 'repaired', 'closed', 'open'],
      description: 'the worst gap of trades that overlaps the bar; repaired: what was missing is in it',
    }),
  ),
})

const Body = Type.Object({
  instrument: Type.String(),
  interval: Type.String(),
  source: Type.String(),
  stream: Type.Optional(Type.String({ description: 'which trades they are made of' })),
  volume_check: Type.Optional(
    Type.Unsafe<string>({
      type: 'string',
      enum: ['counted', 'proven', 'equal', 'unequal'],
      description:
        'counted: made of the trades, just now. proven: kept bars, and as many trades are stored as they are made of. equal, unequal: check=sum was asked for, and that is what came of it',
    }),
  ),
  recounted_minutes: Type.Optional(
    Type.Integer({ description: 'kept minutes that were not what is stored, and were made anew' }),
  ),
  rows: Type.Array(CandleRow, { description: 'bars without trades are left out' }),
  next_cursor: NextCursor,
})

const VenueBody = Type.Object({
  instrument: Type.String(),
  interval: Type.String(),
  source: Type.String(),
  rows: Type.Array(rowSchema(tableNamed('klines'))),
  next_cursor: NextCursor,
})

export function addKlineRoutes(app: App, { settings, store, clock, engine, jobs, live }: GatewayContext): void {
  const history = store === undefined ? undefined : new History(store, () => clock.monotonicMs())
  if (settings.candles && settings.clickhouse !== undefined) {
    const job = new CandleJob(settings.clickhouse, clock, () => engine.pressure() > SHED_ORDER.indexOf('candles'))
    jobs.add(CANDLE_JOB, (signal) => job.run(signal))
    app.addHook('onClose', () => job.close())
  }
  app.get(
    '/v1/klines/:instrument',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getKlines',
        tags: ['history'],
        summary: 'Bars of any length from trades, proven against them; or the bars that the venue sent',
        params: InstrumentParams,
        querystring: Type.Object({
          interval: Type.Optional(
            Type.String({
              description: 'a count and s, m, h, d, w or M, e.g. 90s, 7m, 1d',
              default: '1m',
              maxLength: 8,
            }),
          ),
          source: words(['trades', 'venue'], 'made of trades, or as the venue sent them', 'trades'),
          stream: Type.Optional(
            Type.Unsafe<keyof typeof TRADE_STREAMS>({
              type: 'string',
              enum: Object.keys(TRADE_STREAMS),
              description: 'which trades; else trade where there are any, and agg_trade where not',
            }),
          ),
          check: words(['count', 'sum'], 'sum: sums the trades of every bar once more, which takes longer', 'count'),
          ...rangeParameters,
          ...pageParameters,
          ...formatParameter,
        }),
        response: { ...storeRefusals, 200: Type.Union([Body, VenueBody]) },
      },
      serializerCompiler: () => JSON.stringify,
    },
    async (request, reply) => {
      const known = storeOf(store)
      const instrument = instrumentNamed(request.params.instrument)
      const { interval: text = '1m', source = 'trades', order = 'desc', limit = LIMIT_PRESET, cursor } = request.query
      const range = timeRange(request.query)
      const signal = goneSignal(reply)
      const head = { instrument: nameOf(instrument), interval: text, source }
      if (source === 'venue') {
        if (!Object.hasOwn(KLINE_INTERVALS, text)) throw noVenueInterval(text)
        const page = await (history as History).page('klines', {
          instrument,
          range,
          order,
          limit,
          cursor,
          signal,
          equal: { interval: text },
        })
        if (page.rows.length === 0) await assertKnown(known, live, instrument)
        return answered(reply, request.query.format, { ...head, rows: page.rows, next_cursor: page.nextCursor })
      }
      const interval = intervalOf(text)
      const { stream, check } = request.query
      const identity = JSON.stringify(['klines', head, order, limit, stream, String(range.fromNs), String(range.toNs)])
      const at = cursor === undefined ? undefined : BigInt(decodeCursor(identity, cursor, 1)[0] as string)
      const isFromOldest = order === 'asc' && range.fromNs === undefined && at === undefined
      const oldestNs = isFromOldest ? await oldestTradeNs(known, instrument, signal) : undefined
      const fromNs = oldestNs === undefined ? range.fromNs : interval.startOf(oldestNs)
      const page = pageOf(interval, { ...range, fromNs }, order, limit, at, clock.nowNs())
      const question: CandleQuestion = { instrument, interval, ...page, stream, signal }
      const isOpenEnded = order === 'desc' && fromNs === undefined
      const [answer, gaps, isLast] = await Promise.all([
        candlesOf(known, question),
        gapsOver(known, instrument, 'trades', page.fromNs, page.toNs, signal),
        isOpenEnded ? hasNoTradesBefore(known, instrument, page.fromNs, signal) : page.nextNs === undefined,
      ])
      const nextNs = isLast ? undefined : (page.nextNs ?? page.fromNs)
      if (answer.candles.length === 0) await assertKnown(known, live, instrument)
      const volumeCheck =
        check === 'sum' ? ((await sumsAreEqual(known, question, answer)) ? 'equal' : 'unequal') : answer.check
      const nowNs = clock.nowNs()
      const rows = answer.candles.map((candle) => {
        const startNs = BigInt(candle.open_ns)
        const endNs = interval.after(startNs, 1)
        const gap = worstGap(gaps, startNs, endNs)
        const { open_ns, ...values } = candle
        return { open_ns, close_ns: String(endNs), ...values, is_closed: endNs <= nowNs, gap }
      })
      if (order === 'desc') rows.reverse()
      return answered(reply, request.query.format, {
        ...head,
        stream: answer.stream,
        volume_check: volumeCheck,
        recounted_minutes: answer.recounted,
        rows,
        next_cursor: nextNs === undefined ? null : encodeCursor(identity, [String(nextNs)]),
      })
    },
  )
}

interface BarPage {
  readonly fromNs: bigint
  readonly toNs: bigint
  /** where the next page begins (asc) or ends (desc) */
  readonly nextNs: bigint | undefined
}

/** The bars whose begin is in the range, `limit` of them at most. */
function pageOf(
  interval: Interval,
  range: { readonly fromNs: bigint | undefined; readonly toNs: bigint | undefined },
  order: 'asc' | 'desc',
  limit: number,
  cursorNs: bigint | undefined,
  nowNs: bigint,
): BarPage {
  const up = (ns: bigint): bigint => {
    const start = interval.startOf(ns)
    return start === ns ? ns : interval.after(start, 1)
  }
  const lastNs = interval.after(interval.startOf(nowNs), 1) // nothing is later than the bar that runs
  const wantedNs = range.toNs === undefined ? lastNs : up(range.toNs)
  let toNs = earlier(wantedNs, lastNs)
  let fromNs = range.fromNs === undefined ? interval.after(toNs, -limit) : up(range.fromNs)
  if (cursorNs !== undefined && order === 'asc') fromNs = cursorNs
  if (cursorNs !== undefined && order === 'desc') toNs = cursorNs
  if (cursorNs !== undefined && order === 'desc' && range.fromNs === undefined) fromNs = interval.after(toNs, -limit)
  if (fromNs < 0n) fromNs = 0n
  if (toNs <= fromNs) return { fromNs, toNs: interval.after(fromNs, 0), nextNs: undefined }
  if (order === 'asc') {
    const endNs = interval.after(fromNs, limit)
    return endNs < toNs ? { fromNs, toNs: endNs, nextNs: endNs } : { fromNs, toNs, nextNs: undefined }
  }
  const startNs = interval.after(toNs, -limit)
  return startNs > fromNs ? { fromNs: startNs, toNs, nextNs: startNs } : { fromNs, toNs, nextNs: undefined }
}

const WORSE = ['none', 'repaired', 'closed', 'open'] as const

function worstGap(gaps: readonly GapSpan[], fromNs: bigint, toNs: bigint): (typeof WORSE)[number] {
  let worst = 0
  for (const gap of gaps) if (gap.fromNs < toNs && gap.toNs > fromNs) worst = Math.max(worst, WORSE.indexOf(gap.status))
  return WORSE[worst] as (typeof WORSE)[number]
}

function noVenueInterval(text: string): HttpFault {
  const list = Object.keys(KLINE_INTERVALS).join(', ')
  return new HttpFault(400, 'invalid_parameter', `interval = "${text}": venues send bars of ${list}`, {
    parameter: 'interval',
  })
}
