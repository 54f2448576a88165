import { Type } from 'typebox'
import { GAP_CAUSES, GAP_CHANNELS, GAP_STATUSES, tableNamed } from '../../record/schema.ts'
import type { App } from '../app.ts'
import type { GatewayContext } from '../context.ts'
import {
  answered,
  formatParameter,
  goneSignal,
  LIMIT_PRESET,
  NextCursor,
  pageParameters,
  rangeParameters,
  rowSchema,
  storeOf,
  storeRefusals,
} from '../history/answer.ts'
import { gapPage } from '../history/gap-rows.ts'
import { instrumentNamed } from '../history/instrument.ts'
import { timeRange } from '../history/time.ts'

const NAME = { exchange: Type.String(), market: Type.String(), symbol: Type.String() }
const word = (list: Readonly<Record<string, number>>, description: string) =>
  Type.Optional(Type.Unsafe<string>({ type: 'string', enum: Object.keys(list), description }))

export function addGapRoutes(app: App, { store }: GatewayContext): void {
  app.get(
    '/v1/gaps',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getGaps',
        tags: ['history'],
        summary: 'Intervals in which something may be missing, by from_ns; from and to ask for those that overlap',
        querystring: Type.Object({
          instrument: Type.Optional(Type.String({ description: 'exchange.market.symbol', maxLength: 200 })),
          exchange: Type.Optional(Type.String({ description: 'e.g. binance', maxLength: 40 })),
          market: Type.Optional(Type.String({ description: 'e.g. usdm', maxLength: 40 })),
          channel: word(GAP_CHANNELS, 'what may be missing'),
          cause: word(GAP_CAUSES, 'why'),
          status: word(GAP_STATUSES, 'open: it still goes on; repaired: what was missing is in the table now'),
          ...rangeParameters,
          ...pageParameters,
          ...formatParameter,
        }),
        response: {
          ...storeRefusals,
          200: Type.Object({ rows: Type.Array(rowSchema(tableNamed('gaps'), NAME)), next_cursor: NextCursor }),
        },
      },
    },
    async (request, reply) => {
      const { instrument, exchange, market, channel, cause, status, order, limit, cursor, format, ...range } =
        request.query
      const named = instrument === undefined ? {} : instrumentNamed(instrument)
      const given = { exchange, market, channel, cause, status, ...named }
      const { rows, nextCursor } = await gapPage(storeOf(store), {
        equal: Object.fromEntries(Object.entries(given).filter((one): one is [string, string] => one[1] !== undefined)),
        range: timeRange(range),
        order: order ?? 'desc',
        limit: limit ?? LIMIT_PRESET,
        cursor,
        signal: goneSignal(reply),
      })
      return answered(reply, format, { rows, next_cursor: nextCursor })
    },
  )
}
