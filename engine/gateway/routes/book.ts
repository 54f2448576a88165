import { Type } from 'typebox'
import type { Level } from '../../record/rows.ts'
import { BOOK_STATES } from '../../record/schema.ts'
import type { App } from '../app.ts'
import type { GatewayContext } from '../context.ts'
import { ErrorForm } from '../errors.ts'
import { InstrumentParams, shared } from '../history/answer.ts'
import { HttpFault } from '../http-fault.ts'
import type { BookLine } from '../live/books.ts'
import { DEPTH_MAX } from '../live/requests.ts'

const DEPTH_DEFAULT = 400
/** A book that has no levels yet comes within some ms; one that is broken within seconds. */
const RETRY_S = 1
/** Of 1,000 books the lines are 200 kB. What of them is older than this is numbers and ages, never a state. */
const LINES_GOOD_MS = 100

const State = Type.Unsafe<string>({ type: 'string', enum: Object.keys(BOOK_STATES) })
const Ns = (description: string) => Type.String({ description, pattern: '^-?[0-9]+$' })
const Levels = Type.Unsafe<readonly Level[]>({
  type: 'array',
  description: '[price, quantity], best first',
  items: { type: 'array', items: { type: 'string' }, minItems: 2, maxItems: 2 },
})

const BookLineForm = Type.Object({
  instrument: Type.String(),
  state: State,
  reason: Type.String({ description: 'cause of the gap, or a few words; empty when LIVE' }),
  since_ns: Ns('when it came into this state'),
  book_epoch: Type.Integer(),
  last_seq: Type.Integer(),
  age_ms: Type.Integer({ description: 'since its worker was last heard; above 3000 the book is STALE' }),
})

const BookForm = Type.Object({
  exchange: Type.String(),
  market: Type.String(),
  symbol: Type.String(),
  state: Type.Literal('LIVE'),
  book_epoch: Type.Integer({ description: 'raised at every new snapshot of the venue' }),
  last_seq: Type.Integer({ description: 'the book is the fold of everything up to here' }),
  event_ns: Ns("the venue's time of its last change"),
  received_ns: Ns('when that was received'),
  bids: Levels,
  asks: Levels,
})

const formOf = ({ id, state, reason, sinceNs, epoch, lastSeq, ageMs }: BookLine) => ({
  instrument: id,
  state,
  reason,
  since_ns: sinceNs,
  book_epoch: epoch,
  last_seq: lastSeq,
  age_ms: ageMs,
})

/** Books as they are now. One that is not LIVE is never served. */
export function addBookRoutes(app: App, { live, answers }: GatewayContext): void {
  app.get(
    '/v1/books',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getBooks',
        tags: ['books'],
        summary: 'State of every book',
        response: { 200: Type.Object({ books: Type.Array(BookLineForm) }) },
      },
    },
    (request, reply) =>
      shared(answers, reply, { question: `${request.url} ${live.bookChanges}`, goodMs: LINES_GOOD_MS }, () => ({
        books: live.bookLines().map(formOf),
      })),
  )
  app.get(
    '/v1/books/:instrument',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getBook',
        tags: ['books'],
        summary: 'A verified book as it is now; 503 with state, reason and since when it is not LIVE',
        params: InstrumentParams,
        querystring: Type.Object({
          depth: Type.Optional(
            Type.Integer({ minimum: 1, maximum: DEPTH_MAX, default: DEPTH_DEFAULT, description: 'levels a side' }),
          ),
        }),
        response: { 200: BookForm, 404: { ...ErrorForm, description: 'No such instrument' } },
      },
    },
    async ({ params, query }) => {
      const { instrument } = params
      const book = await live.bookNow(instrument, query.depth ?? DEPTH_DEFAULT)
      const name = live.nameOf(instrument)
      if (book === undefined || name === undefined)
        throw new HttpFault(404, 'unknown_instrument', `no book of ${instrument} is collected; /v1/books lists all`)
      if ('bids' in book) return { ...name, ...book }
      const { state, reason, sinceNs } = book
      const why = reason === '' ? state : `${state} (${reason})`
      throw new HttpFault(
        503,
        'book_not_live',
        `the book of ${instrument} is ${why}: ask again when it is LIVE`,
        { instrument, state, reason, since_ns: sinceNs },
        RETRY_S,
      )
    },
  )
}
