import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { type ConfigSources, KEY_PATHS, keyAt, loadConfig, shown, variableOf } from '../engine/base/config.ts'
import { EXIT_CONFIG, Fault } from '../engine/base/fault.ts'
import { assertLimits, RING_BYTES, RING_RECORD_BYTES_MAX } from '../engine/base/limits.ts'
import { nearest } from '../engine/base/nearest.ts'
import { CAPACITY_BYTES_MAX, CAPACITY_BYTES_MIN, RECORD_HEAD_BYTES } from '../engine/ring/layout.ts'

/** A directory of YAML files; base.yaml is empty unless given. */
function directoryWith(t: TestContext, files: Record<string, string> = {}): string {
  const directory = mkdtempSync(join(tmpdir(), 'marketprism-config-'))
  t.after(() => rmSync(directory, { recursive: true }))
  for (const [name, text] of Object.entries({ 'base.yaml': '', ...files })) writeFileSync(join(directory, name), text)
  return directory
}

function problemsOf(sources: ConfigSources): string[] {
  try {
    loadConfig(sources)
  } catch (error) {
    assert.ok(error instanceof Fault, String(error))
    assert.equal(error.exitCode, EXIT_CONFIG)
    assert.equal(error.code, 'CONFIG_INVALID')
    return error.message.split('\n').map((line) => line.replace(/^config: /, ''))
  }
  return []
}

const flags = (...texts: string[]) => texts.map((text) => ({ text, label: '--set' }))

test('config should take the later of default, base, environment file, local, variable and flag', (t) => {
  const directory = directoryWith(t, {
    'base.yaml':
      'batch:\n  rowsMax: 1\n  bytesMax: 8192\n  ageMs: 3\nsnapshots:\n  depth: 4\nspool:\n  groupDelayMs: 5\n',
    'production.yaml': 'batch:\n  rowsMax: 10\n  bytesMax: 81920\n  ageMs: 30\nsnapshots:\n  depth: 40\n',
    'development.yaml': 'batch:\n  rowsMax: 99\n',
    'local.yaml': 'batch:\n  bytesMax: 819200\n  ageMs: 300\n',
  })
  const variables = {
    MARKETPRISM_ENV: 'production',
    MARKETPRISM_BATCH_AGE_MS: '400',
    MARKETPRISM_SNAPSHOTS_DEPTH: '41',
  }
  const { config, origins, environment } = loadConfig({ directory, variables, flags: flags('snapshots.depth=42') })
  assert.equal(environment, 'production')
  assert.deepEqual(config.batch, { rowsMax: 10, bytesMax: 819200, ageMs: 400 })
  assert.equal(config.snapshots.depth, 42)
  assert.equal(config.spool.groupDelayMs, 5)
  assert.equal(config.publisher.depth, 400)
  assert.deepEqual(origins.get('batch.rowsMax'), {
    layer: 'file',
    place: `${join(directory, 'production.yaml')} line 2`,
  })
  assert.deepEqual(origins.get('batch.ageMs'), { layer: 'environment', place: 'environment MARKETPRISM_BATCH_AGE_MS' })
  assert.deepEqual(origins.get('snapshots.depth'), { layer: 'flag', place: 'flag --set' })
  assert.equal(origins.get('publisher.depth')?.layer, 'default')
})

test('config should reach every key by a variable of its own', (t) => {
  const directory = directoryWith(t)
  assert.equal(new Set(KEY_PATHS.map(variableOf)).size, KEY_PATHS.length)
  assert.equal(variableOf('workers.count'), 'MARKETPRISM_WORKERS_COUNT')
  assert.equal(
    variableOf('exchanges.binance.usdm.restWeightShare'),
    'MARKETPRISM_EXCHANGES_BINANCE_USDM_REST_WEIGHT_SHARE',
  )
  for (const path of KEY_PATHS) {
    const byDefault = keyAt(path).default
    const text = Array.isArray(byDefault) ? byDefault.join(',') : String(byDefault)
    const { origins, values } = loadConfig({ directory, variables: { [variableOf(path)]: text } })
    assert.equal(origins.get(path)?.layer, 'environment', path)
    assert.deepEqual(values.get(path), byDefault, path)
  }
})

test('config should report every mistake at once, each with key, value, place and what is allowed', (t) => {
  const directory = directoryWith(t, {
    'base.yaml': 'workers:\n  count: many\n  cuont: 3\nnats: 4\nbatch:\n  rowsMax: 5\n  rows_max: 6\n',
  })
  const variables = {
    MARKETPRISM_RINGS_FRAMES_BYTES: '1000000',
    MARKETPRISM_DELIVRY: 'direct',
    MARKETPRISM_LIVE_ENABLED: 'maybe',
  }
  const problems = problemsOf({ directory, variables, flags: flags('spool.fsync=never', 'spool.fsyn=off', 'novalue') })
  const expected = [
    /^workers\.count = "many" \(.*base\.yaml line 2\): allowed is a whole number, 1 … 64 threads$/,
    /^unknown key workers\.cuont = 3 \(.*base\.yaml line 3\), did you mean workers\.count\?; workers has count, /,
    /^nats = 4 \(.*base\.yaml line 4\) is a section and takes no value; below it: url, /,
    /^batch\.rowsMax stands twice: .* line 6 and .* line 7; keep one$/,
    /^rings\.framesBytes = "1000000" \(environment MARKETPRISM_RINGS_FRAMES_BYTES\): allowed is a power of two, /,
    /^unknown variable MARKETPRISM_DELIVRY = "direct", did you mean MARKETPRISM_DELIVERY\?$/,
    /^live\.enabled = "maybe" .*: allowed is true, false$/,
    /^spool\.fsync = "never" \(flag --set\): allowed is group, every, interval, off$/,
    /^unknown key spool\.fsyn = "off" .*did you mean spool\.fsync\?/,
    /--set takes key=value/,
  ]
  assert.equal(problems.length, expected.length, problems.join('\n'))
  for (const pattern of expected)
    assert.ok(
      problems.some((line) => pattern.test(line)),
      `${pattern} in\n${problems.join('\n')}`,
    )
})

test('config should refuse values just outside the bounds and take those on them', (t) => {
  const directory = directoryWith(t)
  const accepts = (text: string): boolean => problemsOf({ directory, variables: {}, flags: flags(text) }).length === 0
  assert.deepEqual(
    [accepts('workers.count=0'), accepts('workers.count=1'), accepts('workers.count=64'), accepts('workers.count=65')],
    [false, true, true, false],
  )
  assert.deepEqual(
    [accepts('exchanges.binance.spot.restWeightShare=1'), accepts('exchanges.binance.spot.restWeightShare=1.01')],
    [true, false],
  )
  assert.deepEqual(
    [
      accepts('observe.port=65535'),
      accepts('observe.port=65536'),
      accepts('observe.port=-1'),
      accepts('observe.port=1.5'),
    ],
    [true, false, false, false],
  )
  assert.deepEqual(
    [accepts('exchanges.binance.spot.snapshotLimit=1000'), accepts('exchanges.binance.spot.snapshotLimit=999')],
    [true, false],
  )
  assert.deepEqual([accepts('rings.framesBytes=4MiB'), accepts('rings.framesBytes=3MiB')], [true, false])
  assert.deepEqual(
    [accepts('exchanges.binance.spot.channels=book,trades'), accepts('exchanges.binance.spot.channels=book,book')],
    [true, false],
  )
  assert.deepEqual(
    [accepts('nats.url=nats://10.0.0.1:4222'), accepts('nats.url=http://x'), accepts('nats.url=nonsense')],
    [true, false, false],
  )
})

test('config should not guess types in YAML', (t) => {
  for (const [yaml, key] of [
    ['workers:\n  count: "2"\n', 'workers.count'],
    ['live:\n  enabled: yes please\n', 'live.enabled'],
    ['producer: 7\n', 'producer'],
    ['exchanges:\n  binance:\n    spot:\n      instruments: BTCUSDT\n', 'exchanges.binance.spot.instruments'],
    ['workers:\n  count: [1]\n', 'workers.count'],
    ['workers:\n  count: {a: 1}\n', 'workers.count'],
  ] as const) {
    const problems = problemsOf({ directory: directoryWith(t, { 'base.yaml': yaml }), variables: {} })
    assert.equal(problems.length, 1, yaml)
    assert.ok(problems[0]?.startsWith(`${key} = `), problems[0])
  }
})

test('config should take a section without values, snake_case keys and sizes with a suffix', (t) => {
  const directory = directoryWith(t, {
    'base.yaml': 'nats:\n  # url: nats://x\npublisher:\n  min_depth_levels: 12\nspool:\n  max_bytes: 1GiB\n',
  })
  const { config } = loadConfig({ directory, variables: {} })
  assert.equal(config.publisher.minDepthLevels, 12)
  assert.equal(config.spool.maxBytes, 2 ** 30)
})

test('config should name file and line of broken YAML', (t) => {
  const directory = directoryWith(t, { 'base.yaml': 'workers:\n  count: [1\n' })
  const problems = problemsOf({ directory, variables: {} })
  assert.match(problems[0] ?? '', /base\.yaml line \d: not YAML/)
})

test('config should check keys against each other', (t) => {
  const directory = directoryWith(t)
  const broken = (...texts: string[]): string =>
    problemsOf({ directory, variables: {}, flags: flags(...texts) }).join('\n')
  assert.match(broken('observe.host=0.0.0.0'), /observe\.host = 0\.0\.0\.0 .*observe\.exposed/)
  assert.equal(broken('observe.host=0.0.0.0', 'observe.exposed=true'), '')
  assert.match(broken('delivery=jetstream', 'nats.embedded=false'), /needs nats\.url or nats\.embedded/)
  assert.match(broken('batch.bytesMax=8MiB'), /a block fits into a quarter of the batch ring/)
  assert.match(broken('nats.ackTimeoutMs=120000', 'nats.duplicateWindowSeconds=60'), /stored twice/)
})

test('config should take secrets from variables, files and local.yaml only, and never show them', (t) => {
  const directory = directoryWith(t, { 'base.yaml': 'nats:\n  password: canary1\n', secret: 'canary2\n' })
  const inBase = problemsOf({ directory, variables: {} })
  assert.match(inBase[0] ?? '', /nats\.password is a secret .*MARKETPRISM_NATS_PASSWORD_FILE/)
  const clean = directoryWith(t, { secret: 'canary2\n', 'local.yaml': 'nats:\n  user: u\n  password: canary3\n' })
  assert.equal(loadConfig({ directory: clean, variables: {} }).config.nats.password, 'canary3')
  const fromFile = loadConfig({
    directory: clean,
    variables: { MARKETPRISM_NATS_PASSWORD_FILE: join(clean, 'secret') },
  })
  assert.equal(fromFile.config.nats.password, 'canary2')
  assert.equal(shown('nats.password', 'canary2'), '***')
  assert.equal(shown('nats.url', 'nats://me:canary4@host:4222'), 'nats://***@host:4222')
  const messages = [
    ...inBase,
    ...problemsOf({ directory: clean, variables: {}, flags: flags('nats.token=canary5') }),
    ...problemsOf({
      directory: clean,
      variables: { MARKETPRISM_NATS_PASSWORD: 'canary6', MARKETPRISM_NATS_PASSWORD_FILE: 'x' },
    }),
    ...problemsOf({
      directory: clean,
      variables: { MARKETPRISM_NATS_PASWORD: 'canary7', MARKETPRISM_CLICKHOUSE_URL: 'ftp://u:canary8@host' },
    }),
    ...problemsOf({ directory: clean, variables: { MARKETPRISM_NATS_TOKEN_FILE: join(clean, 'nowhere') } }),
  ]
  assert.equal(messages.length, 6, messages.join('\n'))
  assert.ok(!messages.some((line) => /canary/.test(line)), messages.join('\n'))
  assert.match(messages.at(-1) ?? '', /nats\.token: cannot read .*nowhere.*ENOENT/)
})

test('config should say what is wrong with the environment name and the directory', (t) => {
  assert.match(
    problemsOf({ directory: directoryWith(t), variables: { MARKETPRISM_ENV: 'prod' } })[0] ?? '',
    /MARKETPRISM_ENV = "prod": allowed is development, production/,
  )
  assert.match(
    problemsOf({ directory: '/nowhere', variables: {} })[0] ?? '',
    /no base\.yaml in \/nowhere: set MARKETPRISM_CONFIG_DIRECTORY/,
  )
})

test('config should be frozen', (t) => {
  const { config } = loadConfig({ directory: directoryWith(t), variables: {} })
  assert.throws(() => Object.assign(config.workers, { count: 3 }), TypeError)
})

test('limits should agree with each other and with the ring', () => {
  assertLimits()
  assert.ok(RING_BYTES.min >= CAPACITY_BYTES_MIN && RING_BYTES.max <= CAPACITY_BYTES_MAX)
  assert.equal(RING_RECORD_BYTES_MAX(1024), 512 - RECORD_HEAD_BYTES)
})

test('nearest should find a slip of the pen and nothing far away', () => {
  assert.equal(nearest('workers.cuont', ['workers.count', 'workers.hangMs']), 'workers.count')
  assert.equal(nearest('WORKERS.COUNT', ['workers.count']), 'workers.count')
  assert.equal(nearest('something.else', ['workers.count']), null)
})
