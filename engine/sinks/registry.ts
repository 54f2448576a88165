/**
 * Who is there: each process writes down in a bucket of NATS which roles it has and where it can be asked, again and again;
 * what is not written down again is forgotten by the server. Nobody keeps a list, nobody has to say goodbye.
 *
 *   bucket MARKETPRISM_ROLES    {role}.{name} → RoleEntry as JSON, gone after 15 s
 */
import type { KV, NatsConnection } from 'nats'
import type { NatsLink } from './nats.ts'

export interface RoleEntry {
  /** of the process: producer of a collector, else host and pid */
  readonly name: string
  readonly roles: readonly string[]
  readonly host: string
  readonly pid: number
  readonly version: string
  /** ms since the epoch */
  readonly startedMs: number
  /** where its pages are, `http://10.0.0.7:9464`; absent where it has none */
  readonly pages?: string
  readonly gateway?: string
}

export interface RegistryOptions {
  readonly ttlMs: number
  readonly replicas: number
}

export const ROLES_BUCKET = 'MARKETPRISM_ROLES'
export const REGISTRY_DEFAULT: RegistryOptions = { ttlMs: 15_000, replicas: 1 }
export const ROLES_STREAM = `KV_${ROLES_BUCKET}`
const SUBJECT_HEAD = `$KV.${ROLES_BUCKET}.`
const WRITES_A_TTL = 3
/** More processes than this share no one NATS. */
const ENTRIES_MAX = 1_000

export class Registry {
  readonly #link: NatsLink
  readonly #own: RoleEntry
  readonly #options: RegistryOptions
  readonly #onChange: (others: readonly RoleEntry[]) => void
  #bucket: { readonly connection: NatsConnection; readonly kv: KV } | undefined
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> = Promise.resolve()
  #isClosed = false
  #known = ''
  /** why the last round failed, else undefined */
  trouble: string | undefined

  /** @param onChange told of all others whenever that has changed; the link is started and closed by its owner */
  constructor(
    link: NatsLink,
    own: RoleEntry,
    options: RegistryOptions,
    onChange: (others: readonly RoleEntry[]) => void,
  ) {
    this.#link = link
    this.#own = own
    this.#options = options
    this.#onChange = onChange
  }

  start(): void {
    this.#link.whenUp(() => this.#again(0))
  }

  /** Takes what we wrote down back, so that nobody asks us any more. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#round
    const { kv } = this.#bucket ?? {}
    if (kv === undefined || this.#link.up() === undefined) return
    await Promise.all(this.#keys().map((key) => kv.purge(key))).catch(() => undefined)
  }

  #keys(): string[] {
    const name = this.#own.name.replace(/[^A-Za-z0-9_-]/g, '_')
    return this.#own.roles.map((role) => `${role}.${name}`)
  }

  #again(ms: number): void {
    clearTimeout(this.#timer)
    if (this.#isClosed) return
    this.#timer = setTimeout(() => {
      this.#round = this.#round.then(() => this.#write())
      void this.#round.then(() => this.#again(this.#options.ttlMs / WRITES_A_TTL))
    }, ms)
    this.#timer.unref() // nobody lives to say that he is alive
  }

  async #write(): Promise<void> {
    const connection = this.#link.up()
    if (connection === undefined || this.#isClosed) return
    try {
      const kv = await this.#open(connection)
      const text = JSON.stringify(this.#own)
      await Promise.all(this.#keys().map((key) => kv.put(key, text)))
      this.#tell(await this.#others(connection, kv))
      this.trouble = undefined
    } catch (error) {
      this.#bucket = undefined
      this.trouble = `NATS at ${this.#link.options.url} keeps no list of roles (${(error as Error).message})`
    }
  }

  async #open(connection: NatsConnection): Promise<KV> {
    if (this.#bucket?.connection === connection) return this.#bucket.kv
    const { ttlMs, replicas } = this.#options
    const kv = await connection.jetstream().views.kv(ROLES_BUCKET, { ttl: ttlMs, history: 1, replicas })
    this.#bucket = { connection, kv }
    return kv
  }

  async #others(connection: NatsConnection, kv: KV): Promise<RoleEntry[]> {
    return (await entriesOf(connection, kv)).filter((entry) => !isSame(entry, this.#own))
  }

  #tell(others: readonly RoleEntry[]): void {
    const now = JSON.stringify(others)
    if (now === this.#known) return
    this.#known = now
    this.#onChange(others)
  }
}

/** Who is there, for tools: they write nothing down. Empty where nobody ever did. */
export async function readRegistry(connection: NatsConnection): Promise<readonly RoleEntry[]> {
  const { views } = connection.jetstream()
  const manager = await connection.jetstreamManager()
  for await (const name of manager.streams.names())
    if (name === ROLES_STREAM) return entriesOf(connection, await views.kv(ROLES_BUCKET, { bindOnly: true }))
  return []
}

/** The server says which keys there are: `kv.keys()` misses some while others write theirs (seen with 2.9.10). */
async function entriesOf(connection: NatsConnection, kv: KV): Promise<RoleEntry[]> {
  const manager = await connection.jetstreamManager()
  const { state } = await manager.streams.info(ROLES_STREAM, { subjects_filter: '>' })
  const found = new Map<string, RoleEntry>()
  for (const subject of Object.keys(state.subjects ?? {})) {
    const entry = entryOf((await kv.get(subject.slice(SUBJECT_HEAD.length)))?.string())
    if (entry === undefined || found.size > ENTRIES_MAX) continue
    found.set(`${entry.host} ${entry.pid} ${entry.name}`, entry)
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

const isSame = (a: RoleEntry, b: RoleEntry): boolean =>
  a.host === b.host && a.pid === b.pid && a.startedMs === b.startedMs

/** Others may be of another version, and the bucket is anybody's who may write to NATS. */
function entryOf(text: string | undefined): RoleEntry | undefined {
  try {
    const { name, roles, host, pid, version, startedMs, pages, gateway } = JSON.parse(text ?? '') as RoleEntry
    if (typeof name !== 'string' || typeof host !== 'string' || !Array.isArray(roles)) return undefined
    return {
      name,
      roles: roles.filter((role) => typeof role === 'string'),
      host,
      pid: Number(pid),
      version: String(version),
      startedMs: Number(startedMs),
      ...(isWebUrl(pages) ? { pages } : {}),
      ...(isWebUrl(gateway) ? { gateway } : {}),
    }
  } catch {
    return undefined
  }
}

function isWebUrl(value: unknown): value is string {
  return typeof value === 'string' && URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)
}
