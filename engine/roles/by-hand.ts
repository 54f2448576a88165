/**
 * Instruments that people add and remove while the engine runs: what was taken, what was refused and why. It counts until
 * it is taken back, over a restart, too: one small JSON file in the data directory, `{market: [entry]}`, entries as in the
 * configuration, behind which they stand. Who removes the file is back at the configuration.
 */
import { Fault } from '../base/fault.ts'
import { readJson, replaceFile } from '../base/kept-file.ts'
import type { Log } from '../base/log.ts'
import type { ChangeAnswer, InstrumentChange, InstrumentName } from '../gateway/engine-link.ts'
import type { UniverseChange } from '../feed/universe.ts'

export const BY_HAND_FILE_NAME = 'instruments-by-hand.json'

/** Market → entries. */
export type Entries = Readonly<Record<string, readonly string[]>>

/** What is done with them: the roster. */
export interface Picked {
  /** entries by hand, as they are now */
  readonly byHand: Entries
  isCollected(id: string): boolean
  addInstruments(ids: readonly string[]): Promise<UniverseChange[]>
  removeInstruments(ids: readonly string[]): Promise<UniverseChange[]>
  /** Takes over what an earlier run was told. */
  restore(entries: Entries): Promise<void>
}

/** One change may name so many: each market is asked once what it lists, but each instrument costs a subscription. */
const NAMES_MAX = 1_000
const FILE_BYTES_MAX = 1024 * 1024
/** Anything else is a rule, and rules belong into the configuration, where they are seen. */
const SYMBOL = /^[^\s*?!:,+]+$/

export class ByHand {
  readonly #path: string
  readonly #picked: Picked
  readonly #log: Log
  /** changes come one after the other */
  #last: Promise<unknown> = Promise.resolve()

  constructor(path: string, picked: Picked, log: Log) {
    this.#path = path
    this.#picked = picked
    this.#log = log
  }

  /** What was changed before the restart counts again. A file that cannot be read is told and ignored. */
  async restore(): Promise<void> {
    const found = readJson(this.#path, FILE_BYTES_MAX, (problem) =>
      this.#log.warn({ path: this.#path, problem }, 'instruments that were chosen by hand cannot be read: ignored'),
    )
    const entries = entriesOf(found)
    if (Object.keys(entries).length > 0) await this.#picked.restore(entries)
  }

  change(change: InstrumentChange): Promise<ChangeAnswer> {
    const changed = this.#last.then(() => this.#change(change))
    this.#last = changed.catch(() => {})
    return changed
  }

  async #change({ add, remove }: InstrumentChange): Promise<ChangeAnswer> {
    if (add.length + remove.length > NAMES_MAX)
      throw new Fault('TOO_MANY', `${add.length + remove.length} instruments in one change: ${NAMES_MAX} are the most`)
    const refused: string[] = []
    const added = await this.#each(add, refused, (ids) => this.#picked.addInstruments(ids))
    const here = remove.filter((name) => this.#picked.isCollected(idOf(name)))
    for (const name of remove) if (!here.includes(name)) refused.push(`${idOf(name)} is not collected`)
    const removed = await this.#each(here, refused, (ids) => this.#picked.removeInstruments(ids))
    if (added.length + removed.length > 0) this.#keep()
    return { added, removed, refused }
  }

  /** All of a market together; where the venue refuses one of them, one by one, to tell which. */
  async #each(
    names: readonly InstrumentName[],
    refused: string[],
    act: (ids: readonly string[]) => Promise<unknown>,
  ): Promise<InstrumentName[]> {
    const taken: InstrumentName[] = []
    for (const group of byMarket(names, refused)) {
      try {
        await act(group.map(idOf))
        taken.push(...group)
      } catch (error) {
        if (group.length === 1) refused.push(lineOf(group[0] as InstrumentName, error))
        else for (const name of group) taken.push(...(await this.#one(name, refused, act)))
      }
    }
    return taken
  }

  async #one(
    name: InstrumentName,
    refused: string[],
    act: (ids: readonly string[]) => Promise<unknown>,
  ): Promise<InstrumentName[]> {
    try {
      await act([idOf(name)])
      return [name]
    } catch (error) {
      refused.push(lineOf(name, error))
      return []
    }
  }

  #keep(): void {
    try {
      replaceFile(this.#path, `${JSON.stringify(this.#picked.byHand, null, 2)}\n`)
    } catch (error) {
      this.#log.error(
        { path: this.#path, reason: String(error) },
        'instruments were changed by hand, but that cannot be written down: it ends with this process',
      )
    }
  }
}

function idOf({ exchange, market, symbol }: InstrumentName): string {
  return `${exchange}.${market}.${symbol}`
}

function lineOf(name: InstrumentName, error: unknown): string {
  const id = idOf(name)
  const { message } = error as Error
  return message.includes(name.symbol) ? message : `${id}: ${message}`
}

function byMarket(names: readonly InstrumentName[], refused: string[]): InstrumentName[][] {
  const groups = new Map<string, InstrumentName[]>()
  for (const name of names) {
    if (!SYMBOL.test(name.symbol)) {
      refused.push(`${idOf(name)} names no single instrument: rules belong into the configuration`)
      continue
    }
    const key = `${name.exchange}.${name.market}`
    groups.set(key, [...(groups.get(key) ?? []), name])
  }
  return [...groups.values()]
}

function entriesOf(found: unknown): Entries {
  if (typeof found !== 'object' || found === null) return {}
  const isList = (value: unknown): value is string[] =>
    Array.isArray(value) && value.every((each) => typeof each === 'string')
  return Object.fromEntries(Object.entries(found).filter((entry): entry is [string, string[]] => isList(entry[1])))
}
