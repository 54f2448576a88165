import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import type { App } from './app.ts'
import type { GatewayContext } from './context.ts'
import { addDocument } from './document.ts'
import { addErrorForm, knownFault, sendFault } from './errors.ts'
import { addRouteRules } from './route-rules.ts'
import { addAdminRoutes } from './routes/admin.ts'
import { addBookRoutes } from './routes/book.ts'
import { addBookAtRoutes } from './routes/book-at.ts'
import { addCoverageRoutes } from './routes/coverage.ts'
import { addExportRoutes } from './routes/export.ts'
import { addGapRoutes } from './routes/gaps.ts'
import { addHealthRoutes } from './routes/health.ts'
import { addInstrumentRoutes } from './routes/instruments.ts'
import { addKlineRoutes } from './routes/klines.ts'
import { addPageRoutes } from './routes/page.ts'
import { addSeriesRoutes } from './routes/series.ts'
import { addSystemRoutes } from './routes/system.ts'
import type { Door } from './security/door.ts'
import { addEntrance } from './security/entrance.ts'
import { answerMalformed, BODY_BYTES_MAX, createListener, URL_BYTES_MAX } from './security/listener.ts'
import { turnstile } from './security/turnstile.ts'

/** Every part of the API: one line. */
const ROUTES: readonly ((app: App, context: GatewayContext) => void | Promise<void>)[] = [
  addHealthRoutes,
  addSystemRoutes,
  addBookRoutes,
  addAdminRoutes,
  addInstrumentRoutes,
  addSeriesRoutes,
  addGapRoutes,
  addBookAtRoutes,
  addExportRoutes,
  addCoverageRoutes,
  addKlineRoutes,
  addPageRoutes,
]

/** The HTTP side. Every route has a schema: it checks what comes in, and the OpenAPI document is made of it. */
export async function createApp(context: GatewayContext, door: Door): Promise<App> {
  const { settings, counts, log } = context
  const app: App = Fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    return503OnClosing: true,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: URL_BYTES_MAX }, // schemas say better what is too long
    frameworkErrors: (error, _, reply) => void sendFault(reply, knownFault(error)),
    serverFactory: (answer) =>
      createListener(turnstile(answer, door, counts, settings.security.origins), settings.security, counts, log),
    clientErrorHandler: (error, socket) => answerMalformed(error, socket, counts),
  })
    .setValidatorCompiler(TypeBoxValidatorCompiler)
    .withTypeProvider<TypeBoxTypeProvider>()
  addErrorForm(app, log)
  addRouteRules(app)
  await addEntrance(app, context, door)
  await addDocument(app, settings.version)
  for (const add of ROUTES) await add(app, context)
  return app
}
