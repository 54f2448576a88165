/** What the routes of history have in common: parameters, schemas of rows, and answers as JSON or msgpack. */
import type { FastifyReply } from 'fastify'
import { Packr } from 'msgpackr'
import { type TSchema, Type } from 'typebox'
import { type PublicColumn, publicColumns } from '../../record/rows.ts'
import type { Table } from '../../record/schema-columns.ts'
import { ErrorForm } from '../errors.ts'
import { HttpFault } from '../http-fault.ts'
import type { Payload, SharedAnswers } from '../shared-answers.ts'
import type { Store } from '../store.ts'

export const LIMIT_MAX = 10_000

const TIME = 'ISO 8601 with up to 9 digits of a second, or s, ms, µs or ns since the epoch (told apart by magnitude)'

export const InstrumentParams = Type.Object({
  instrument: Type.String({
    description: 'exchange.market.symbol, e.g. binance.usdm.BTCUSDT',
    minLength: 5,
    maxLength: 200,
    examples: ['binance.usdm.BTCUSDT'],
  }),
})

export const rangeParameters = {
  from: Type.Optional(Type.String({ description: `first time, inclusive: ${TIME}`, maxLength: 40 })),
  to: Type.Optional(Type.String({ description: `last time, exclusive: ${TIME}`, maxLength: 40 })),
}

export const LIMIT_PRESET = 100

export const pageParameters = {
  limit: Type.Optional(
    Type.Integer({ description: 'rows of one answer', minimum: 1, maximum: LIMIT_MAX, default: LIMIT_PRESET }),
  ),
  order: words(['desc', 'asc'], 'newest first, or oldest first', 'desc'),
  cursor: Type.Optional(
    Type.String({
      description: 'next_cursor of the answer before, with all other parameters unchanged',
      maxLength: 1000,
    }),
  ),
}

/** Refusals of questions to the store, besides those of every route. */
export const storeRefusals = {
  404: { ...ErrorForm, description: 'Nothing is stored of that' },
  422: { ...ErrorForm, description: 'The question costs more than one may: ask for less' },
}

export type Format = 'json' | 'msgpack'
export const formatParameter = { format: words(['json', 'msgpack'], 'the same objects in another form', 'json') }

export const NextCursor = nullable('string', 'begin of the next page; null: this is the last one')

/** A parameter that is one of some words. */
export function words<const Word extends string>(list: readonly Word[], description: string, preset: Word) {
  return Type.Optional(Type.Unsafe<Word>({ type: 'string', enum: [...list], description, default: preset }))
}

export function nullable(type: 'string' | 'integer' | 'number', description: string) {
  return Type.Unsafe<string | null>({ type: [type, 'null'], description })
}

/** A row as users see it. */
export function rowSchema(table: Pick<Table, 'columns'>, before: Readonly<Record<string, TSchema>> = {}): TSchema {
  const comments = new Map(table.columns.map(({ name, comment, words: list }) => [name, { comment, list }]))
  const columns = publicColumns(table).map((column) => {
    const { comment = '', list } = comments.get(column.name) ?? {}
    return [column.name, columnSchema(column, comment, list)] as const
  })
  return Type.Object({ ...before, ...Object.fromEntries(columns) })
}

function columnSchema(
  column: PublicColumn,
  comment: string,
  list: Readonly<Record<string, number>> | undefined,
): TSchema {
  switch (column.form) {
    case 'scaled':
      return Type.String({ description: 'exact decimal' })
    case 'levels':
      return Type.Array(Type.Array(Type.String()), { description: '[price, quantity], best first; exact decimals' })
    case 'decimal':
      return nullable('string', comment === '' ? 'exact decimal; null: the venue does not say' : comment)
    case 'time':
      return Type.String({ description: comment === '' ? 'ns since the epoch' : `${comment} (ns since the epoch)` })
    case 'number':
      return Type.Integer({ description: comment })
    case 'word':
      return Type.Unsafe<string>({ type: 'string', enum: Object.keys(list ?? {}), description: comment })
    default:
      return Type.String({ description: comment })
  }
}

const packr = new Packr({ useRecords: false })

/** The answer in the form that was asked for. */
export function answered<Body extends object>(reply: FastifyReply, format: Format | undefined, body: Body): Body {
  return format === 'msgpack' ? sent(reply, format, packr.pack(body)) : body
}

/** The same for all who ask this within `goodMs`. @param question all that the answer depends on */
export async function shared<Body>(
  answers: SharedAnswers,
  reply: FastifyReply,
  {
    question,
    goodMs,
    format,
  }: { readonly question: string; readonly goodMs: number; readonly format?: Format | undefined },
  make: () => object | Promise<object>,
): Promise<Body> {
  const payload = await answers.get(question, goodMs, async () => {
    const body = await make()
    return format === 'msgpack' ? packr.pack(body) : (reply.serialize(body) as string)
  })
  return sent<Body>(reply, format, payload)
}

/** What is sent as bytes or text passes the schema by. */
function sent<Body>(reply: FastifyReply, format: Format | undefined, payload: Payload): Body {
  const type = format === 'msgpack' ? 'application/vnd.msgpack' : 'application/json; charset=utf-8'
  return reply.type(type).send(payload) as unknown as Body
}

/** Ends what nobody waits for any more. */
export function goneSignal({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController()
  raw.once('close', () => {
    if (!raw.writableFinished) gone.abort()
  })
  return gone.signal
}

/** @throws HttpFault where this deployment stores nothing. */
export function storeOf(store: Store | undefined): Store {
  if (store !== undefined) return store
  throw new HttpFault(503, 'no_store', 'this gateway knows no ClickHouse: set clickhouse.url, or let one process store')
}
