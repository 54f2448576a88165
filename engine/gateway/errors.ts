import type { FastifyError, FastifyReply, FastifyRequest, FastifySchemaValidationError } from 'fastify'
import { Type } from 'typebox'
import { Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { nearest } from '../base/nearest.ts'
import type { App } from './app.ts'
import { HttpFault } from './http-fault.ts'
import { withoutKeys } from './security/keys.ts'

/** The form of every answer that is no. */
export const ErrorForm = Type.Object(
  {
    error: Type.Object(
      {
        code: Type.String({ description: 'stable word for programs' }),
        message: Type.String({ description: 'one line for people: thing, value, remedy' }),
      },
      { additionalProperties: true },
    ),
  },
  {
    title: 'Error',
    examples: [{ error: { code: 'not_found', message: 'GET /v1/nothing is not here' } }],
  },
)

/** From another process than that which was asked: nobody shall wait for it longer than this. */
const ENGINE_RETRY_S = 5
const VALUE_CHARS_MAX = 80

/** Makes everything that goes wrong an answer of one form. What we did not expect is logged, and not told. */
export function addErrorForm(app: App, log: Log): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const fault = faultOf(error, request)
    if (fault.status >= 500 && !(error instanceof HttpFault))
      log.error({ route: request.routeOptions.url, reason: error.message, stack: error.stack }, 'a request failed')
    return sendFault(reply, fault)
  })
  app.setNotFoundHandler((request, reply) => sendFault(reply, notFound(request)))
}

export function sendFault(reply: FastifyReply, fault: HttpFault): FastifyReply {
  if (fault.retryAfterSeconds !== undefined) reply.header('retry-after', fault.retryAfterSeconds)
  if (fault.status === 401) reply.header('www-authenticate', 'Bearer realm="marketprism"')
  return reply.code(fault.status).type('application/json; charset=utf-8').serializer(keyless).send(fault.body)
}

/** A message may repeat what was asked, and somebody may have put a key where a name belongs. */
const keyless = (body: unknown): string => withoutKeys(JSON.stringify(body))

function notFound(request: FastifyRequest): HttpFault {
  const path = shown(request.url.split('?', 1)[0] ?? '')
  return new HttpFault(404, 'not_found', `${request.method} ${path} is not here; what is: /v1/openapi.json, /docs`)
}

function faultOf(error: FastifyError, request: FastifyRequest): HttpFault {
  if (error instanceof HttpFault) return error
  if (error instanceof Fault) return new HttpFault(503, 'engine_unavailable', error.message, {}, ENGINE_RETRY_S)
  if (error.validation !== undefined) return invalid(error.validation, error.validationContext ?? '', request)
  return knownFault(error)
}

/** What Fastify itself refuses, before or without a route. */
export function knownFault(error: FastifyError): HttpFault {
  const known = KNOWN[error.code]
  if (known !== undefined) return new HttpFault(...known)
  const status = error.statusCode ?? 500
  if (status >= 400 && status < 500) return new HttpFault(status, 'bad_request', shown(error.message))
  return new HttpFault(500, 'internal', 'this is a mistake of ours; the log of the gateway says more')
}

/** Refusals of Fastify itself, in our words. */
const KNOWN: Readonly<Record<string, [status: number, code: string, message: string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: [413, 'body_too_large', 'the body is too large: send fewer things at once'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [415, 'media_type', 'the body has to be JSON: send content-type: application/json'],
  FST_ERR_CTP_EMPTY_JSON_BODY: [400, 'invalid_body', 'the body is empty: send JSON, or no content-type'],
  FST_ERR_CTP_INVALID_JSON_BODY: [400, 'invalid_body', 'the body is no JSON'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [400, 'invalid_body', 'the body is not as long as its content-length says'],
  FST_ERR_BAD_URL: [400, 'bad_url', 'the path is no valid URL: encode it'],
}

interface PartSchema {
  readonly properties?: Readonly<Record<string, ParameterSchema>>
}

interface ParameterSchema {
  readonly type?: string
  readonly description?: string
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly anyOf?: readonly ParameterSchema[]
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
}

const PARTS: Readonly<Record<string, 'querystring' | 'params' | 'body' | 'headers'>> = {
  querystring: 'querystring',
  params: 'params',
  body: 'body',
  headers: 'headers',
}

/** The parameter, its value, and what is allowed. */
function invalid(errors: readonly FastifySchemaValidationError[], context: string, request: FastifyRequest): HttpFault {
  const part = PARTS[context] ?? 'querystring'
  const properties = (request.routeOptions.schema?.[part] as PartSchema | undefined)?.properties ?? {}
  const values = ((part === 'querystring' ? request.query : request[part]) ?? {}) as Readonly<Record<string, unknown>>
  const unknown = Object.keys(values).find((name) => part !== 'headers' && !Object.hasOwn(properties, name))
  if (unknown !== undefined && typeof values === 'object') return unknownName(unknown, Object.keys(properties), context)
  const name = nameOf(errors[0], properties)
  const value = Object.hasOwn(values, name) ? values[name] : undefined
  const allowed = allowedOf(properties[name]) ?? errors[0]?.message ?? 'something else'
  const told = value === undefined ? `${name || context} is missing` : `${name} = ${shown(JSON.stringify(value))}`
  return new HttpFault(400, 'invalid_parameter', `${told}: allowed is ${allowed}`, { parameter: name || context })
}

function unknownName(name: string, known: readonly string[], context: string): HttpFault {
  const guess = nearest(name, known)
  const remedy =
    guess !== null
      ? `did you mean ${guess}?`
      : known.length > 0
        ? `there are ${known.join(', ')}`
        : 'there are none here'
  const thing = context === 'body' ? 'unknown property' : 'unknown parameter'
  return new HttpFault(400, 'unknown_parameter', `${thing} ${shown(name)}: ${remedy}`, { parameter: shown(name) })
}

function nameOf(error: FastifySchemaValidationError | undefined, properties: object): string {
  const missing = error?.params.requiredProperties ?? error?.params.missingProperty
  const first = Array.isArray(missing) ? missing[0] : missing
  const inPath = error?.instancePath.split('/')[1] ?? ''
  if (inPath !== '') return inPath
  return typeof first === 'string' && Object.hasOwn(properties, first) ? first : ''
}

/** What a schema allows, in words: those of its description where it has one. */
function allowedOf(schema: ParameterSchema | undefined): string | undefined {
  if (schema === undefined) return undefined
  const words = schema.enum ?? schema.anyOf?.flatMap((option) => (option.const === undefined ? [] : [option.const]))
  if (words !== undefined && words.length > 0) return words.join(', ')
  if (schema.type === 'integer' || schema.type === 'number') {
    const kind = schema.type === 'integer' ? 'a whole number' : 'a number'
    return schema.minimum === undefined ? kind : `${kind}, ${schema.minimum} … ${schema.maximum ?? ''}`.trimEnd()
  }
  return schema.description
}

/** Text that came from outside: short, without what a terminal would obey, and without a key that somebody put there. */
export function shown(text: string): string {
  const clean = withoutKeys(text).replace(/[^\x20-\x7e]/g, '?')
  return clean.length > VALUE_CHARS_MAX ? `${clean.slice(0, VALUE_CHARS_MAX)}...` : clean
}
