import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { KEY_PATHS } from '../engine/base/config.ts'

const MAIN = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../engine/main.ts' : '../engine/main.js', import.meta.url),
)

/** No MARKETPRISM_ variable of the machine reaches these runs. */
const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MARKETPRISM_')))

function marketprism(words: readonly string[], variables: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...words], {
    encoding: 'utf8',
    env: { ...clean, ...variables },
    timeout: 30_000,
  })
  return { status, stdout, stderr }
}

test('main should answer --help for every command with options and examples, exit 0', () => {
  const top = marketprism(['--help'])
  assert.equal(top.status, 0)
  const commands = [
    'collect',
    'store',
    'serve',
    'archive',
    'schedule',
    'all',
    'demo',
    'simulate',
    'replay',
    'sql',
    'plan',
    'config',
  ]
  for (const command of commands) {
    assert.match(top.stdout, new RegExp(`^  ${command} `, 'm'))
    const { status, stdout, stderr } = marketprism([command, '--help'])
    assert.deepEqual([status, stderr], [0, ''], command)
    assert.match(stdout, /^Usage: marketprism /)
    assert.match(stdout, /\nOptions:\n/)
    assert.match(stdout, /\nExamples:\n {2}marketprism /, command)
  }
})

test('main should print the version of the package', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
  assert.deepEqual(marketprism(['--version']), { status: 0, stdout: `${version}\n`, stderr: '' })
})

test('main should answer wrong usage with exit 2 and a line that names the word', () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /Usage: marketprism/],
    [['colect'], /unknown command 'colect'\n\(Did you mean collect\?\)/],
    [['collect', 'stor'], /unknown role 'stor'; allowed are collect, store, /],
    [['collect', '--nonsense'], /unknown option '--nonsense'/],
    [['demo', '--rate', '0'], /'--rate <events>' argument '0' is invalid\. Allowed is a whole number, 1 to /],
    [['demo', '--speed', 'fast'], /Allowed is a number above 0/],
    [['replay', 'file'], /required option '--market <market>' not specified/],
    [['replay', '--market', 'binance.usdm'], /missing required argument 'file'/],
    [['replay', 'file', '--market', 'okx.spt'], /unknown market 'okx\.spt'; allowed are binance\.spot, .*okx\.swap/],
    [['simulate', 'okex'], /Allowed choices are binance, okx/],
    [['simulate', 'binance', '--rate', 'abc'], /--rate is "abc"/],
    [['sql'], /missing required argument 'query'/],
    [['config', '--json', '--markdown'], /cannot be used with/],
  ]
  for (const [words, pattern] of cases) {
    const { status, stderr } = marketprism(words)
    assert.equal(status, 2, `${words.join(' ')}: ${stderr}`)
    assert.match(stderr, pattern)
  }
})

test('main should say of a role that is not built that it is not built, exit 70, one line', () => {
  for (const role of ['archive', 'schedule']) {
    const { status, stdout, stderr } = marketprism([role])
    assert.deepEqual(
      { status, stdout, stderr },
      { status: 70, stdout: '', stderr: `marketprism: ${role}: not built yet; built are collect, store, serve\n` },
    )
  }
})

test('main should answer wrong configuration with exit 78 and a line for each mistake, without a stack', () => {
  const { status, stdout, stderr } = marketprism(['collect', '--workers', '0', '--set', 'spool.fsyn=off'], {
    MARKETPRISM_OBSERVE_PORT: '70000',
  })
  assert.equal(status, 78)
  assert.equal(stdout, '')
  assert.deepEqual(
    stderr
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/, did.*/, '')),
    [
      'marketprism: config: observe.port = "70000" (environment MARKETPRISM_OBSERVE_PORT): allowed is a whole number, 0 … 65535',
      'marketprism: config: workers.count = "0" (flag --workers): allowed is a whole number, 1 … 64 threads',
      'marketprism: config: unknown key spool.fsyn = "off" (flag --set)',
    ],
  )
})

test('config should print every key, its value and where it came from', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'marketprism-main-'))
  t.after(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(directory, 'base.yaml'), 'snapshots:\n  depth: 7\n')
  writeFileSync(join(directory, 'token'), 'canary-in-a-file\n')
  const variables = {
    MARKETPRISM_NATS_TOKEN_FILE: join(directory, 'token'),
    MARKETPRISM_NATS_PASSWORD: 'canary-plain',
    MARKETPRISM_NATS_USER: 'me',
  }
  const words = ['config', '--config', directory, '--workers', '3']
  const { status, stdout } = marketprism([...words, '--json'], variables)
  assert.equal(status, 0)
  const { environment, keys } = JSON.parse(stdout) as {
    environment: string
    keys: Record<string, { value: unknown; from: string; place: string; variable: string }>
  }
  assert.equal(environment, 'development')
  assert.deepEqual(Object.keys(keys), KEY_PATHS)
  assert.deepEqual([keys['workers.count']?.value, keys['workers.count']?.place], [3, 'flag --workers'])
  assert.deepEqual(
    [keys['snapshots.depth']?.value, keys['snapshots.depth']?.place],
    [7, `${join(directory, 'base.yaml')} line 2`],
  )
  assert.deepEqual([keys['nats.token']?.value, keys['nats.password']?.value], ['***', '***'])
  const table = marketprism(words, variables)
  for (const path of KEY_PATHS) assert.ok(table.stdout.includes(` ${path} `), path)
  assert.ok(!`${stdout}${table.stdout}`.includes('canary'))
})

test('README should hold the table of keys that config --markdown prints', () => {
  const { stdout } = marketprism(['config', '--markdown'])
  const readme = readFileSync('README.md', 'utf8')
  assert.ok(
    readme.includes(stdout.trimEnd()),
    'run `npx marketprism config --markdown` and paste it between the marks in README.md',
  )
})

test('main should not mind a reader that goes away', async () => {
  const child = spawn(process.execPath, [MAIN, 'config', '--json'], { stdio: ['ignore', 'pipe', 'pipe'], env: clean })
  let stderr = ''
  child.stderr.on('data', (text) => {
    stderr += text
  })
  child.stdout.destroy()
  const code = await new Promise((resolve) => child.on('exit', resolve))
  assert.deepEqual([code, stderr], [0, ''])
})

test('main should stop in order at the first SIGTERM', async () => {
  const child = spawn(process.execPath, [MAIN, 'simulate', 'binance'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: clean,
  })
  let stdout = ''
  child.stdout.on('data', (text) => {
    if (stdout === '') child.kill('SIGTERM')
    stdout += text
  })
  const code = await new Promise((resolve) => child.on('exit', resolve))
  assert.equal(code, 0)
  assert.equal(JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '{}').done, true)
})

test('setup should name its commands when it is given none, on stderr, exit 2', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join('engine', 'setup.mjs'), 'nonsense'], {
    encoding: 'utf8',
  })
  assert.deepEqual([status, stdout], [2, ''])
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> }
  const wanted = Object.values(scripts).flatMap((script) => /^node engine\/setup\.mjs (\w+)$/.exec(script)?.[1] ?? [])
  const named =
    /^setup: usage: node engine\/setup\.mjs <([a-z|]+)> \[arguments\]\n$/.exec(stderr)?.[1]?.split('|') ?? []
  assert.deepEqual(named.sort(), wanted.sort(), stderr)
})
