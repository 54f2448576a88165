import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import type { App } from './app.ts'
import type { GatewayContext } from './context.ts'
import { addErrorForm } from './errors.ts'
import { addRouteRules } from './route-rules.ts'
import { addSystemRoutes } from './routes/system.ts'
import { addDoor } from './security/door.ts'

/** Every part of the API: one line. */
const ROUTES: readonly ((app: App, context: GatewayContext) => void | Promise<void>)[] = [addSystemRoutes]

/** The HTTP side. Every route has a schema: it checks what comes in, and the OpenAPI document is made of it. */
export async function createApp(context: GatewayContext): Promise<App> {
  const app = Fastify({ logger: false, return503OnClosing: true })
    .setValidatorCompiler(TypeBoxValidatorCompiler)
    .withTypeProvider<TypeBoxTypeProvider>()
  addErrorForm(app, context.log)
  addRouteRules(app)
  addDoor(app, context)
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'MarketPrism', version: context.settings.version, description: 'Public crypto market data' },
    },
  })
  await app.register(swaggerUi, { routePrefix: '/docs' })
  for (const add of ROUTES) await add(app, context)
  return app
}
