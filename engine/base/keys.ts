/**
 * Every configuration key, once. From this table come the type `Config`, the environment variables, the checks, the
 * README's table and `marketprism config`. A key is read by the roles and tools only; everything below them takes plain
 * options. A new key is one line here (and one line where a role hands it on).
 */
import { availableParallelism } from 'node:os'
import type { Key } from './key.ts'
import { below, choice, choices, flag, integer, list, number, secret, text, url } from './key.ts'
import * as limits from './limits.ts'
import { CREDENTIAL_KEYS, EXCHANGE_KEYS } from './market-keys.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30
const bytes = { unit: 'bytes' } as const
const ring = { unit: 'bytes', powerOfTwo: true } as const
const ms = { unit: 'ms' } as const
const seconds = { unit: 's' } as const

const NAME = /^[A-Za-z0-9_-]{1,64}$/
const HOST_NAME = /^([a-z0-9.-]{1,253}|[0-9a-f:.]{2,45})$/
const PAGES_URL = /^https?:\/\/[A-Za-z0-9.[\]:_-]{1,260}\/?$/
const ORIGIN = /^https?:\/\/[a-z0-9.-]{1,253}(:\d{1,5})?$/

export const KEYS = {
  producer: text(
    'collector',
    'Name of this collector; part of every block’s identity, so two that run at once need two names.',
    {
      pattern: NAME,
      allowed: '1 to 64 of A-Z a-z 0-9 _ -',
    },
  ),
  ...below('data', {
    directory: text('.data', 'Where the spool, the embedded servers and other state live.', {
      pattern: /./,
      allowed: 'a path',
    }),
  }),
  ...below('cache', {
    directory: text('.cache', 'Where fetched programs (nats-server) are kept between runs; safe to delete.', {
      pattern: /./,
      allowed: 'a path',
    }),
  }),
  ...below('log', {
    level: choice(
      'warn',
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      '`warn` is silent when all is well.',
    ),
  }),
  ...below('workers', {
    count: integer(
      Math.max(1, availableParallelism() - 1),
      limits.WORKERS,
      'Book worker threads = shards; one core stays for sockets.',
      {
        unit: 'threads',
        defaultText: 'cores − 1, at least 1',
      },
    ),
    idlePolicy: choice(
      'park',
      ['spin', 'park', 'sleep'],
      'How a worker waits: spin wakes fastest and burns a core, park costs the writer a wake-up, sleep polls.',
    ),
    hangMs: integer(
      2_000,
      limits.WORKER_HANG_MS,
      'A worker whose heartbeat stands still this long is ended and started anew (the store’s: 30 s at least).',
      ms,
    ),
  }),
  ...below('rings', {
    framesBytes: integer(
      8 * MIB,
      limits.RING_BYTES,
      'Main thread → book worker: 8 MiB hold a quarter of a second of 100,000 messages/s.',
      ring,
    ),
    batchesBytes: integer(
      16 * MIB,
      limits.RING_BYTES,
      'Book worker → sink worker: holds sealed blocks while the spool syncs.',
      ring,
    ),
    liveBytes: integer(
      32 * MIB,
      limits.RING_BYTES,
      'Sink worker → gateway of the same process: what finds no room is dropped and counted, the feed never waits. 32 MiB hold 7 s of 10,000 messages/s.',
      ring,
    ),
    requestsBytes: integer(
      64 * 1024,
      limits.REQUEST_RING_BYTES,
      'Book worker → main thread: snapshot and reconnect requests.',
      ring,
    ),
  }),
  ...EXCHANGE_KEYS,
  ...CREDENTIAL_KEYS,
  ...below('batch', {
    rowsMax: integer(16_384, limits.BATCH_ROWS, 'A block is sealed when it holds this many rows.', { unit: 'rows' }),
    bytesMax: integer(
      512 * 1024,
      limits.BATCH_BYTES,
      'A block is sealed when it holds this many bytes; JetStream takes messages up to 1 MiB by default.',
      bytes,
    ),
    ageMs: integer(
      250,
      limits.BATCH_AGE_MS,
      'A block is sealed at this age; what a crash of the process may lose.',
      ms,
    ),
  }),
  ...below('snapshots', {
    intervalMs: integer(
      1_000,
      limits.SNAPSHOT_INTERVAL_MS,
      'How often the top of each changed book becomes a row of book_snapshots.',
      ms,
    ),
    depth: integer(20, limits.BOOK_DEPTH, 'Levels a side of such a row.', { unit: 'levels' }),
    checkpointSeconds: integer(
      300,
      limits.CHECKPOINT_S,
      'How often a LIVE book becomes a row as far down as it is proven, for the book at a point in time; 0 = never.',
      seconds,
    ),
  }),
  ...below('publisher', {
    enabled: flag(true, 'Publish whole books periodically on live subjects orderbook.…'),
    interval: number(1, limits.PUBLISHER_INTERVAL_S, 'How often a book is published.', seconds),
    depth: integer(400, limits.BOOK_DEPTH, 'Levels a side at most.', { unit: 'levels' }),
    minDepthLevels: integer(10, limits.PUBLISHER_LEVELS_MIN, 'A side with fewer levels is not published.', {
      unit: 'levels',
    }),
    maxAgeSeconds: integer(
      30,
      limits.PUBLISHER_AGE_S,
      'A book without a change for this long is not published.',
      seconds,
    ),
    skipUnchanged: flag(true, 'Do not repeat a book that has not changed since it was last published.'),
    retries: integer(3, limits.PUBLISHER_RETRIES, 'How often a publication that could not be made is tried again.', {
      unit: 'times',
    }),
    form: choice('json', ['json', 'msgpack'], 'Form of the message.'),
  }),
  ...below('live', {
    enabled: flag(true, 'Publish new rows at once on live subjects {type}.{exchange}.{market}.{symbol} (needs NATS).'),
  }),
  delivery: choice(
    'auto',
    ['auto', 'jetstream', 'direct'],
    '`direct` goes from the spool into ClickHouse; `auto` takes JetStream where there is a NATS server.',
  ),
  ...below('spool', {
    directory: text('', 'Where blocks are made durable before anything else sees them.', {
      allowed: 'a path; empty = spool below data.directory',
    }),
    fsync: choice(
      'group',
      ['group', 'every', 'interval', 'off'],
      '`group` syncs several blocks at once, `interval` and `off` trade safety on power loss for speed.',
    ),
    groupDelayMs: integer(5, limits.FSYNC_DELAY_MS, 'How long a group commit waits for more blocks.', ms),
    intervalMs: integer(1_000, limits.FSYNC_INTERVAL_MS, 'Time between syncs with fsync = interval.', ms),
    segmentBytes: integer(
      64 * MIB,
      limits.SEGMENT_BYTES,
      'A segment file is closed at this size; space is freed by whole segments.',
      bytes,
    ),
    maxBytes: integer(
      10 * GIB,
      limits.SPOOL_BYTES,
      'The spool never grows beyond this; then back-pressure reaches the sockets.',
      bytes,
    ),
    freeBytesMin: integer(
      GIB,
      limits.FREE_BYTES,
      'The spool counts as full when the disk has less than this free.',
      bytes,
    ),
    onFull: choice(
      'wait',
      ['wait', 'dropOldest'],
      '`wait` holds the sockets back until there is room (losses are gap rows), `dropOldest` prefers the newest data.',
    ),
    retainSeconds: integer(
      900,
      limits.SPOOL_RETAIN_S,
      'How long stored segments stay, so that a store that lost them can be served again.',
      seconds,
    ),
  }),
  ...below('nats', {
    url: url(['nats', 'tls', 'ws', 'wss'], 'NATS server to use.'),
    embedded: flag(true, 'With no nats.url: start a nats-server of our own where the program can be found.'),
    user: text('', 'User name for NATS.', { allowed: 'text; empty = none' }),
    password: secret('Password for nats.user.'),
    token: secret('Token for NATS.'),
    credsFile: text('', 'Path of a NATS credentials file.', { allowed: 'a path; empty = none' }),
    ackWindow: integer(256, limits.ACK_WINDOW, 'Publishes that may await their acknowledgement at once.', {
      unit: 'messages',
    }),
    ackTimeoutMs: integer(5_000, limits.ACK_TIMEOUT_MS, 'After this a publish is sent again with the same id.', ms),
    ackWaitSeconds: integer(
      60,
      limits.ACK_WAIT_S,
      'What the store took and did not acknowledge for this long comes again; a store says in between that it still works.',
      seconds,
    ),
    duplicateWindowSeconds: integer(300, limits.DUPLICATE_WINDOW_S, 'How long the server remembers ids.', seconds),
    maxAgeHours: integer(24, limits.STREAM_AGE_HOURS, 'Age at which a stream forgets messages.', { unit: 'h' }),
    maxBytes: integer(
      4 * GIB,
      limits.STREAM_BYTES,
      'Size at which a stream refuses new messages; the spool keeps them then.',
      bytes,
    ),
    deadLetterBytes: integer(
      256 * MIB,
      limits.STREAM_BYTES,
      'Room for blocks that cannot be stored (stream DLQ); when it is used up they stay in the block stream.',
      bytes,
    ),
    replicas: integer(1, limits.STREAM_REPLICAS, 'Copies of a stream in a cluster.', { unit: 'servers' }),
  }),
  ...below('store', {
    shards: choice(
      'one',
      ['one', 'exchange', 'table'],
      'Consumers of the block stream: one for all, or one an exchange, or one a table.',
    ),
    workersMin: integer(1, limits.STORE_WORKERS, 'Workers that each consumer always has.', { unit: 'workers' }),
    workersMax: integer(4, limits.STORE_WORKERS, 'Workers that a consumer may get when it lags.', { unit: 'workers' }),
    startAbovePending: integer(
      50_000,
      limits.STORE_PENDING,
      'With more blocks waiting than this a consumer gets another worker.',
      { unit: 'blocks' },
    ),
    stopBelowPending: integer(1_000, limits.STORE_PENDING, 'With fewer waiting than this a worker ends.', {
      unit: 'blocks',
    }),
    scaleHoldSeconds: integer(
      30,
      limits.SCALE_HOLD_S,
      'How long either must last without a break, so that workers do not come and go.',
      seconds,
    ),
  }),
  ...below('clickhouse', {
    url: url(['http', 'https'], 'ClickHouse server to use (its HTTP port).'),
    embedded: flag(true, 'With no clickhouse.url: run the ClickHouse engine in a child process.'),
    user: text('default', 'User name for ClickHouse.'),
    password: secret('Password for clickhouse.user.'),
    database: text('marketprism', 'Database of all tables; created when missing.', {
      pattern: /^[A-Za-z_][A-Za-z0-9_]{0,63}$/,
      allowed: 'a name',
    }),
    insertsInFlight: integer(4, limits.INSERTS_IN_FLIGHT, 'Inserts that may run at once.', { unit: 'inserts' }),
    mergeMs: integer(
      1_000,
      limits.MERGE_MS,
      'How long a block waits for others of its table to share an insert; a full insert does not wait.',
      ms,
    ),
    dedupeWindowInserts: integer(
      100_000,
      limits.DEDUPE_INSERTS,
      'How many inserts the server remembers, so that a block sent twice is stored once.',
      { unit: 'inserts' },
    ),
    syncInserts: flag(
      false,
      'The server syncs each insert to disk before it acknowledges; the spool covers the time until then.',
    ),
    ttlDays: integer(0, limits.TTL_DAYS, 'Rows older than this are deleted; 0 keeps them.', { unit: 'days' }),
    requestTimeoutMs: integer(
      30_000,
      limits.REQUEST_TIMEOUT_MS,
      'After this an insert is tried again with the same token.',
      ms,
    ),
  }),
  ...below('observe', {
    enabled: flag(true, 'Serve /metrics, /health, /livez and /readyz.'),
    host: text('127.0.0.1', 'Address to listen on.', {
      pattern: /^[A-Za-z0-9.:_-]{1,253}$/,
      allowed: 'an address or host name',
    }),
    exposed: flag(false, 'Must be true for a host that is not loopback: these pages ask for no password.'),
    port: integer(9464, limits.PORT, 'Port to listen on; 0 = any free one.'),
    controlKey: secret(
      'Shared by the processes of one engine: a gateway that knows it may change what a collector in another process collects.',
    ),
  }),
  ...below('serve', {
    host: text('127.0.0.1', 'Address of the gateway (REST, WebSocket, web page).', {
      pattern: /^[A-Za-z0-9.:_-]{1,253}$/,
      allowed: 'an address or host name',
    }),
    port: integer(9480, limits.PORT, 'Port of the gateway; 0 = any free one.'),
    candles: flag(
      true,
      'Keep bars of one minute ready (table trade_bars); without them candles are counted when asked for.',
    ),
    keysFile: text(
      '',
      'File of API keys, one JSON object a line (`marketprism keys create`); read again when it changes.',
      {
        allowed: 'a path; empty = none',
      },
    ),
    key: secret('One more API key, e.g. of a container; needed from then on, as with serve.keysFile.'),
    keyScopes: choices(['read', 'stream'], ['read', 'stream', 'admin'], 'What serve.key is good for.'),
    localAdmin: flag(
      false,
      'A gateway of loopback without keys lets everybody of the machine read; with this also change what is collected.',
    ),
    exposed: flag(false, 'Must be true for a gateway that others can reach without keys, or without TLS.'),
    behindTlsProxy: flag(false, 'A proxy before the gateway ends TLS; its X-Forwarded-For says who asks.'),
    tlsCertFile: text('', 'Certificate (PEM, with its chain); read again when it changes.', {
      allowed: 'a path; empty = no TLS',
    }),
    tlsKeyFile: text('', 'Private key of serve.tlsCertFile (PEM).', { allowed: 'a path; empty = no TLS' }),
    origins: list([], ORIGIN, 'a list of https://host[:port]', 'Web pages that may ask, besides our own.'),
    peers: list(
      [],
      PAGES_URL,
      'a list of http://host:port',
      'Pages of the other processes of this engine, where there is no NATS to find them by.',
    ),
    hosts: list(
      [],
      HOST_NAME,
      'a list of names and addresses',
      'Names under which the gateway may be called, besides localhost, 127.0.0.1 and [::1]; none = any where others reach it.',
    ),
    requestsPerSecond: integer(
      200,
      limits.REQUESTS_PER_SECOND,
      'Requests of an address, and of a key whose line says nothing else; a page opens with 50.',
      { unit: 'requests/s' },
    ),
    inFlightMax: integer(128, limits.REQUESTS_IN_FLIGHT, 'Requests under way at once; more are told to come again.', {
      unit: 'requests',
    }),
    connectionsMax: integer(2_000, limits.CLIENT_CONNECTIONS, 'Connections to the gateway.', { unit: 'connections' }),
    connectionsPerClient: integer(
      1_000,
      limits.CLIENT_CONNECTIONS,
      'Connections of an address, and WebSockets of a key.',
      { unit: 'connections' },
    ),
    subscriptionsMax: integer(
      1_000,
      limits.SUBSCRIPTIONS,
      'Patterns of one WebSocket; one with wildcards counts once.',
      {
        unit: 'patterns',
      },
    ),
    messagesPerSecond: integer(20, limits.CLIENT_MESSAGES, 'What one WebSocket may say, on average over 5 seconds.', {
      unit: 'messages/s',
    }),
    queueBytes: integer(
      MIB,
      limits.CLIENT_QUEUE_BYTES,
      'What may wait for one WebSocket that reads slowly; more, and it is closed with 1013.',
      { unit: 'bytes' },
    ),
    stallSeconds: integer(
      10,
      limits.STALL_S,
      'A WebSocket that reads nothing for so long is closed with 1013.',
      seconds,
    ),
    resumeBytes: integer(
      32 * MIB,
      limits.RESUME_BYTES,
      'Newest live messages, kept in memory for WebSockets that come back and ask for what they missed.',
      { unit: 'bytes' },
    ),
  }),
  ...below('consume', {
    url: url(['http', 'https'], 'Gateway that `marketprism consume` reads; empty = serve.host and serve.port.'),
    key: secret('API key that `marketprism consume` brings to a gateway that wants one.'),
  }),
} satisfies Record<string, Key<unknown>>

export type KeyTable = typeof KEYS
export type KeyPath = keyof KeyTable

type ValueOf<K> = K extends Key<infer T> ? T : never
type Head<Path> = Path extends `${infer H}.${string}` ? H : Path
type Rest<Table, H extends string> = { [P in keyof Table as P extends `${H}.${infer R}` ? R : never]: Table[P] }
type Nested<Table> = {
  readonly [H in Head<keyof Table & string> & string]: H extends keyof Table
    ? ValueOf<Table[H]>
    : Nested<Rest<Table, H>>
}

/** `'workers.count': Key<number>` becomes `config.workers.count: number`. */
export type Config = Nested<KeyTable>
