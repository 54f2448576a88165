import { Type } from 'typebox'
import type { App } from '../app.ts'
import type { GatewayContext } from '../context.ts'
import { answered, formatParameter, goneSignal, InstrumentParams, storeOf, storeRefusals } from '../history/answer.ts'
import { bookAt } from '../history/book-at.ts'
import { assertKnown, instrumentNamed, nameOf } from '../history/instrument.ts'
import { isoText, timeNs } from '../history/time.ts'
import { HttpFault } from '../http-fault.ts'

const DEPTH_MAX = 5_000
const DEPTH_PRESET = 400
const Levels = Type.Array(Type.Array(Type.String()), { description: '[price, quantity], best first; exact decimals' })

export function addBookAtRoutes(app: App, { store, clock, live }: GatewayContext): void {
  app.get(
    '/v1/books/:instrument/at',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getBookAt',
        tags: ['history'],
        summary: 'The book as it was at a time, built again from what is stored and proven; or why there is none',
        params: InstrumentParams,
        querystring: Type.Object({
          time: Type.String({
            description: 'when, by the receive time of this machine: ISO 8601 or s, ms, µs, ns',
            maxLength: 40,
            examples: ['2024-08-08T12:00:00.5Z'],
          }),
          depth: Type.Optional(
            Type.Integer({
              description: 'levels a side at most',
              minimum: 1,
              maximum: DEPTH_MAX,
              default: DEPTH_PRESET,
            }),
          ),
          ...formatParameter,
        }),
        response: {
          ...storeRefusals,
          200: Type.Object({
            instrument: Type.String(),
            time_ns: Type.String(),
            state: Type.String({ description: 'always LIVE: no other book is given' }),
            book_epoch: Type.Integer({ description: 'see book_deltas' }),
            last_seq: Type.Integer({ description: 'the book is the fold of everything up to here' }),
            event_ns: Type.String({ description: "the venue's time of the last event in it" }),
            received_ns: Type.String({ description: 'when that was received' }),
            start: Type.Object(
              { kind: Type.String(), received_ns: Type.String(), last_seq: Type.Integer() },
              { description: 'the stored book that it is built from' },
            ),
            deltas: Type.Integer({ description: 'events after the start' }),
            proven_bids: Type.Integer({ description: 'levels that are proven; deeper ones are not claimed' }),
            proven_asks: Type.Integer(),
            bids: Levels,
            asks: Levels,
          }),
        },
      },
    },
    async (request, reply) => {
      const known = storeOf(store)
      const instrument = instrumentNamed(request.params.instrument)
      const { time, depth = DEPTH_PRESET, format } = request.query
      const atNs = timeNs(time, 'time')
      const nowNs = clock.nowNs()
      if (atNs > nowNs)
        throw new HttpFault(400, 'invalid_parameter', `time = ${isoText(atNs)} has not come yet`, { parameter: 'time' })
      const id = nameOf(instrument)
      const liveSinceNs = (): bigint | undefined => {
        const line = live.bookLines().find((book) => book.id === id)
        return line?.state === 'LIVE' ? BigInt(line.sinceNs) : undefined
      }
      const question = { store: known, instrument, atNs, depth, nowNs, liveSinceNs, signal: goneSignal(reply) }
      const book = await bookAt(question).catch(async (error) => {
        if (error instanceof HttpFault && error.code === 'no_book') await assertKnown(known, live, instrument)
        throw error
      })
      return answered(reply, format, { instrument: id, time_ns: String(atNs), state: 'LIVE', ...book })
    },
  )
}
