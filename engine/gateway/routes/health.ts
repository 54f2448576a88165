import type { FastifyReply } from 'fastify'
import { Type } from 'typebox'
import type { App } from '../app.ts'
import type { GatewayContext } from '../context.ts'
import type { EngineStatus } from '../engine-link.ts'
import { Recent } from '../recent.ts'

/** Everybody may ask, and each would make somebody else answer: so those who come within this share one answer. */
const GOOD_MS = 500

/** For probes of load balancers and containers: asked without a key, they say nothing but yes or why not in few words. */
export function addHealthRoutes(app: App, { store, engine, clock }: GatewayContext): void {
  const report = Type.Object({ ok: Type.Boolean(), problems: Type.Record(Type.String(), Type.String()) })
  const schema = (operationId: string, summary: string) => ({
    operationId,
    tags: ['system'],
    summary,
    security: [],
    response: { 200: report, 503: report },
  })
  const config = { scope: 'public' } as const
  const say = (reply: FastifyReply, problems: Record<string, string>) => {
    const ok = Object.keys(problems).length === 0
    reply.code(ok ? 200 : 503)
    return { ok, problems }
  }
  const stores = new Recent<boolean>(GOOD_MS, clock)
  const storeProblem = async (): Promise<Record<string, string>> =>
    store === undefined || (await stores.get(() => store.isUp())) ? {} : { clickhouse: 'does not answer' }
  const engines = new Recent<readonly EngineStatus[]>(GOOD_MS, clock)

  app.get('/livez', { config, schema: schema('getLiveness', 'Is this process of use at all?') }, async (_, reply) =>
    say(reply, {}),
  )
  app.get('/readyz', { config, schema: schema('getReadiness', 'Can it answer questions now?') }, async (_, reply) =>
    say(reply, await storeProblem()),
  )
  const summary = 'Can it answer, and is the engine behind it well?'
  app.get('/health', { config, schema: schema('getHealth', summary) }, async (_, reply) => {
    const processes = await engines.get(() => engine.status().catch(() => []))
    const ill = processes.filter(({ health }) => health !== 'healthy')
    const line =
      processes.length === 0 ? 'does not answer' : `${ill.length} of ${processes.length} processes are not well`
    const isWell = processes.length > 0 && ill.length === 0
    return say(reply, { ...(await storeProblem()), ...(isWell ? {} : { engine: line }) })
  })
}
