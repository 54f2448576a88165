import { Type } from 'typebox'
import type { App } from '../app.ts'
import type { GatewayContext } from '../context.ts'
import type { CollectorStatus, EngineStatus } from '../engine-link.ts'
import { shared } from '../history/answer.ts'
import { Collected, CollectorPlan, Connection, Job, Process, Shard } from './system-forms.ts'

const read = { scope: 'read' } as const
const tags = ['system']
/** Pages ask every 2 s. */
const STATUS_GOOD_MS = 250

/** What the engine is and does. */
export function addSystemRoutes(app: App, { engine, jobs, clock, answers }: GatewayContext): void {
  app.get(
    '/v1/status',
    {
      config: read,
      schema: {
        operationId: 'getStatus',
        tags,
        summary: 'Every process of the engine and how it is',
        response: {
          200: Type.Object({
            nowMs: Type.Number({ description: 'ms since the epoch' }),
            pressure: Type.Number({
              description: 'overload here: 1 backfill waits, 2 history is refused, 3 candles wait',
            }),
            processes: Type.Array(Process),
          }),
        },
      },
    },
    (request, reply) =>
      shared(answers, reply, { question: request.url, goodMs: STATUS_GOOD_MS }, async () => ({
        nowMs: Math.round(clock.nowMs()),
        pressure: engine.pressure(),
        processes: await engine.status(),
      })),
  )
  app.get(
    '/v1/roles',
    {
      config: read,
      schema: {
        operationId: 'getRoles',
        tags,
        summary: 'Which process has which roles',
        response: { 200: Type.Object({ roles: Type.Array(RoleForm) }) },
      },
    },
    async () => ({ roles: (await engine.status()).flatMap(rolesOf) }),
  )
  app.get(
    '/v1/connections',
    {
      config: read,
      schema: {
        operationId: 'getConnections',
        tags,
        summary: 'Connections of every collector to the venues',
        response: {
          200: Type.Object({
            connections: Type.Array(Type.Intersect([Type.Object({ producer: Type.String() }), Connection])),
          }),
        },
      },
    },
    async () => ({
      connections: (await collectors(engine)).flatMap(({ producer, connections }) =>
        connections.map((connection) => ({ producer, ...connection })),
      ),
    }),
  )
  app.get(
    '/v1/shards',
    {
      config: read,
      schema: {
        operationId: 'getShards',
        tags,
        summary: 'Shards of every collector',
        response: {
          200: Type.Object({ shards: Type.Array(Type.Intersect([Type.Object({ producer: Type.String() }), Shard])) }),
        },
      },
    },
    async () => ({
      shards: (await collectors(engine)).flatMap(({ producer, shards }) =>
        shards.map((shard) => ({ producer, ...shard })),
      ),
    }),
  )
  app.get(
    '/v1/plan',
    {
      config: read,
      schema: {
        operationId: 'getPlan',
        tags,
        summary: 'Which connection carries what, and what the start was estimated to cost',
        response: { 200: Type.Object({ plans: Type.Array(CollectorPlan) }) },
      },
    },
    async () => ({ plans: [...(await engine.plan())] as never[] }),
  )
  app.get(
    '/v1/jobs',
    {
      config: read,
      schema: {
        operationId: 'getJobs',
        tags,
        summary: 'What this gateway does by itself, again and again',
        response: { 200: Type.Object({ jobs: Type.Array(Job) }) },
      },
    },
    async () => ({ jobs: jobs.status() }),
  )
  app.get(
    '/v1/subscriptions',
    {
      config: read,
      schema: {
        operationId: 'getSubscriptions',
        tags,
        summary: 'Every instrument that is collected now',
        response: { 200: Type.Object({ collectors: Type.Array(Collected) }) },
      },
    },
    async () => ({ collectors: [...(await engine.collected())] as never[] }),
  )
}

const RoleForm = Type.Object({
  role: Type.String(),
  process: Type.String(),
  pid: Type.Number(),
  version: Type.String(),
  health: Type.String(),
})

function rolesOf({ roles, name, pid, version, health }: EngineStatus) {
  return roles.map((role) => ({ role, process: name, pid, version, health }))
}

async function collectors(engine: GatewayContext['engine']): Promise<CollectorStatus[]> {
  return (await engine.status()).flatMap(({ collector }) => (collector === undefined ? [] : [collector]))
}
