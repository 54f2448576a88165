import type { StoredColumn } from '../record/schema-columns.ts'
import type { StoredAlias, StoredTable } from '../record/tables.ts'
import { aliasDefinition, columnDefinition, indexDefinition, quotedName } from '../record/tables.ts'

/**
 * How a table that is there differs from the table of the schema. Pure: what the server says on one side, what the schema
 * wants on the other, one line a difference.
 *
 *   add       a column, alias, index or setting is missing or old: `statement` mends it and touches no row
 *   refuse    rows would be lost or change their meaning: a person decides
 *   note      something is there that the schema does not know: left alone
 */
export interface Difference {
  readonly verdict: 'add' | 'refuse' | 'note'
  /** What differs, in one line. */
  readonly text: string
  /** ALTER that mends it, for `add`. */
  readonly statement: string | null
}

/** A table as the server describes it (system.tables, system.columns, system.data_skipping_indices). */
export interface FoundTable {
  /** e.g. `ReplacingMergeTree(received_ns) PARTITION BY … ORDER BY … TTL … SETTINGS a = 1, b = 2` */
  readonly engineFull: string
  readonly partitionKey: string
  readonly sortingKey: string
  readonly columns: readonly FoundColumn[]
  readonly indexNames: readonly string[]
  readonly comment: string
}

export interface FoundColumn {
  readonly name: string
  readonly type: string
  /** '', ALIAS, DEFAULT, MATERIALIZED … */
  readonly defaultKind: string
  readonly defaultExpression: string
  /** e.g. `CODEC(ZSTD(1))` */
  readonly codec: string
}

export function tableDifferences(database: string, wanted: StoredTable, found: FoundTable): Difference[] {
  const context = new TableContext(database, wanted.name)
  const foundColumns = new Map(found.columns.map((column) => [column.name, column]))
  const known = new Set([...wanted.columns, ...wanted.aliases].map((column) => column.name))
  return [
    ...frameDifferences(context, wanted, found),
    ...wanted.columns.flatMap((column, index) => {
      const before = wanted.columns[index - 1]?.name ?? null
      return columnDifferences(context, wanted, column, before, foundColumns.get(column.name))
    }),
    ...wanted.aliases.flatMap((alias) => aliasDifferences(context, alias, foundColumns.get(alias.name))),
    ...wanted.indexes
      .filter((index) => !found.indexNames.includes(index.name))
      .map((index) => context.add(`has no index ${index.name}`, `ADD ${indexDefinition(index)}`)),
    ...settingDifferences(context, wanted, found),
    ...found.columns
      .filter((column) => !known.has(column.name))
      .map((column) => context.note(`has a column ${column.name} that the schema does not know; it stays as it is`)),
  ]
}

class TableContext {
  readonly #label: string
  readonly #target: string

  constructor(database: string, table: string) {
    this.#label = `table ${database}.${table}`
    this.#target = `${quotedName(database)}.${quotedName(table)}`
  }

  add(what: string, alteration: string): Difference {
    return { verdict: 'add', text: `${this.#label} ${what}`, statement: `ALTER TABLE ${this.#target} ${alteration}` }
  }

  refuse(what: string): Difference {
    return { verdict: 'refuse', text: `${this.#label} ${what}`, statement: null }
  }

  note(what: string): Difference {
    return { verdict: 'note', text: `${this.#label} ${what}`, statement: null }
  }
}

/** Engine and keys: they order and replace rows, and cannot be altered. */
function frameDifferences(context: TableContext, wanted: StoredTable, found: FoundTable): Difference[] {
  const engine = found.engineFull.split(/ (?:PARTITION BY|ORDER BY|PRIMARY KEY|TTL|SETTINGS) /)[0] ?? ''
  const versionColumn = /\((.*)\)/.exec(wanted.engine)?.[1] ?? ''
  // a replicated relative of the engine, made by an operator, keeps the same promise
  const isRelative = /^(Replicated|Shared)?ReplacingMergeTree\(/.test(engine) && engine.endsWith(`${versionColumn})`)
  const differences: Difference[] = []
  if (!isRelative) differences.push(context.refuse(`has the engine ${engine}, the schema wants ${wanted.engine}`))
  if (flat(found.partitionKey) !== flat(wanted.partitionBy)) {
    differences.push(
      context.refuse(`is partitioned by ${found.partitionKey || 'nothing'}, the schema wants ${wanted.partitionBy}`),
    )
  }
  if (flat(found.sortingKey) !== flat(wanted.orderBy.join(', '))) {
    differences.push(context.refuse(`is ordered by ${found.sortingKey}, the schema wants ${wanted.orderBy.join(', ')}`))
  }
  return differences
}

function columnDifferences(
  context: TableContext,
  table: StoredTable,
  wanted: StoredColumn,
  before: string | null,
  found: FoundColumn | undefined,
): Difference[] {
  const name = quotedName(wanted.name)
  if (found === undefined) {
    if (table.orderBy.includes(wanted.name))
      return [context.refuse(`has no column ${wanted.name}, which is part of the key`)]
    return [
      context.add(
        `has no column ${wanted.name}`,
        `ADD COLUMN ${columnDefinition(wanted)} ${before === null ? 'FIRST' : `AFTER ${quotedName(before)}`}`,
      ),
    ]
  }
  if (found.defaultKind === 'ALIAS' || found.defaultKind === 'MATERIALIZED') {
    return [context.refuse(`computes the column ${wanted.name} (${found.defaultKind}), the schema stores it`)]
  }
  const differences: Difference[] = []
  if (flat(found.type) !== flat(wanted.type)) {
    const what = `has ${wanted.name} as ${found.type}, the schema wants ${wanted.type}`
    const isGrown = isWiderEnum(found.type, wanted.type)
    differences.push(isGrown ? context.add(what, `MODIFY COLUMN ${name} ${wanted.type}`) : context.refuse(what))
    if (!isGrown) return differences
  }
  if (flat(found.codec) !== flat(`CODEC(${wanted.codec})`)) {
    differences.push(
      context.add(
        `compresses ${wanted.name} with ${found.codec || 'the default'}, the schema wants CODEC(${wanted.codec})`,
        `MODIFY COLUMN ${name} CODEC(${wanted.codec})`,
      ),
    )
  }
  return differences
}

function aliasDifferences(context: TableContext, wanted: StoredAlias, found: FoundColumn | undefined): Difference[] {
  if (found === undefined) return [context.add(`has no alias ${wanted.name}`, `ADD COLUMN ${aliasDefinition(wanted)}`)]
  if (found.defaultKind !== 'ALIAS')
    return [context.refuse(`stores a column ${wanted.name}, the schema computes it (ALIAS)`)]
  if (flat(found.type) === flat(wanted.type) && flat(found.defaultExpression) === flat(wanted.expression)) return []
  return [
    context.add(`computes ${wanted.name} in another way than the schema`, `MODIFY COLUMN ${aliasDefinition(wanted)}`),
  ]
}

function settingDifferences(context: TableContext, wanted: StoredTable, found: FoundTable): Difference[] {
  const have = settingsIn(found.engineFull)
  const differences = Object.entries(wanted.settings)
    .filter(([name, value]) => have.get(name) !== value)
    .map(([name, value]) =>
      context.add(
        `has ${name} = ${have.get(name) ?? 'the default'}, the configuration wants ${value}`,
        `MODIFY SETTING ${name} = ${value}`,
      ),
    )
  const ttl = / TTL (.*?)(?: SETTINGS |$)/.exec(found.engineFull)?.[1] ?? null
  if (flat(ttl ?? '') === flat(wanted.ttl ?? '')) return differences
  const what = `keeps rows by ${ttl === null ? 'no rule (for ever)' : `TTL ${ttl}`}, the configuration wants ${wanted.ttl === null ? 'them for ever' : `TTL ${wanted.ttl}`}`
  return [...differences, context.add(what, wanted.ttl === null ? 'REMOVE TTL' : `MODIFY TTL ${wanted.ttl}`)]
}

function settingsIn(engineFull: string): Map<string, string> {
  const text = / SETTINGS (.*)$/.exec(engineFull)?.[1] ?? ''
  return new Map(
    text.split(', ').flatMap((pair) => {
      const [name, value] = pair.split(' = ')
      return name === undefined || value === undefined ? [] : [[name, value.replace(/^'(.*)'$/, '$1')] as const]
    }),
  )
}

/** Every word of the old enum keeps its value in the new one. */
function isWiderEnum(old: string, wanted: string): boolean {
  const words = (type: string) => (/^Enum8\((.*)\)$/.exec(type)?.[1] ?? '').split(', ').filter((word) => word !== '')
  const now = new Set(words(wanted))
  return words(old).length > 0 && words(old).every((word) => now.has(word))
}

/** Servers print blanks in their own way. */
function flat(text: string): string {
  return text.replace(/\s+/g, '')
}
