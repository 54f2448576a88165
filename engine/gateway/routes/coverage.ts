import { Type } from 'typebox'
import type { GapChannel } from '../../record/schema.ts'
import type { App } from '../app.ts'
import type { GatewayContext } from '../context.ts'
import {
  answered,
  formatParameter,
  goneSignal,
  InstrumentParams,
  nullable,
  rangeParameters,
  storeOf,
  storeRefusals,
} from '../history/answer.ts'
import { CHANNELS, COVERAGE_STATES, coverageOf } from '../history/coverage.ts'
import { History } from '../history/facts.ts'
import { assertKnown, instrumentNamed, nameOf } from '../history/instrument.ts'
import { intervalOf } from '../history/interval.ts'
import { rangeUntilNow } from '../history/time.ts'
import { VOLUME_GROUPS, volumesOf } from '../history/volumes.ts'

const DAY_NS = 86_400_000_000_000n

export function addCoverageRoutes(app: App, { store, clock, live }: GatewayContext): void {
  const history = store === undefined ? undefined : new History(store, () => clock.monotonicMs())
  app.get(
    '/v1/coverage/:instrument',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getCoverage',
        tags: ['history'],
        summary: 'How whole each channel of an instrument is, as intervals; the last 24 hours unless told otherwise',
        description:
          'missing: nothing is stored of it. degraded: something came and something is missing. backfilled: what was missing was fetched. unverifiable: no gap is known, and the venue numbers nothing by which one could be seen. complete: no gap is known, and there would be one.',
        params: InstrumentParams,
        querystring: Type.Object({
          channel: Type.Optional(
            Type.Unsafe<GapChannel>({
              type: 'string',
              enum: CHANNELS,
              description: 'only this one; else book and trades',
            }),
          ),
          ...rangeParameters,
          ...formatParameter,
        }),
        response: {
          ...storeRefusals,
          200: Type.Object({
            instrument: Type.String(),
            from_ns: Type.String(),
            to_ns: Type.String(),
            channels: Type.Array(
              Type.Object({
                channel: Type.String(),
                first_received_ns: nullable('string', 'when its first row was received; null: there is none'),
                intervals: Type.Array(
                  Type.Object({
                    from_ns: Type.String(),
                    to_ns: Type.String({ description: 'exclusive' }),
                    state: Type.Unsafe<string>({ type: 'string', enum: [...COVERAGE_STATES] }),
                    reasons: Type.Array(Type.String(), {
                      description:
                        'causes of gaps; no_rows: before the first row; not_collected: nobody wanted it; not_stored: not stored (yet)',
                    }),
                  }),
                ),
                seconds: Type.Record(Type.String(), Type.String(), { description: 'in each state' }),
              }),
            ),
          }),
        },
      },
    },
    async (request, reply) => {
      const known = storeOf(store)
      const instrument = instrumentNamed(request.params.instrument)
      const { channel, format, ...query } = request.query
      const { fromNs, toNs } = rangeUntilNow(query, clock.nowNs(), DAY_NS)
      const wanted: readonly GapChannel[] = channel === undefined ? ['book', 'trades'] : [channel]
      const channels = await coverageOf(known, history as History, instrument, wanted, fromNs, toNs, goneSignal(reply))
      if (channels.every(({ first_received_ns }) => first_received_ns === null))
        await assertKnown(known, live, instrument)
      return answered(reply, format, {
        instrument: nameOf(instrument),
        from_ns: String(fromNs),
        to_ns: String(toNs),
        channels: channels.map((one) => ({
          ...one,
          intervals: one.intervals.map((each) => ({ ...each, reasons: [...each.reasons] })),
        })),
      })
    },
  )
  app.get(
    '/v1/volumes',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getVolumes',
        tags: ['history'],
        summary:
          'Traded worth by interval and exchange, market or instrument, apart for each currency; the last 24 hours unless told otherwise',
        querystring: Type.Object({
          by: Type.Optional(
            Type.Unsafe<keyof typeof VOLUME_GROUPS>({
              type: 'string',
              enum: Object.keys(VOLUME_GROUPS),
              description: 'what is added up',
              default: 'exchange',
            }),
          ),
          interval: Type.Optional(
            Type.String({ description: 'a count and m, h, d, w or M; whole minutes', default: '1h', maxLength: 8 }),
          ),
          exchange: Type.Optional(Type.String({ description: 'only of this exchange', maxLength: 40 })),
          ...rangeParameters,
          ...formatParameter,
        }),
        response: {
          ...storeRefusals,
          200: Type.Object({
            by: Type.String(),
            interval: Type.String(),
            kept_until_ns: Type.Record(Type.String(), Type.String(), {
              description: 'by exchange: up to here kept bars were added up, from here on the trades themselves',
            }),
            rows: Type.Array(
              Type.Object({
                open_ns: Type.String(),
                exchange: Type.String(),
                market: Type.Optional(Type.String()),
                symbol: Type.Optional(Type.String()),
                currency: Type.String({
                  description: "of quote_volume; empty: of instruments that nothing is known of, in the venue's units",
                }),
                quote_volume: Type.String({ description: 'exact decimal, cut at 18 digits' }),
                trade_count: Type.Integer(),
              }),
            ),
          }),
        },
      },
    },
    async (request, reply) => {
      const { by = 'exchange', interval: text = '1h', exchange, format, ...query } = request.query
      const { fromNs, toNs } = rangeUntilNow(query, clock.nowNs(), DAY_NS)
      const interval = intervalOf(text)
      const question = { by, interval, exchange, fromNs, toNs, signal: goneSignal(reply) }
      const { keptUntil, rows } = await volumesOf(storeOf(store), question)
      return answered(reply, format, { by, interval: text, kept_until_ns: keptUntil, rows })
    },
  )
}
