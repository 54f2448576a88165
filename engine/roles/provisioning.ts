/** What a start does with its servers: streams and tables as the schema has them, and what exactly-once rests on is there. */
import type { Config } from '../base/config.ts'
import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { checkClickHouse, type ClickHouseOptions, createClickHouseClient } from '../sinks/clickhouse.ts'
import { connectNats, type NatsOptions } from '../sinks/nats.ts'
import { type ProvisionReport, provesDeduplication, provisionTables } from '../sinks/provision.ts'
import { provisionStreams } from '../sinks/provision-streams.ts'
import { consumerShapes, storageOptions, streamOptions } from './settings.ts'

/** The anchor of a book, 5,000 levels a side of 16 bytes each, is one row of 160 kB; a block has one row at least. */
export const PAYLOAD_BYTES_MIN = 256 * 1024

/** The first question is a trivial one: a server that has no answer to it in this time is away. */
const ANSWER_MS_MAX = 5_000

/**
 * @returns how long a message may be.
 * @throws Fault NATS_PAYLOAD when the largest row does not fit: rows cannot be split, and a block would wait for ever.
 */
export async function provisionNats(config: Config, nats: NatsOptions, log: Log): Promise<number> {
  const connection = await connectNats(nats, 'marketprism provision')
  try {
    const payloadBytesMax = connection.info?.max_payload ?? Number.POSITIVE_INFINITY
    if (payloadBytesMax < PAYLOAD_BYTES_MIN)
      throw new Fault(
        'NATS_PAYLOAD',
        `NATS at ${nats.url} takes messages of ${payloadBytesMax} bytes, the row of a whole book may need ${PAYLOAD_BYTES_MIN}: raise max_payload in nats.conf`,
        EXIT_CONFIG,
      )
    const manager = await connection.jetstreamManager().catch((error: Error) => {
      throw jetStreamFault(error, nats)
    })
    tell(log, await provisionStreams(manager, streamOptions(config), ...consumerShapes(config)))
    return payloadBytesMax
  } finally {
    await connection.close()
  }
}

/** No stream was asked for yet: the server, the account or the user has no JetStream, or it does not answer. */
function jetStreamFault(error: Error, { url }: NatsOptions): Fault {
  const remedy = "start it with -js, and give this user's account JetStream and the user the right to $JS.API.INFO"
  return new Fault('NATS_JETSTREAM', `NATS at ${url} gives no JetStream (${error.message}): ${remedy}`, undefined, {
    cause: error,
  })
}

export async function provisionClickHouse(config: Config, options: ClickHouseOptions, log: Log): Promise<void> {
  await askOnce(options)
  const client = createClickHouseClient({ ...options, database: 'default' }) // ours may not be there yet
  try {
    const report = await provisionTables(client, { storage: storageOptions(config), mayChange: true })
    if (!(await provesDeduplication(client, options.database)))
      log.error(
        { url: options.url },
        'this ClickHouse does not deduplicate inserts by token: a block sent twice is stored twice',
      )
    tell(log, report)
  } finally {
    await client.close()
  }
}

async function askOnce(options: ClickHouseOptions): Promise<void> {
  const requestTimeoutMs = Math.min(options.requestTimeoutMs, ANSWER_MS_MAX)
  const client = createClickHouseClient({ ...options, requestTimeoutMs, database: 'default' })
  await checkClickHouse(client, options).finally(() => client.close())
}

function tell(log: Log, { created, changed, notes }: ProvisionReport): void {
  for (const line of created) log.info({ created: line }, 'provisioned')
  for (const line of changed) log.warn({ changed: line }, 'provisioned')
  for (const line of notes) log.info({ note: line }, 'provisioned')
}
