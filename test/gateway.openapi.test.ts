/** The OpenAPI document against a linter that is not ours, and against the gateway: what it says is what is answered. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createConfig, lintFromString } from '@redocly/openapi-core'
import { Compile } from 'typebox/compile'
import type { TSchema } from 'typebox'
import { temporaryDirectory } from './support/embedded.ts'
import { type Answer, type Ask, askerOf, served } from './support/gateway.ts'
import { historyRig } from './support/history.ts'
import { tradeRows } from './support/blocks.ts'

type Json = Readonly<Record<string, unknown>>

interface Parameter {
  readonly name: string
  readonly in: 'query' | 'path' | 'header'
  readonly required?: boolean
  readonly example?: unknown
  readonly schema: Schema
}

interface Schema {
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly default?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly minItems?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly examples?: readonly unknown[]
  readonly example?: unknown
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
}

interface Operation {
  readonly operationId: string
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly schema: Schema; readonly example?: unknown }>>
  }
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: TSchema }>> }>
  >
}

interface Document {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, TSchema>> }
}

interface Call {
  readonly method: string
  readonly path: string
  readonly operation: Operation
}

const callsOf = ({ paths }: Document): Call[] =>
  Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  )

test('openapi: the document should be valid by the recommended rules of a linter', async (t) => {
  const { get } = await served(t)
  const { text, json } = await get('/v1/openapi.json')
  assert.equal(json.openapi, '3.1.0')
  const config = await createConfig({ extends: ['recommended'] })
  const problems = await lintFromString({ source: text, config, absoluteRef: '/openapi.json' })
  const lines = problems.map(
    ({ severity, ruleId, message, location }) => `${severity} ${ruleId} ${message} ${location[0]?.pointer}`,
  )
  assert.deepEqual(lines, [])
})

test('openapi: every operation should have a name, a summary, tags that are explained, and refusals', async (t) => {
  const { get } = await served(t)
  const { json } = await get('/v1/openapi.json')
  const known = json.tags.map(({ name }: { name: string }) => name)
  for (const { method, path, operation } of callsOf(json)) {
    const { operationId, summary, tags, responses } = operation as unknown as {
      operationId: string
      summary: string
      tags: string[]
      responses: Json
    }
    assert.ok(operationId && summary && tags?.length > 0, `${method} ${path}`)
    assert.deepEqual(
      tags.filter((tag) => !known.includes(tag)),
      [],
      `${method} ${path}: tags without a word`,
    )
    for (const status of ['400', '401', '403', '429', '503'])
      assert.ok(status in responses, `${method} ${path} ${status}`)
  }
})

test('openapi: every route should answer what the document says, to good and to bad questions', async (t) => {
  const rig = await historyRig(t, { letterDirectory: temporaryDirectory(t), security: { localAdmin: true } })
  await rig.put(
    'trades',
    ['binance.usdm.BTCUSDT'],
    tradeRows(20, 1).map((row) => ({ ...row, instrument: 0 })),
  )
  const get = askerOf(rig.url)
  const { json } = await get('/v1/openapi.json')
  const document = json as Document
  const calls = callsOf(document)
  assert.ok(calls.length >= 25, `${calls.length} operations`)
  let bad = 0
  for (const call of calls) {
    const name = `${call.method} ${call.path}`
    const good = await send(get, call, goodValues(call), goodBody(call))
    assert.ok(
      good.status in call.operation.responses,
      `${name}: ${good.status} is not in the document: ${good.text.slice(0, 300)}`,
    )
    assert.notEqual(good.status, 400, `${name} with its own examples: ${good.text}`)
    assert.ok(good.status !== 500, `${name}: ${good.text}`)
    conforms(document, call, good)
    for (const [what, values, body] of badVariants(call)) {
      const answer = await send(get, call, values, body)
      bad++
      assert.ok(
        answer.status >= 400 && answer.status < 500,
        `${name} with ${what}: ${answer.status} ${answer.text.slice(0, 300)}`,
      )
      assert.equal(typeof answer.json?.error?.code, 'string', `${name} with ${what}: ${answer.text}`)
      assert.ok(!answer.json.error.message.includes('\n') && answer.json.error.message.length > 10, answer.text)
    }
  }
  assert.ok(bad > 3 * calls.length, `${bad} bad questions`)
})

type Values = Readonly<Record<string, string>>

/** What the document gives as an example, else what its schema allows. */
function goodValues({ operation }: Call): Values {
  const told = (operation.parameters ?? []).filter(
    ({ required, example, schema }) => required || example !== undefined || schema.enum !== undefined,
  )
  return Object.fromEntries(told.map(({ name, example, schema }) => [name, String(example ?? sample(schema))]))
}

function sample(schema: Schema): unknown {
  const { example, examples, default: byDefault, enum: words, type } = schema
  const said = example ?? examples?.[0] ?? byDefault ?? words?.[0]
  if (said !== undefined) return said
  if (type === 'array') return [sample(schema.items ?? {})]
  if (type === 'object')
    return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, part]) => [name, sample(part)]))
  return type === 'integer' || type === 'number' ? (schema.minimum ?? 1) : 'x'
}

function bodySchema({ operation }: Call): Schema | undefined {
  return operation.requestBody?.content['application/json']?.schema
}

function goodBody(call: Call): unknown {
  const schema = bodySchema(call)
  return schema === undefined
    ? undefined
    : (call.operation.requestBody?.content['application/json']?.example ?? sample(schema))
}

type Variant = readonly [what: string, values: Values, body: unknown]

function badVariants(call: Call): Variant[] {
  const values = goodValues(call)
  const body = goodBody(call)
  const variants: Variant[] = []
  for (const { name, in: place, required, schema } of call.operation.parameters ?? []) {
    for (const wrong of wrongValues(schema))
      variants.push([`${name} = ${wrong.slice(0, 30)}`, { ...values, [name]: wrong }, body])
    if (required === true && place === 'query')
      variants.push([
        `no ${name}`,
        Object.fromEntries(Object.entries(values).filter(([other]) => other !== name)),
        body,
      ])
  }
  if (call.path.startsWith('/v1/')) variants.push(['an unknown parameter', { ...values, nonsense: '1' }, body])
  if (bodySchema(call) !== undefined)
    for (const wrong of [{}, [], 'text', null, { ...(body as object), nonsense: 1 }, wrongTypes(body)])
      variants.push([`body ${JSON.stringify(wrong)}`, values, wrong])
  return variants
}

function wrongValues({ type, enum: words, minimum, maximum, maxLength, pattern }: Schema): string[] {
  if (words !== undefined) return ['nonsense', '']
  if (type === 'integer' || type === 'number')
    return [
      'abc',
      '1.5e',
      ...(minimum === undefined ? [] : [String(minimum - 1)]),
      ...(maximum === undefined || maximum >= Number.MAX_SAFE_INTEGER ? [] : [String(maximum + 1)]),
    ]
  if (pattern !== undefined) return ['no such form']
  return maxLength === undefined ? [] : ['x'.repeat(maxLength + 1)]
}

const wrongTypes = (body: unknown): Json =>
  Object.fromEntries(Object.keys(body as object).map((name) => [name, { no: 1 }]))

function send(get: Ask, { method, path, operation }: Call, values: Values, body: unknown): Promise<Answer> {
  const places = new Map((operation.parameters ?? []).map((parameter) => [parameter.name, parameter.in]))
  const query = new URLSearchParams()
  let url = path
  for (const [name, value] of Object.entries(values))
    if (places.get(name) === 'path') url = url.replace(`{${name}}`, encodeURIComponent(value))
    else query.set(name, value)
  const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
  return get(query.size === 0 ? url : `${url}?${query}`, { method, ...json })
}

/** The body is of the form that the document gives for this status. */
function conforms({ components }: Document, { method, path, operation }: Call, answer: Answer): void {
  const schema = operation.responses[answer.status]?.content?.['application/json']?.schema
  if (schema === undefined || answer.json === undefined) return
  const whole = withoutRefs(schema, components.schemas)
  const check = Compile(whole)
  const [first] = check.Errors(answer.json)
  assert.ok(
    check.Check(answer.json),
    `${method} ${path} ${answer.status}: ${first?.instancePath} ${first?.message}: ${answer.text.slice(0, 300)}`,
  )
}

function withoutRefs(schema: unknown, known: Readonly<Record<string, unknown>>): TSchema {
  const text = JSON.stringify(schema, (_, value) =>
    typeof value?.$ref === 'string' ? known[value.$ref.split('/').at(-1)] : value,
  )
  return JSON.parse(text)
}
