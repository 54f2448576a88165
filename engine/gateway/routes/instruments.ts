import { Type } from 'typebox'
import { tableNamed } from '../../record/schema.ts'
import { KIND_WORDS, TRADING_WORDS } from '../../record/schema-kinds.ts'
import type { App } from '../app.ts'
import type { GatewayContext } from '../context.ts'
import { formatParameter, NextCursor, rowSchema, shared, storeOf, storeRefusals } from '../history/answer.ts'
import { decodeCursor, encodeCursor } from '../history/cursor.ts'
import { selectList } from '../history/select.ts'
import type { Store } from '../store.ts'

const INSTRUMENTS = tableNamed('instruments')
const INSTRUMENTS_MAX = 10_000
const LIMIT_PRESET = 1_000
/** A venue lists and changes instruments a few times a day; a row takes longer than this to be stored. */
const GOOD_MS = 1_000
const NAME = { exchange: Type.String(), market: Type.String(), symbol: Type.String() }
const filter = (description: string) => Type.Optional(Type.String({ description, maxLength: 100 }))
const word = (list: Readonly<Record<string, number>>, description: string) =>
  Type.Optional(Type.Unsafe<string>({ type: 'string', enum: Object.keys(list), description }))

/** Parameter → column; all compare for equality but `match`. */
const FILTERS = {
  exchange: 'exchange',
  market: 'market',
  symbol: 'symbol',
  kind: 'kind',
  trading: 'trading',
  base: 'base',
  quote: 'quote',
  settle: 'settle',
  underlying: 'underlying',
} as const

export function addInstrumentRoutes(app: App, { store, answers }: GatewayContext): void {
  app.get(
    '/v1/instruments',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getInstruments',
        tags: ['history'],
        summary: 'What each instrument is, as it was told last; in the order of their names',
        querystring: Type.Object({
          exchange: filter('e.g. binance'),
          market: filter('e.g. usdm'),
          symbol: filter("in the venue's spelling"),
          match: filter('part of the symbol, upper or lower case'),
          kind: word(KIND_WORDS, 'what it is'),
          trading: word(TRADING_WORDS, 'whether it is traded'),
          base: filter('e.g. BTC'),
          quote: filter('e.g. USDT'),
          settle: filter('what profit is paid in'),
          underlying: filter('of derivatives'),
          limit: Type.Optional(
            Type.Integer({
              description: 'rows of one answer',
              minimum: 1,
              maximum: INSTRUMENTS_MAX,
              default: LIMIT_PRESET,
            }),
          ),
          cursor: Type.Optional(Type.String({ description: 'next_cursor of the answer before', maxLength: 1000 })),
          ...formatParameter,
        }),
        response: {
          ...storeRefusals,
          200: Type.Object({ rows: Type.Array(rowSchema(INSTRUMENTS, NAME)), next_cursor: NextCursor }),
        },
      },
    },
    async (request, reply) => {
      const { format, ...question } = request.query
      const known = storeOf(store)
      // nobody's leaving ends it: others may have asked the same meanwhile
      return shared(answers, reply, { question: request.url, goodMs: GOOD_MS, format }, () =>
        instrumentPage(known, question),
      )
    },
  )
}

interface InstrumentQuestion extends Partial<Record<keyof typeof FILTERS, string>> {
  readonly match?: string
  readonly limit?: number
  readonly cursor?: string
}

async function instrumentPage(store: Store, question: InstrumentQuestion) {
  const { limit = LIMIT_PRESET, cursor, match, ...equal } = question
  const params: Record<string, string | number> = { limit: limit + 1 }
  const where: string[] = []
  for (const [name, column] of Object.entries(FILTERS)) {
    const value = equal[name as keyof typeof FILTERS]
    if (value === undefined) continue
    params[name] = value
    where.push(`fact.${column} = {${name}:String}`)
  }
  if (match !== undefined) {
    params.match = match
    where.push('positionCaseInsensitiveUTF8(fact.symbol, {match:String}) > 0')
  }
  const identity = JSON.stringify(['instruments', Object.entries({ ...equal, match }).sort()])
  if (cursor !== undefined) {
    const values = decodeCursor(identity, cursor, 3)
    for (const [index, value] of values.entries()) params[`after${index}`] = value
    where.push('(fact.exchange, fact.market, fact.symbol) > ({after0:String}, {after1:String}, {after2:String})')
  }
  // the newest row of each first, then what it says is asked for: an older one must not pass in its place
  const found = await store.rows<Record<string, unknown>>(
    `SELECT fact.exchange AS exchange, fact.market AS market, fact.symbol AS symbol, ${selectList(INSTRUMENTS)}
     FROM (
       SELECT * FROM instruments
       ORDER BY exchange, market, symbol, received_ns DESC, epoch DESC, block_seq DESC, row_in_block DESC
       LIMIT 1 BY exchange, market, symbol
     ) AS fact
     ${where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`}
     ORDER BY fact.exchange, fact.market, fact.symbol LIMIT {limit:UInt32}`,
    params,
  )
  const rows = found.slice(0, limit)
  const last = found.length > limit ? rows.at(-1) : undefined
  const next = last === undefined ? null : encodeCursor(identity, [last.exchange, last.market, last.symbol].map(String))
  return { rows, next_cursor: next }
}
