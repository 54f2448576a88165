import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import type { GatewayContext } from './context.ts'
import type { App } from './app.ts'
import { addSystemRoutes } from './routes/system.ts'

/** The HTTP side. Every route has a schema: it checks what comes in, and the OpenAPI document is made of it. */
export async function createApp(context: GatewayContext): Promise<App> {
  const app = Fastify({ logger: false })
    .setValidatorCompiler(TypeBoxValidatorCompiler)
    .withTypeProvider<TypeBoxTypeProvider>()
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'MarketPrism', version: context.settings.version, description: 'Public crypto market data' },
    },
  })
  await app.register(swaggerUi, { routePrefix: '/docs' })
  addSystemRoutes(app, context)
  return app
}
