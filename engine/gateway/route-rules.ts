import type { RouteOptions } from 'fastify'
import { type TObject, Type } from 'typebox'
import { assert } from '../base/assert.ts'
import type { App } from './app.ts'
import { ErrorForm } from './errors.ts'

/** Answers that every route of the API may give; those of its own stand in its schema. */
const REFUSALS: Readonly<Record<number, string>> = {
  400: 'A parameter is not as the schema says',
  401: 'No key, or none that is known',
  403: 'This key is not for that, or Origin or Host is not allowed',
  429: 'Too many requests: wait as long as Retry-After says',
  503: 'Not now: see code and Retry-After',
}

/**
 * What holds for every route below /v1, so that nobody can forget it: it says who may call it, takes no parameter that its
 * schema does not name, and documents its refusals.
 */
export function addRouteRules(app: App): void {
  app.addHook('onRoute', (route) => {
    if (!route.url.startsWith('/v1/') || route.method === 'HEAD') return
    assert(route.config?.scope !== undefined, `route ${route.url} does not say who may call it (config.scope)`)
    route.schema ??= {}
    if (route.schema.tags?.includes('history')) route.config = { ...route.config, isHistory: true }
    const schema = route.schema as NonNullable<RouteOptions['schema']> & { querystring?: TObject; response?: object }
    // made anew, not spread: what a copy looks like to the compiler has no kind, and converts nothing
    schema.querystring = Type.Object(schema.querystring?.properties ?? {}, { additionalProperties: false })
    schema.response = { ...documented(), ...schema.response }
  })
}

function documented(): Record<number, object> {
  return Object.fromEntries(
    Object.entries(REFUSALS).map(([status, description]) => [status, { ...ErrorForm, description }]),
  )
}
