/**
 * What a machine can check of the rules that the design rests on. When a rule is wrong, change it here and say why in
 * the commit; when a file breaks it, change the file.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { KEY_PATHS, OTHER_VARIABLES, variableOf } from '../engine/base/config.ts'
import { METRICS } from '../engine/observe/metric-list.ts'
import { BOOK_STATES, GAP_CAUSES } from '../engine/record/schema.ts'

/** Imports go from an earlier line to a later one or stay inside their folder; folders of one line do not know each other. */
const ORDER: readonly (readonly string[])[] = [
  ['engine'], // main.ts, commands.ts
  ['engine/tools'], // some tools run roles (demo) or use their wiring (replay, sql); a role knows no tool
  ['engine/roles'],
  ['workers'], // threads, and what runs in them
  ['engine/gateway', 'engine/archive', 'engine/schedule', 'engine/simulate'],
  ['engine/feed', 'engine/route', 'engine/sinks', 'engine/embedded', 'engine/observe'],
  ['engine/exchanges'],
  ['engine/book', 'engine/client'], // the client is a library of its own: it reads what the engine writes, and has no part of it
  ['engine/record', 'engine/spool'],
  ['engine/ring', 'engine/scan'], // leaves: a decoder (record) prints decimals
  ['engine/base'],
]

/** Started by name, by URL or by npm; everything else must be imported by somebody. */
const ENTRY_POINTS = [
  'engine/main.ts',
  'engine/client/index.ts', // marketprism/client
  'workers/book-worker.ts',
  'workers/sink-worker.ts',
  'workers/store-worker.ts',
  'workers/serve-worker.ts',
  'engine/embedded/clickhouse-server.ts',
  'engine/tools/fanout/crowd-process.ts', // clients of the trial
  'engine/tools/flood/visitor-process.ts', // those of the other
  'native-bench/main.ts', // npm run bench
  'native-bench/pipeline-worker.ts',
  'native-bench/ring-drain.ts',
  'native-bench/ring-reader.ts',
  'native-bench/socket-server.ts',
  'native-bench/socket-client.ts',
  'test/system/soak.ts', // npm run soak
  'test/support/pool-book.ts',
  'test/support/pool-sink.ts',
  'test/support/pool-store.ts',
  'test/support/serve-stub.ts',
  'test/support/unmarked-sink.ts',
  'test/support/ring-peer.ts',
]

/** These keys only allow others to have a value; base/relations.ts reads them. */
const PERMISSIONS = ['observe.exposed']

/** Pure functions of their input: no clock, randomness, timer, socket, file. */
const PURE_CORE = [
  /^engine\/(scan|book|record)\//,
  /^engine\/ring\/(?!idle)/,
  /^engine\/exchanges\/[a-z]+\/(parse|sync)\.ts$/,
  /^workers\/shard\.ts$/,
]
const IMPURE: readonly (readonly [string, RegExp])[] = [
  ['the wall clock', /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bhrtime\b/],
  ['randomness', /\bMath\.random\b|\brandomUUID\b|\brandomBytes\b/],
  ['a timer', /\bset(Timeout|Interval|Immediate)\b/],
  ['a socket', /from '(node:)?(net|tls|http|https|http2|dgram|dns|ws|undici|nats)'/],
  ['the file system', /from '(node:)?fs(\/promises)?'/],
  ['a process or thread', /from '(node:)?(child_process|worker_threads|cluster)'/],
]

/** Names that look like environment variables: JetStream streams. */
const STREAM_NAMES = ['MARKETPRISM_BLOCKS', 'MARKETPRISM_LIVE', 'MARKETPRISM_ROLES', 'MARKETPRISM_LARGE']

/** Each of these appears in one file of the product. */
const ONE_PLACE: readonly (readonly [string, RegExp, readonly string[]])[] = [
  ['process.env', /\bprocess\.env\b/, ['engine/base/config.ts']],
  ['Date.now', /\bDate\.now\b/, ['engine/base/clock.ts']],
  ['Math.random', /\bMath\.random\b/, ['engine/base/random.ts']],
  ['prom-client', /from 'prom-client'/, ['engine/observe/metrics.ts']],
  ['the NATS client', /^import (?!type\b).* from 'nats'/m, ['engine/sinks/nats.ts']],
]

const root = projectRoot(dirname(fileURLToPath(import.meta.url)))

function projectRoot(from: string): string {
  return existsSync(join(from, 'package.json')) ? from : projectRoot(dirname(from))
}

/** Files that git knows or would take; never those that it ignores. */
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((path) => path !== '' && existsSync(join(root, path)))

const textOf = (path: string): string => readFileSync(join(root, path), 'utf8')
const product = files.filter((path) => /^(engine|workers)\/.*\.ts$/.test(path))

/** Code without its comments, so that a comment may speak of what the code must not do. */
const codeOf = (path: string): string =>
  textOf(path)
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/(^|[^:'"`])\/\/.*$/gm, '$1')

interface Import {
  readonly from: string
  readonly to: string
}

function importsOf(path: string): Import[] {
  const found = codeOf(path).matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+)'/g)
  return [...found].map((match) => ({ from: path, to: normalize(join(dirname(path), match[1] as string)) }))
}

const imports = files.filter((path) => /^(engine|workers|native-bench|test)\/.*\.ts$/.test(path)).flatMap(importsOf)
const productImports = imports.filter(({ from }) => product.includes(from))

/** The folder of ORDER that a file belongs to: the longest that fits. */
function folderOf(path: string): string {
  const names = ORDER.flat().filter((folder) => path.startsWith(`${folder}/`))
  return names.sort((a, b) => b.length - a.length)[0] ?? ''
}

const lineOf = (folder: string): number => ORDER.findIndex((line) => line.includes(folder))
const none = (problems: readonly string[], rule: string): void =>
  assert.deepEqual(problems, [], `${rule}\n${problems.join('\n')}`)

test('tidy: every file of the product should stand in a folder that the order knows', () => {
  none(
    product.filter((path) => folderOf(path) === '' || (folderOf(path) === 'engine' && path.split('/').length > 2)),
    'add the folder to ORDER, or move the file',
  )
})

test('tidy: imports should go in one direction', () => {
  const wrong = productImports.filter(({ from, to }) => {
    const [source, target] = [folderOf(from), folderOf(to)]
    return source !== target && lineOf(source) >= lineOf(target)
  })
  none(
    wrong.map(({ from, to }) => `${from} → ${to}`),
    'these imports go against the order of the layers',
  )
})

test('tidy: the product should import neither tests nor benches', () => {
  none(
    productImports.filter(({ to }) => /^(test|native-bench)\//.test(to)).map(({ from, to }) => `${from} → ${to}`),
    'not shipped',
  )
})

test('tidy: imports should name files that exist', () => {
  none(
    imports.filter(({ to }) => !existsSync(join(root, to))).map(({ from, to }) => `${from} → ${to}`),
    'no such file',
  )
})

test('tidy: imports should have no cycle', () => {
  const targets = new Map(
    product.map((path) => [path, productImports.filter(({ from }) => from === path).map(({ to }) => to)]),
  )
  const finished = new Set<string>()
  const cycles: string[] = []
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) cycles.push([...trail.slice(trail.indexOf(path)), path].join(' → '))
    if (finished.has(path) || trail.includes(path)) return
    for (const next of targets.get(path) ?? []) visit(next, [...trail, path])
    finished.add(path)
  }
  for (const path of product) visit(path, [])
  none(cycles, 'cycles')
})

test('tidy: every file should be used, those of the product by the product', () => {
  const usedBy = (users: readonly Import[]): ReadonlySet<string> =>
    new Set([...users.map(({ to }) => to), ...ENTRY_POINTS])
  const [byProduct, byAnybody] = [usedBy(productImports), usedBy(imports)]
  const others = files.filter((path) => /^(native-bench|test)\/.*\.ts$/.test(path) && !path.endsWith('.test.ts'))
  none(
    [...product.filter((path) => !byProduct.has(path)), ...others.filter((path) => !byAnybody.has(path))],
    'nobody imports these',
  )
  none(
    ENTRY_POINTS.filter((path) => !files.includes(path)),
    'no such entry point',
  )
})

test('tidy: the pure core should have no clock, randomness, timer, socket or file', () => {
  const core = product.filter((path) => PURE_CORE.some((pattern) => pattern.test(path)))
  none(
    core.flatMap((path) =>
      IMPURE.filter(([, pattern]) => pattern.test(codeOf(path))).map(([what]) => `${path} uses ${what}`),
    ),
    'inject it',
  )
})

test('tidy: what comes from outside should enter at one place', () => {
  none(
    ONE_PLACE.flatMap(([what, pattern, allowed]) =>
      product
        .filter((path) => pattern.test(codeOf(path)) && !allowed.includes(path))
        .map((path) => `${path} uses ${what}; only ${allowed} may`),
    ),
    'ask the layer that has it',
  )
})

test('tidy: variables that are named anywhere should exist', () => {
  const known = new Set([...KEY_PATHS.map(variableOf), ...Object.keys(OTHER_VARIABLES), ...STREAM_NAMES])
  const named = files.filter((path) => /\.(md|ya?ml|mjs)$|^Dockerfile|^\.ci\/|^engine\/|^workers\//.test(path))
  const unknown = named.flatMap((path) =>
    [...textOf(path).matchAll(/\bMARKETPRISM_[A-Z][A-Z0-9_]*[A-Z0-9]\b/g)]
      .map((match) => match[0])
      .filter((name) => !known.has(name) && !known.has(name.replace(/_FILE$/, '')))
      .map((name) => `${path}: ${name}`),
  )
  none(unknown, 'no such environment variable')
})

test('tidy: every configuration key should be read by somebody', () => {
  const readers = product
    .filter((path) => !path.startsWith('engine/base/'))
    .map(codeOf)
    .join('\n')
  none(
    KEY_PATHS.filter((path) => !PERMISSIONS.includes(path)).filter(
      (path) => !new RegExp(`[.?{,\\s]${path.split('.').at(-1)}\\b`).test(readers),
    ),
    'these keys do nothing: use or delete them',
  )
})

test('tidy: every metric should have a source, and every named metric should exist', () => {
  const users = product
    .filter((path) => path !== 'engine/observe/metric-list.ts')
    .map(codeOf)
    .join('\n')
  none(
    Object.keys(METRICS).filter((name) => !users.includes(`'${name}'`)),
    'nothing reports these',
  )
  const listed = (name: string): boolean => name in METRICS || name.replace(/_(bucket|sum|count)$/, '') in METRICS
  const texts = files.filter((path) => /^config\/.*\.(ya?ml|json)$|\.md$/.test(path))
  none(
    texts.flatMap((path) =>
      [...textOf(path).matchAll(/\bmarketprism_[a-z0-9_]*[a-z0-9]\b/g)]
        .filter((match) => !listed(match[0]))
        .map((match) => `${path}: ${match[0]}`),
    ),
    'no such metric',
  )
})

test('tidy: states and causes should be written as the schema has them', () => {
  const words = new Set([...Object.keys(BOOK_STATES), ...Object.keys(GAP_CAUSES)])
  const wrong = product.flatMap((path) =>
    [...codeOf(path).matchAll(/\b(?:state|cause)\s*(?:===|!==|=|:)\s*'([A-Za-z_]+)'/g)]
      .filter((match) => /^engine\/(book|record)|^workers\/(shard|book)/.test(path) && !words.has(match[1] as string))
      .map((match) => `${path}: ${match[1]}`),
  )
  none(wrong, 'no such state or cause')
  assert.ok(
    textOf('README.md').includes(Object.keys(BOOK_STATES).join(' ')),
    'README.md lists the states of a book in the order of the schema',
  )
})

test('tidy: text files should be UTF-8 with a newline at the end and name no package registry', () => {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const hosts =
    /registry\.npm|npmjs\.(org|com)\/|\bdeb\.debian\.|archive\.ubuntu\.com|proxy\.golang\.|pypi\.org|crates\.io\/api/
  const problems: string[] = []
  for (const path of files.filter((name) => !/\.(gz|png|bin)$/.test(name))) {
    const bytes = readFileSync(join(root, path))
    try {
      const text = decoder.decode(bytes)
      if (path !== 'test/tidy.test.ts' && hosts.test(text)) problems.push(`${path} names a package registry`)
      if (text !== '' && !text.endsWith('\n')) problems.push(`${path} does not end with a newline`)
    } catch {
      problems.push(`${path} is not UTF-8`)
    }
  }
  none(problems, 'text')
})

test('tidy: files should stay small enough to read', () => {
  const LINES_MAX = 440 // a ratchet: lower it when you can; the longest is workers/shard.ts
  none(
    product
      .map((path) => ({ path, lines: textOf(path).split('\n').length }))
      .filter(({ lines }) => lines > LINES_MAX)
      .map(({ path, lines }) => `${path}: ${lines} lines`),
    `more than ${LINES_MAX} lines: what does it hide?`,
  )
})

test('tidy: dependencies should be exact versions', () => {
  const { dependencies, devDependencies, optionalDependencies } = JSON.parse(textOf('package.json')) as Record<
    string,
    Record<string, string>
  >
  const all = Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })
  none(
    all.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version)).map(([name, version]) => `${name} ${version}`),
    'not exact',
  )
})

test('tidy: the lock file should hold the parts of every platform', () => {
  const { packages } = JSON.parse(textOf('package-lock.json')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string>; resolved?: string }>
  }
  const wanted = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    path === '' ? [] : Object.keys(optionalDependencies),
  )
  none(
    wanted.filter((name) => !(`node_modules/${name}` in packages)),
    'npm ci would refuse it: run `node .ci/complete-lock.mjs`',
  )
  none(
    Object.entries(packages).flatMap(([path, { resolved }]) => (resolved === undefined ? [] : [path])),
    'the lock file names the registry it came from',
  )
})
