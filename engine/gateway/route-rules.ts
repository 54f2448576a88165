import type { RouteOptions } from 'fastify'
import { type TObject, Type } from 'typebox'
import { assert } from '../base/assert.ts'
import type { App } from './app.ts'
import { ErrorForm } from './errors.ts'

/** Answers that every documented route may give; those of its own stand in its schema. */
const REFUSALS: Readonly<Record<number, string>> = {
  400: 'A parameter is not as the schema says',
  401: 'No key, or none that is known',
  403: 'This key is not for that, or Origin is not allowed',
  404: 'Nothing of that name is here',
  429: 'Too many requests: wait as long as Retry-After says',
  503: 'Not now: see code and Retry-After',
}

/**
 * What holds for every route, so that nobody can forget it: below /v1 it says who may call it and takes no parameter that
 * its schema does not name; where it is documented, its refusals are, too.
 */
export function addRouteRules(app: App): void {
  app.addSchema({ ...ErrorForm, $id: 'Error' })
  app.addHook('onRoute', (route) => {
    if (route.method === 'HEAD') return
    route.schema ??= {}
    const schema = route.schema as NonNullable<RouteOptions['schema']> & {
      querystring?: TObject
      response?: object
    }
    if (schema.operationId !== undefined) schema.response = { ...refusals(), ...schema.response }
    if (!route.url.startsWith('/v1/')) return
    assert(route.config?.scope !== undefined, `route ${route.url} does not say who may call it (config.scope)`)
    if (schema.tags?.includes('history')) route.config = { ...route.config, isHistory: true }
    // made anew, not spread: what a copy looks like to the compiler has no kind, and converts nothing
    schema.querystring = Type.Object(schema.querystring?.properties ?? {}, { additionalProperties: false })
  })
}

function refusals(): Record<string, object> {
  const content = { 'application/json': { schema: Type.Ref('Error#') } }
  return Object.fromEntries(Object.entries(REFUSALS).map(([status, description]) => [status, { description, content }]))
}
