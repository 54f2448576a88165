import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { App } from './app.ts'

const ABOUT = `Public crypto market data: verified order books, trades, candles, derivatives, and how complete they are.

Numbers of the market are decimal text, exact as the venue sent them. Times are ISO 8601 or whole numbers since the epoch
(s, ms, µs or ns, told apart by their size); answers have ns as text. An instrument is named \`{exchange}.{market}.{symbol}\`,
e.g. \`binance.usdm.BTCUSDT\`. Live data are at the WebSocket \`/v1/stream\`.`

const TAGS = [
  ['books', 'Order books as they are now: verified, or refused with the reason'],
  ['history', 'What is stored: instruments, rows of every kind, candles, books at a point in time, gaps, exports'],
  ['system', 'The engine itself'],
  ['admin', 'What looks into the engine or changes it'],
] as const

/**
 * The OpenAPI document, made of the schemas of the routes, and the pages to browse it. Those set the style of an icon in
 * their markup, which the policy of everything else forbids; scripts are our own there, too.
 */
export async function addDocument(app: App, version: string): Promise<void> {
  await app.register(swagger, {
    refResolver: { buildLocalReference: ({ $id }, _, __, index) => String($id ?? `form-${index}`) },
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'MarketPrism',
        version,
        description: ABOUT,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/', description: 'this gateway' }],
      tags: TAGS.map(([name, description]) => ({ name, description })),
      components: {
        securitySchemes: {
          key: { type: 'http', scheme: 'bearer', description: 'a key from `marketprism keys create`' },
        },
      },
      security: [{ key: [] }],
    },
  })
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    uiConfig: { deepLinking: true },
    theme: { title: 'MarketPrism API' },
    uiHooks: {
      onRequest: (_, reply, done) => {
        const policy = String(reply.getHeader('content-security-policy'))
        reply.header('content-security-policy', policy.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'"))
        done()
      },
    },
  })
  app.get('/v1/openapi.json', { config: { scope: 'public' }, schema: { hide: true } }, async () => app.swagger())
}
