/**
 * API keys. A key is `marketprism_{id}_{32 random bytes}`; we keep its SHA-256 alone (the key is random, so a slow hash
 * would add nothing), and whoever reads our file or our memory cannot use it. The file has one key a line and is read again
 * when it changes:
 *
 *   {"id":"desk1","sha256":"…64 hex…","scopes":["read","stream"],"expires":"2027-01-01T00:00:00Z","requestsPerSecond":50}
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import { EXIT_CONFIG, Fault } from '../../base/fault.ts'
import type { Log } from '../../base/log.ts'
import { SCOPES, type Scope } from './principal.ts'

export interface KeyRecord {
  readonly id: string
  /** lower hex */
  readonly sha256: string
  readonly scopes: ReadonlySet<Scope>
  /** ms since the epoch */
  readonly expiresMs: number | undefined
  /** undefined: as the configuration says for all */
  readonly requestsPerSecond: number | undefined
}

const KEY = /^marketprism_([A-Za-z0-9-]{1,32})_([A-Za-z0-9_-]{43})$/
const ID = /^[A-Za-z0-9-]{1,32}$/
const LOOK_MS = 1_000
const REQUESTS_PER_SECOND_MAX = 100_000

export const hashOfKey = (key: string): string => createHash('sha256').update(key).digest('hex')

/** The id inside a key; undefined when that is no key. */
export const idOfKey = (key: string): string | undefined => KEY.exec(key)?.[1]

/** Hides keys in text that is told or written down. */
export const withoutKeys = (text: string): string =>
  text.replace(/marketprism_[A-Za-z0-9-]{1,32}_[A-Za-z0-9_-]{20,}/g, 'marketprism_***')

/** @throws Fault with one line a mistake */
export function parseKeys(text: string, place: string): KeyRecord[] {
  const problems: string[] = []
  const records: KeyRecord[] = []
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.trimStart().startsWith('#')) continue
    const found = recordOf(line)
    if (typeof found === 'string') problems.push(`${place} line ${index + 1}: ${found}`)
    else if (records.some(({ id }) => id === found.id))
      problems.push(`${place} line ${index + 1}: id ${found.id} stands twice; keep one`)
    else records.push(found)
  }
  if (problems.length > 0) throw new Fault('KEYS', problems.join('\n'), EXIT_CONFIG)
  return records
}

/** @returns what is wrong, when something is. Never the line itself: somebody may have put a key there. */
function recordOf(line: string): KeyRecord | string {
  let parsed: unknown
  try {
    parsed = JSON.parse(line)
  } catch {
    return 'no JSON; one object a line, as `marketprism keys create` prints it'
  }
  const { id, sha256, scopes, expires, requestsPerSecond } = (parsed ?? {}) as Readonly<Record<string, unknown>>
  if (typeof id !== 'string' || !ID.test(id)) return 'id has to be 1 to 32 of A-Z a-z 0-9 -'
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) return 'sha256 has to be 64 hexadecimal digits'
  if (!Array.isArray(scopes) || scopes.length === 0 || !scopes.every((scope) => SCOPES.includes(scope)))
    return `scopes has to be a list of ${SCOPES.join(', ')}`
  const expiresMs = typeof expires === 'string' ? Date.parse(expires) : undefined
  if (expires !== undefined && !Number.isFinite(expiresMs))
    return 'expires has to be a time such as 2027-01-01T00:00:00Z'
  if (requestsPerSecond !== undefined && !isRate(requestsPerSecond))
    return `requestsPerSecond has to be a number, 1 … ${REQUESTS_PER_SECOND_MAX}`
  return { id, sha256, scopes: new Set(scopes as Scope[]), expiresMs, requestsPerSecond: requestsPerSecond as number }
}

const isRate = (value: unknown): boolean => typeof value === 'number' && value >= 1 && value <= REQUESTS_PER_SECOND_MAX

export interface KeySources {
  /** '' = none */
  readonly file: string
  /** one more, from the environment */
  readonly single: { readonly id: string; readonly sha256: string; readonly scopes: readonly Scope[] } | undefined
}

export class KeyRing {
  readonly #sources: KeySources
  readonly #nowMs: () => number
  readonly #log: Log
  #records: ReadonlyMap<string, KeyRecord> = new Map()

  /**
   * @param nowMs since the epoch
   * @throws Fault when the file cannot be read or is wrong
   */
  constructor(sources: KeySources, nowMs: () => number, log: Log) {
    this.#sources = sources
    this.#nowMs = nowMs
    this.#log = log
    this.#read()
    if (sources.file !== '') watchFile(sources.file, { interval: LOOK_MS, persistent: false }, this.#reread)
  }

  /** false: nobody was given a key. A file without keys lets nobody in. */
  get isUsed(): boolean {
    return this.#sources.file !== '' || this.#sources.single !== undefined
  }

  get size(): number {
    return this.#records.size
  }

  /** The record of a key that is good now; else why not. The time it takes does not depend on what is wrong. */
  find(key: string): KeyRecord | 'unknown' | 'expired' {
    const hash = Buffer.from(hashOfKey(key), 'hex')
    const record = this.#records.get(idOfKey(key) ?? '')
    const known = Buffer.from(record?.sha256 ?? '0'.repeat(64), 'hex')
    if (!timingSafeEqual(hash, known) || record === undefined) return 'unknown'
    return this.#isExpired(record) ? 'expired' : record
  }

  /** Whether what `find` gave a while ago is still good. */
  isGood(record: KeyRecord): boolean {
    const now = this.#records.get(record.id)
    return now !== undefined && now.sha256 === record.sha256 && !this.#isExpired(now)
  }

  close(): void {
    if (this.#sources.file !== '') unwatchFile(this.#sources.file, this.#reread)
  }

  #isExpired({ expiresMs }: KeyRecord): boolean {
    return expiresMs !== undefined && expiresMs <= this.#nowMs()
  }

  #read(): void {
    const { file, single } = this.#sources
    const records = file === '' ? [] : parseKeys(readKeys(file), file)
    if (single !== undefined)
      records.push({ ...single, scopes: new Set(single.scopes), expiresMs: undefined, requestsPerSecond: undefined })
    this.#records = new Map(records.map((record) => [record.id, record]))
  }

  /** A file that is wrong or gone changes nothing: the keys that were good stay so until it is right again. */
  #reread = (): void => {
    try {
      this.#read()
      this.#log.warn({ keys: this.size }, 'keys read again')
    } catch (error) {
      this.#log.error({ reason: (error as Error).message }, 'keys were not read again; those of before stay')
    }
  }
}

function readKeys(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException
    throw new Fault(
      'KEYS',
      `serve.keysFile = ${file} cannot be read (${code}): make it with \`marketprism keys create\``,
      EXIT_CONFIG,
    )
  }
}
