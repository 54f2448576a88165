import { Type } from 'typebox'
import { tableNamed } from '../../record/schema.ts'
import type { TableName } from '../../record/schema-columns.ts'
import { RATIO_PERIODS, RATIO_SCOPES } from '../../record/schema-kinds.ts'
import type { App } from '../app.ts'
import type { GatewayContext } from '../context.ts'
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
} from '../history/answer.ts'
import { History } from '../history/facts.ts'
import { assertKnown, instrumentNamed, nameOf } from '../history/instrument.ts'
import { timeRange } from '../history/time.ts'

interface Series {
  readonly path: string
  readonly table: TableName
  readonly operationId: string
  readonly summary: string
  /** columns that an answer can be narrowed to one word of */
  readonly words?: Readonly<Record<string, Readonly<Record<string, number>>>>
}

/** Everything that is rows of one instrument in time. */
const SERIES: readonly Series[] = [
  { path: 'trades', table: 'trades', operationId: 'getTrades', summary: 'Trades by trade_ns' },
  {
    path: 'book-tickers',
    table: 'book_tickers',
    operationId: 'getBookTickers',
    summary: 'Best bid and ask by received_ns',
  },
  { path: 'tickers', table: 'tickers', operationId: 'getTickers', summary: 'Rolling 24 h statistics by received_ns' },
  {
    path: 'funding-rates',
    table: 'funding_rates',
    operationId: 'getFundingRates',
    summary: 'Funding rates by received_ns',
  },
  {
    path: 'open-interests',
    table: 'open_interests',
    operationId: 'getOpenInterests',
    summary: 'Open interest by received_ns',
  },
  { path: 'liquidations', table: 'liquidations', operationId: 'getLiquidations', summary: 'Liquidations by event_ns' },
  {
    path: 'long-short-ratios',
    table: 'long_short_ratios',
    operationId: 'getLongShortRatios',
    summary: 'Long/short ratios by event_ns',
    words: { scope: RATIO_SCOPES, period: RATIO_PERIODS },
  },
  {
    path: 'volatility-indices',
    table: 'volatility_indices',
    operationId: 'getVolatilityIndices',
    summary: 'Volatility indices by received_ns',
  },
  { path: 'mark-prices', table: 'mark_prices', operationId: 'getMarkPrices', summary: 'Mark prices by received_ns' },
  {
    path: 'index-prices',
    table: 'index_prices',
    operationId: 'getIndexPrices',
    summary: 'Index prices by received_ns',
  },
]

export function addSeriesRoutes(app: App, { store, clock, live }: GatewayContext): void {
  const history = store === undefined ? undefined : new History(store, () => clock.monotonicMs())
  for (const { path, table, operationId, summary, words = {} } of SERIES) {
    const narrowing = Object.fromEntries(
      Object.entries(words).map(([column, list]) => [
        column,
        Type.Optional(
          Type.Unsafe<string>({ type: 'string', enum: Object.keys(list), description: `only of this ${column}` }),
        ),
      ]),
    )
    app.get(
      `/v1/${path}/:instrument`,
      {
        config: { scope: 'read' },
        schema: {
          operationId,
          tags: ['history'],
          summary,
          params: InstrumentParams,
          querystring: Type.Object({ ...rangeParameters, ...narrowing, ...pageParameters, ...formatParameter }),
          response: {
            ...storeRefusals,
            200: Type.Object({
              instrument: Type.String(),
              rows: Type.Array(rowSchema(tableNamed(table))),
              next_cursor: NextCursor,
            }),
          },
        },
      },
      async (request, reply) => {
        const known = storeOf(store)
        const instrument = instrumentNamed(request.params.instrument)
        const query = request.query
        const equal = Object.keys(words).flatMap((column) => {
          const word = (query as Readonly<Record<string, unknown>>)[column]
          return word === undefined ? [] : [[column, String(word)] as const]
        })
        const { rows, nextCursor } = await (history as History).page(table, {
          instrument,
          range: timeRange(query),
          order: query.order ?? 'desc',
          limit: query.limit ?? LIMIT_PRESET,
          cursor: query.cursor,
          equal: Object.fromEntries(equal),
          signal: goneSignal(reply),
        })
        if (rows.length === 0) await assertKnown(known, live, instrument)
        return answered(reply, query.format, { instrument: nameOf(instrument), rows, next_cursor: nextCursor })
      },
    )
  }
}
