/**
 * What looks into the engine's inside or changes it: scope admin, and every change is written down. A change takes JSON
 * even where it has nothing to say, so that no form of a foreign page can make one.
 */
import { Type } from 'typebox'
import type { App } from '../app.ts'
import type { GatewayContext } from '../context.ts'
import type { ChangeAnswer, InstrumentChange, InstrumentName } from '../engine-link.ts'
import { ErrorForm } from '../errors.ts'
import { HttpFault } from '../http-fault.ts'
import { LetterDesk } from '../letter-desk.ts'
import { ChangeForm, InstrumentId, Letter } from './system-forms.ts'

const admin = { scope: 'admin' } as const
const tags = ['admin']
const INSTRUMENTS_MAX = 100
const LETTERS_MAX = 100
const LetterNumber = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, examples: [1] })

const NotTaken = { ...ErrorForm, description: 'The engine took none of these' }

export function addAdminRoutes(app: App, context: GatewayContext): void {
  addConfig(app, context)
  addSubscriptions(app, context)
  addLetters(app, context)
}

function addConfig(app: App, { engine }: GatewayContext): void {
  app.get(
    '/v1/config',
    {
      config: admin,
      schema: {
        operationId: 'getConfig',
        tags,
        summary: 'The effective configuration and where each value came from; secrets are masked',
        response: {
          200: Type.Object({
            keys: Type.Record(Type.String(), Type.Object({ value: Type.Unknown(), source: Type.String() })),
          }),
        },
      },
    },
    async () => ({ keys: await engine.config() }),
  )
}

function addSubscriptions(app: App, { engine, answers }: GatewayContext): void {
  const change = (wanted: InstrumentChange): Promise<ChangeAnswer> =>
    engine.change(wanted).finally(() => answers.forget())
  const body = Type.Object(
    {
      instruments: Type.Array(InstrumentId, {
        minItems: 1,
        maxItems: INSTRUMENTS_MAX,
        description: 'names of instruments',
      }),
    },
    { additionalProperties: false },
  )
  app.post(
    '/v1/subscriptions',
    {
      config: admin,
      schema: {
        operationId: 'addSubscriptions',
        tags,
        summary: 'Collect these instruments from now on, over restarts, until they are removed',
        body,
        response: { 200: ChangeForm, 422: NotTaken },
      },
    },
    async ({ body: { instruments } }) => taken(await change({ add: instruments.map(splitName), remove: [] })) as never,
  )
  app.delete(
    '/v1/subscriptions/:instrument',
    {
      config: admin,
      schema: {
        operationId: 'removeSubscription',
        tags,
        summary: 'Collect this instrument no more, over restarts, until it is added',
        params: Type.Object({ instrument: InstrumentId }),
        response: { 200: ChangeForm, 422: NotTaken },
      },
    },
    async ({ params: { instrument } }) => taken(await change({ add: [], remove: [splitName(instrument)] })) as never,
  )
}

/** The schema has looked at its form. */
function splitName(id: string): InstrumentName {
  const [exchange = '', market = '', ...symbol] = id.split('.')
  return { exchange, market, symbol: symbol.join('.') }
}

/** Nothing of it was taken: then it is an error. */
function taken(answer: ChangeAnswer): ChangeAnswer {
  const { added, removed, refused } = answer
  if (added.length + removed.length > 0 || refused.length === 0) return answer
  throw new HttpFault(422, 'not_taken', refused[0] ?? '', { refused })
}

function addLetters(app: App, context: GatewayContext): void {
  const { clock, log, settings } = context
  const { nats, clickhouse, letterDirectory: directory } = settings
  const desk = new LetterDesk({ nats, clickhouse, directory }, clock, log)
  app.addHook('onClose', () => desk.close())
  app.get(
    '/v1/dlq',
    {
      config: admin,
      schema: {
        operationId: 'getDeadLetters',
        tags,
        summary: 'Blocks that could not be stored, with the reason',
        querystring: Type.Object({
          first: Type.Optional(
            Type.Integer({
              minimum: 1,
              maximum: Number.MAX_SAFE_INTEGER,
              default: 1,
              description: 'the number to begin with',
            }),
          ),
          limit: Type.Optional(
            Type.Integer({ minimum: 1, maximum: LETTERS_MAX, default: LETTERS_MAX, description: 'letters at most' }),
          ),
        }),
        response: {
          200: Type.Object({ place: Type.String(), letters: Type.Array(Letter), next: Type.Optional(Type.Number()) }),
        },
      },
    },
    async ({ query: { first = 1, limit = LETTERS_MAX } }) => (await desk.list(first, limit)) as never,
  )
  app.post(
    '/v1/dlq/replay',
    {
      config: admin,
      schema: {
        operationId: 'replayDeadLetters',
        tags,
        summary: 'Send these blocks again; a letter goes when its block is acknowledged',
        body: Type.Object(
          {
            numbers: Type.Array(LetterNumber, {
              minItems: 1,
              maxItems: LETTERS_MAX,
              description: 'numbers of letters',
            }),
          },
          { additionalProperties: false },
        ),
        response: {
          200: Type.Object({
            replayed: Type.Array(Type.Number()),
            failed: Type.Array(Type.Object({ number: Type.Number(), reason: Type.String() })),
          }),
        },
      },
    },
    async ({ body: { numbers } }) => (await desk.replay(numbers)) as never,
  )
  app.delete(
    '/v1/dlq/:number',
    {
      config: admin,
      schema: {
        operationId: 'dropDeadLetter',
        tags,
        summary: 'Forget this block for good',
        params: Type.Object({ number: LetterNumber }),
        response: { 200: Type.Object({ dropped: Letter }) },
      },
    },
    async ({ params: { number } }) => ({ dropped: await desk.drop(number) }),
  )
}
