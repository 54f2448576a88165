/**
 * The schema as the databases want it: ClickHouse tables, JetStream streams and consumers, subjects. Pure functions;
 * sinks/provision.ts carries them out.
 *
 * What a fact table is made of, and why:
 *
 *   columns   exchange, market, symbol | received_ns, the table's own | producer, epoch, block_seq, row_in_block
 *   engine    ReplacingMergeTree(received_ns): rows of one key are one fact; the row received last stays (FINAL)
 *   key       exchange, market, symbol, then the venue's id: never only a time, two facts may share one
 *   parts     one a UTC day of received_ns. A block never spans days, so an insert is one part: whole or absent
 *   index     min and max of received_ns a granule, for ranges of time where the key has none
 *   dedupe    the server remembers the tokens of the last inserts; a block sent twice is stored once
 */
import {
  BAR_KEY,
  BAR_VALUES,
  BAR_VERSION,
  HOUR_BAR_KEY,
  HOUR_MARK_KEY,
  HOUR_MARK_VALUES,
  HOUR_MARK_VERSION,
} from './bars.ts'
import type { StoredColumn, Table } from './schema-columns.ts'
import { BLOCK_LEDGER, ROW_HEAD, ROW_IDENTITY, TABLES } from './schema.ts'

export interface StorageOptions {
  readonly database: string
  /** Rows older than this many days are dropped with their whole part; 0 keeps them for ever. */
  readonly ttlDays: number
  /** How many inserts the server remembers. At least four times the blocks that can be sent again after a crash. */
  readonly dedupeWindowInserts: number
  /** The server syncs every insert to disk before it acknowledges (8 ms instead of 5 each). */
  readonly syncInserts: boolean
}

/** A column that is computed when read. */
export interface StoredAlias {
  readonly name: string
  readonly type: string
  readonly expression: string
}

/** A table as ClickHouse has it: all that the DDL says and all that drift is measured by. */
export interface StoredTable {
  readonly name: string
  readonly comment: string
  readonly columns: readonly StoredColumn[]
  readonly aliases: readonly StoredAlias[]
  readonly engine: string
  readonly partitionBy: string
  readonly orderBy: readonly string[]
  readonly indexes: readonly {
    readonly name: string
    readonly expression: string
    readonly type: string
    readonly granularity: number
  }[]
  readonly ttl: string | null
  readonly settings: Readonly<Record<string, string>>
}

const INSTRUMENT_COLUMNS: readonly StoredColumn[] = [
  { name: 'exchange', type: 'LowCardinality(String)', codec: 'ZSTD(1)', comment: 'e.g. binance' },
  { name: 'market', type: 'LowCardinality(String)', codec: 'ZSTD(1)', comment: 'e.g. usdm' },
  { name: 'symbol', type: 'LowCardinality(String)', codec: 'ZSTD(1)', comment: "in the venue's spelling" },
]

/** Columns of a fact table in the order in which the store inserts them. */
export function storedColumns(table: Table): readonly StoredColumn[] {
  const own = [...ROW_HEAD.filter((column) => column.name !== 'instrument'), ...table.columns]
  return [
    ...INSTRUMENT_COLUMNS,
    ...own.map((column) => ({
      name: column.name,
      type: column.clickhouse ?? column.type,
      codec: column.codec,
      comment: column.comment,
    })),
    ...ROW_IDENTITY.map((column) => ({
      name: column.name,
      type: column.clickhouse,
      codec: column.codec,
      comment: column.comment,
    })),
  ]
}

function settingsOf(options: StorageOptions): Record<string, string> {
  return {
    non_replicated_deduplication_window: String(options.dedupeWindowInserts),
    ...(options.syncInserts ? { fsync_after_insert: '1', fsync_part_directory: '1' } : {}),
    ...(options.ttlDays > 0 ? { ttl_only_drop_parts: '1' } : {}),
  }
}

function ttlOf(timeColumn: string, options: StorageOptions): string | null {
  return options.ttlDays > 0 ? `toDateTime(${timeColumn}) + toIntervalDay(${options.ttlDays})` : null
}

function factTable(table: Table, options: StorageOptions): StoredTable {
  return {
    name: table.name,
    comment: table.comment,
    columns: storedColumns(table),
    aliases: table.aliases.map((alias) => ({ name: alias.name, type: alias.clickhouse, expression: alias.expression })),
    engine: 'ReplacingMergeTree(received_ns)',
    partitionBy: 'toYYYYMMDD(received_ns)',
    orderBy: ['exchange', 'market', 'symbol', ...table.orderBy],
    indexes: [{ name: 'received', expression: 'received_ns', type: 'minmax', granularity: 1 }],
    ttl: ttlOf('received_ns', options),
    settings: { ...settingsOf(options), ...(hasNullableKey(table) ? { allow_nullable_key: '1' } : {}) },
  }
}

/** A number that a venue may leave out can still tell two rows apart. */
function hasNullableKey({ columns, orderBy }: Table): boolean {
  return columns.some(({ name, type }) => type === 'Decimal' && orderBy.includes(name))
}

function ledgerTable(options: StorageOptions): StoredTable {
  return {
    name: 'blocks',
    comment: 'One row a stored block: what must be in the fact tables. Read with FINAL',
    columns: BLOCK_LEDGER.map((column) => ({
      name: column.name,
      type: column.clickhouse,
      codec: column.codec,
      comment: column.comment,
    })),
    aliases: [],
    engine: 'ReplacingMergeTree(stored_ns)',
    partitionBy: 'toYYYYMMDD(first_received_ns)',
    orderBy: ['producer', 'epoch', 'block_seq'],
    indexes: [],
    ttl: ttlOf('first_received_ns', options),
    settings: settingsOf(options),
  }
}

/** Not facts but made of them: see bars.ts. The part of a row is a matter of its key, so FINAL need not look beyond it. */
function madeTable(
  { name, comment, key, values, version }: MadeTable,
  timeColumn: string,
  options: StorageOptions,
): StoredTable {
  return {
    name,
    comment,
    columns: [...key, ...values, version],
    aliases: [],
    engine: `ReplacingMergeTree(${version.name})`,
    partitionBy: `toYYYYMMDD(${timeColumn})`,
    orderBy: key.map((column) => column.name),
    indexes: [],
    ttl: ttlOf(timeColumn, options),
    settings: settingsOf(options),
  }
}

interface MadeTable {
  readonly name: string
  readonly comment: string
  readonly key: readonly StoredColumn[]
  readonly values: readonly StoredColumn[]
  readonly version: StoredColumn
}

const TRADE_BARS: MadeTable = {
  name: 'trade_bars',
  comment: 'Bars of one minute, computed from trades by the job candles. Read with FINAL',
  key: BAR_KEY,
  values: BAR_VALUES,
  version: BAR_VERSION,
}
const TRADE_HOUR_BARS: MadeTable = {
  name: 'trade_hour_bars',
  comment:
    'Bars of one hour, made of trade_bars by the job candles; they count while trade_hours says so. Read with FINAL',
  key: HOUR_BAR_KEY,
  values: BAR_VALUES,
  version: BAR_VERSION,
}
const TRADE_HOURS: MadeTable = {
  name: 'trade_hours',
  comment: 'Whether bars of an hour are what their minutes are: made and no job has it open. Read with FINAL',
  key: HOUR_MARK_KEY,
  values: HOUR_MARK_VALUES,
  version: HOUR_MARK_VERSION,
}

/** Every table of the product, in the order in which to create them. */
export function storedTables(options: StorageOptions): readonly StoredTable[] {
  return [
    ...TABLES.map((table) => factTable(table, options)),
    ledgerTable(options),
    madeTable(TRADE_BARS, 'minute_ns', options),
    madeTable(TRADE_HOUR_BARS, 'hour_ns', options),
    madeTable(TRADE_HOURS, 'hour_ns', options),
  ]
}

export function createDatabaseStatement(database: string): string {
  return `CREATE DATABASE IF NOT EXISTS ${quotedName(database)}`
}

export function createTableStatement(table: StoredTable, database: string): string {
  const lines = [
    ...table.columns.map(columnDefinition),
    ...table.aliases.map(aliasDefinition),
    ...table.indexes.map(indexDefinition),
  ]
  const settings = Object.entries(table.settings).map(([name, value]) => `${name} = ${value}`)
  return [
    `CREATE TABLE IF NOT EXISTS ${quotedName(database)}.${quotedName(table.name)}\n(\n  ${lines.join(',\n  ')}\n)`,
    `ENGINE = ${table.engine}`,
    `PARTITION BY ${table.partitionBy}`,
    `ORDER BY (${table.orderBy.join(', ')})`,
    ...(table.ttl === null ? [] : [`TTL ${table.ttl}`]),
    `SETTINGS ${settings.join(', ')}`,
    `COMMENT ${quotedText(table.comment)}`,
  ].join('\n')
}

export function columnDefinition(column: StoredColumn): string {
  const comment = column.comment === '' ? '' : ` COMMENT ${quotedText(column.comment)}`
  return `${quotedName(column.name)} ${column.type}${comment} CODEC(${column.codec})`
}

export function aliasDefinition(alias: StoredAlias): string {
  return `${quotedName(alias.name)} ${alias.type} ALIAS ${alias.expression}`
}

export function indexDefinition(index: StoredTable['indexes'][number]): string {
  return `INDEX ${quotedName(index.name)} ${index.expression} TYPE ${index.type} GRANULARITY ${index.granularity}`
}

export function quotedName(name: string): string {
  return `\`${name.replace(/[\\`]/g, (character) => `\\${character}`)}\``
}

export function quotedText(text: string): string {
  return `'${text.replace(/[\\']/g, (character) => `\\${character}`)}'`
}
