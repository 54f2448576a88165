import { Readable } from 'node:stream'
import { Type } from 'typebox'
import { TABLES } from '../../record/schema.ts'
import type { TableName } from '../../record/schema-columns.ts'
import type { App } from '../app.ts'
import type { GatewayContext } from '../context.ts'
import { goneSignal, rangeParameters, storeOf, storeRefusals } from '../history/answer.ts'
import { EXPORT_FORMATS, type ExportFormat, exported, PARQUET_ROWS_MAX } from '../history/export.ts'
import type { ExportTally } from '../history/export-form.ts'
import { instrumentNamed } from '../history/instrument.ts'
import { isoText, timeRange } from '../history/time.ts'

const TABLE_NAMES = TABLES.map(({ name }) => name)
const FORMATS = Object.keys(EXPORT_FORMATS) as ExportFormat[]
const filter = (description: string) => Type.Optional(Type.String({ description, maxLength: 200 }))

export function addExportRoutes(app: App, { store, clock }: GatewayContext): void {
  app.get(
    '/v1/export/:table',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'exportTable',
        tags: ['history'],
        summary: 'All rows of a table in a range of time, as a file, in the order of time',
        description: [
          'Streamed as fast as it is read. The trailers X-Export-Rows and X-Export-Complete end every whole answer; what',
          `breaks on the way breaks the connection. A Parquet file holds ${PARQUET_ROWS_MAX} rows at most.`,
        ].join(' '),
        params: Type.Object({
          table: Type.Unsafe<TableName>({ type: 'string', enum: TABLE_NAMES, description: 'the table of the store' }),
        }),
        querystring: Type.Object({
          format: Type.Optional(
            Type.Unsafe<ExportFormat>({ type: 'string', enum: FORMATS, description: 'of the file', default: 'ndjson' }),
          ),
          instrument: filter('exchange.market.symbol: only of this one'),
          exchange: filter('only of this exchange'),
          market: filter('only of this market'),
          from: Type.String({ ...rangeParameters.from, examples: ['2024-08-08T12:00:00Z'] }),
          to: rangeParameters.to,
        }),
        response: {
          ...storeRefusals,
          200: {
            description: 'the file',
            content: Object.fromEntries(
              Object.values(EXPORT_FORMATS).map(({ type }) => [type.split(';')[0], { schema: Type.String() }]),
            ),
          },
        },
      },
    },
    async (request, reply) => {
      const { format = 'ndjson', instrument, exchange, market, ...query } = request.query
      const { table } = request.params
      const known = storeOf(store)
      const { fromNs = 0n, toNs = clock.nowNs() } = timeRange(query)
      const given = { exchange, market, ...(instrument === undefined ? {} : instrumentNamed(instrument)) }
      const equal = Object.fromEntries(
        Object.entries(given).filter((one): one is [string, string] => one[1] !== undefined),
      )
      const tally: ExportTally = { rows: 0 }
      const chunks = exported(known, { table, format, equal, fromNs, toNs, signal: goneSignal(reply) }, tally)
      const first = await chunks.next() // what is wrong with the question is said before the file begins
      const { type, ending } = EXPORT_FORMATS[format]
      const name = [table, instrument ?? exchange, isoText(fromNs), isoText(toNs)].filter((part) => part !== undefined)
      reply
        .type(type)
        .header(
          'content-disposition',
          `attachment; filename="${name.join('_').replace(/[^A-Za-z0-9._-]/g, '-')}.${ending}"`,
        )
        .trailer('x-export-rows', (_reply, _payload, done) => done(null, String(tally.rows)))
        .trailer('x-export-complete', (_reply, _payload, done) => done(null, 'true'))
      return reply.send(Readable.from(joined(first, chunks), { objectMode: false, highWaterMark: 1024 * 1024 }))
    },
  )
}

async function* joined(first: IteratorResult<Buffer>, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  if (first.done === true) return
  yield first.value
  yield* rest
}
