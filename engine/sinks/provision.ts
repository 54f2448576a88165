import { randomUUID } from 'node:crypto'
import type { ClickHouseClient } from '@clickhouse/client'
import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import {
  createDatabaseStatement,
  createTableStatement,
  quotedName,
  type StorageOptions,
  type StoredTable,
  storedTables,
} from '../record/tables.ts'
import { type StoredView, storedViews } from '../record/views.ts'
import { type Difference, type FoundTable, tableDifferences } from './drift.ts'

/**
 * Brings the tables of ClickHouse to the schema: creates what is missing, adds what can be added without touching rows,
 * refuses the rest with one line a difference. Running it again changes nothing.
 */
export interface ProvisionOptions {
  readonly storage: StorageOptions
  /** False only compares: any difference that needs a change is a Fault, for places where an operator makes the tables. */
  readonly mayChange: boolean
}

/** What was found and done; each line is one sentence. */
export interface ProvisionReport {
  readonly created: string[]
  readonly changed: string[]
  readonly notes: string[]
}

/** @throws Fault SCHEMA_DRIFT with every difference that cannot be mended here. */
export async function provisionTables(client: ClickHouseClient, options: ProvisionOptions): Promise<ProvisionReport> {
  const { storage, mayChange } = options
  const report: ProvisionReport = { created: [], changed: [], notes: [] }
  if (mayChange) await runStatement(client, createDatabaseStatement(storage.database))
  const { missing, missingViews, replacedViews, differences } = await readDrift(client, storage)
  refuseDrift(storage.database, differences, [...missing, ...missingViews], mayChange) // before the first change: all or nothing
  for (const table of missing) {
    await runStatement(client, createTableStatement(table, storage.database))
    report.created.push(`table ${storage.database}.${table.name}`)
  }
  for (const difference of differences) {
    if (difference.verdict === 'note') report.notes.push(difference.text)
    if (difference.statement === null) continue
    await runStatement(client, difference.statement)
    report.changed.push(`${difference.text}: changed by ${difference.statement}`)
  }
  for (const view of missingViews) {
    await runStatement(client, view.create)
    const line = `view ${storage.database}.${view.name}`
    if (replacedViews.includes(view)) report.changed.push(`${line} had another definition`)
    else report.created.push(line)
  }
  return report
}

/** How the database differs from the schema. */
export interface Drift {
  readonly missing: readonly StoredTable[]
  /** not there, or of another definition */
  readonly missingViews: readonly StoredView[]
  /** those of them that are there */
  readonly replacedViews: readonly StoredView[]
  readonly differences: readonly Difference[]
}

/** Only looks. */
export async function readDrift(client: ClickHouseClient, storage: StorageOptions): Promise<Drift> {
  const wanted = storedTables(storage)
  const found = await readTables(client, storage.database)
  const missingViews = storedViews(storage.database).filter((view) => found.get(view.name)?.comment !== view.comment)
  return {
    missing: wanted.filter((table) => !found.has(table.name)),
    missingViews,
    replacedViews: missingViews.filter((view) => found.has(view.name)),
    differences: wanted.flatMap((table) => {
      const there = found.get(table.name)
      return there === undefined ? [] : tableDifferences(storage.database, table, there)
    }),
  }
}

/** How many tables a store has still to make; asks for nothing that a reader may not see. */
export async function missingTables(client: ClickHouseClient, storage: StorageOptions): Promise<number> {
  const answer = await client.query({
    query: 'SELECT name FROM system.tables WHERE database = {database:String}',
    query_params: { database: storage.database },
    format: 'JSONEachRow',
  })
  const there = new Set((await answer.json<{ name: string }>()).map(({ name }) => name))
  return storedTables(storage).filter(({ name }) => !there.has(name)).length
}

/**
 * Does this server keep what exactly-once rests on? Inserts a block twice under one token into a table of its own.
 * @returns true when one row came out.
 */
export async function provesDeduplication(client: ClickHouseClient, database: string): Promise<boolean> {
  const id = randomUUID()
  const table = `${quotedName(database)}.${quotedName(`dedupe_probe_${id.slice(0, 8)}`)}`
  await runStatement(
    client,
    `CREATE TABLE ${table} (id String) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10`,
  )
  try {
    for (let time = 0; time < 2; time++) {
      await client.insert({
        table,
        values: [{ id }],
        format: 'JSONEachRow',
        clickhouse_settings: { insert_deduplication_token: id, async_insert: 0 },
      })
    }
    const answer = await client.query({ query: `SELECT count() AS rows FROM ${table}`, format: 'JSONEachRow' })
    const [row] = await answer.json<{ rows: string | number }>()
    return Number(row?.rows) === 1
  } finally {
    await runStatement(client, `DROP TABLE IF EXISTS ${table}`)
  }
}

function refuseDrift(
  database: string,
  differences: readonly Difference[],
  missing: readonly (StoredTable | StoredView)[],
  mayChange: boolean,
): void {
  const refused = differences.filter((difference) => difference.verdict === 'refuse')
  if (refused.length > 0) {
    throw new Fault(
      'SCHEMA_DRIFT',
      `${refused.map((difference) => difference.text).join('; ')}: rename the table away (RENAME TABLE … TO …_old) and start again, or use another database than ${database}`,
      EXIT_CONFIG,
    )
  }
  if (mayChange) return
  const undone = [
    ...missing.map((one) => `${'create' in one ? 'view' : 'table'} ${database}.${one.name} is missing or old`),
    ...differences.flatMap((difference) =>
      difference.statement === null ? [] : [`${difference.text} (${difference.statement})`],
    ),
  ]
  if (undone.length > 0) {
    throw new Fault(
      'SCHEMA_DRIFT',
      `${undone.join('; ')}: let the engine provision, or run these statements yourself`,
      EXIT_CONFIG,
    )
  }
}

async function runStatement(client: ClickHouseClient, statement: string): Promise<void> {
  try {
    await client.command({ query: statement })
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    throw new Fault(
      'PROVISION_FAILED',
      `ClickHouse refused ${JSON.stringify(statement.split('\n')[0])} (${code ?? '?'}: ${message.split('\n')[0]}): check the server's version and the rights of its user`,
    )
  }
}

async function readTables(client: ClickHouseClient, database: string): Promise<Map<string, FoundTable>> {
  const read = async <T>(query: string): Promise<T[]> => {
    const answer = await client.query({ query, query_params: { database }, format: 'JSONEachRow' })
    return await answer.json<T>()
  }
  type TableRow = { name: string; engineFull: string; partitionKey: string; sortingKey: string; comment: string }
  type ColumnRow = {
    table: string
    name: string
    type: string
    defaultKind: string
    defaultExpression: string
    codec: string
  }
  const tables = await read<TableRow>(
    'SELECT name, engine_full AS engineFull, partition_key AS partitionKey, sorting_key AS sortingKey, comment FROM system.tables WHERE database = {database:String}',
  )
  const columns = await read<ColumnRow>(
    'SELECT table, name, type, default_kind AS defaultKind, default_expression AS defaultExpression, compression_codec AS codec FROM system.columns WHERE database = {database:String} ORDER BY table, position',
  )
  const indexes = await read<{ table: string; name: string }>(
    'SELECT table, name FROM system.data_skipping_indices WHERE database = {database:String}',
  )
  return new Map(
    tables.map((table) => [
      table.name,
      {
        engineFull: table.engineFull,
        partitionKey: table.partitionKey,
        sortingKey: table.sortingKey,
        comment: table.comment,
        columns: columns.filter((column) => column.table === table.name),
        indexNames: indexes.filter((index) => index.table === table.name).map((index) => index.name),
      },
    ]),
  )
}
