import { Type } from 'typebox'
import type { App } from '../app.ts'
import type { GatewayContext } from '../context.ts'

/** What the engine is and does. */
export function addSystemRoutes(app: App, { engine }: GatewayContext): void {
  app.get(
    '/v1/status',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getStatus',
        tags: ['system'],
        summary: 'Every process of the engine and how it is',
        response: { 200: Type.Object({ processes: Type.Array(Type.Any()) }) },
      },
    },
    async () => ({ processes: [...(await engine.status())] }),
  )
}
