/*
 * node engine/setup.mjs <demo|start|test|bench|soak|faults|rotation|scale|fanout|flood|conservation|outages|build> [arguments]
 *
 * What stands between a fresh checkout and a running program: the right Node, the packages of the lock file, the compiled
 * code, for tests a nats-server. Runs before anything is installed, so it is plain JavaScript that even an old Node can
 * read, and needs nothing but Node and npm. All its own words go to stderr: stdout belongs to the program.
 */
import { spawn, spawnSync } from 'child_process'
import { existsSync, readdirSync, readFileSync, statSync, unlinkSync } from 'fs'
import { delimiter, dirname, join } from 'path'
import { fileURLToPath, pathToFileURL } from 'url'

const NODE_MIN = [20, 19]
const TEST_FILES_AT_ONCE = '2' // every system test starts servers; more at once only disturb each other's timing
const TEST_TIMEOUT_MS = '300000'
const RUN_MARK = 'TEST_RUN_OF_MARKETPRISM' // not one of the engine's own variables: tests hide those from what they start
const LEFT_BEHIND_MS = 10_000
const SOURCES = ['engine', 'workers', 'native-bench', 'test']
const EXIT_FAULT = 70

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const dist = join(root, 'dist')
const say = (text) => process.stderr.write(`setup: ${text}\n`)

function fail(text) {
  say(text)
  process.exit(EXIT_FAULT)
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])) return
  fail(`Node ${process.versions.node} is too old: this needs Node ${NODE_MIN.join('.')} or newer. Install it from your package manager or with a version manager, then try again.`)
}

/** Every package of the lock file stands in node_modules in the same version; optional ones may be missing. */
function packagesAreThere() {
  const installed = join(root, 'node_modules', '.package-lock.json') // npm writes it last and removes it first
  if (!existsSync(installed)) return false
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
  const found = JSON.parse(readFileSync(installed, 'utf8')).packages
  return Object.entries(wanted).every(([path, entry]) => {
    if (!path.startsWith('node_modules/')) return true
    if (found[path] === undefined) return entry.optional === true || entry.devOptional === true || entry.peer === true
    return found[path].version === entry.version
  })
}

/** Runs a program with its output on stderr. */
function run(what, command, args) {
  const started = Date.now()
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' })
  if (error || status !== 0) fail(`${what} failed (${error ? error.message : `exit ${status}`}); the lines above say why`)
  return `${((Date.now() - started) / 1000).toFixed(1)} s`
}

function install() {
  if (packagesAreThere()) return
  say('installing the packages of package-lock.json (once; about 700 MB with the embedded ClickHouse engine)')
  say(`installed in ${run('npm ci', 'npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'])}`)
}

function filesBelow(directory, suffix) {
  if (!existsSync(directory)) return []
  return readdirSync(directory).flatMap((name) => {
    const path = join(directory, name)
    if (name === 'node_modules') return []
    return statSync(path).isDirectory() ? filesBelow(path, suffix) : name.endsWith(suffix) ? [path] : []
  })
}

const compile = (project) => run(`compiling ${project}`, process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', project])

/** The compiler takes about a second, so it always runs; what it left of deleted sources goes. The client alone has types for others. */
function build() {
  const took = compile('tsconfig.json')
  compile(join('engine', 'client', 'tsconfig.json'))
  for (const output of SOURCES.flatMap((folder) => filesBelow(join(dist, folder), '.js'))) {
    const stem = output.slice(0, -'.js'.length)
    if (existsSync(join(root, `${stem.slice(dist.length + 1)}.ts`))) continue
    for (const path of [output, `${output}.map`, `${stem}.d.ts`]) if (existsSync(path)) unlinkSync(path)
  }
  return took
}

/** Replaces this process as far as Node allows: same terminal, same signals, same exit code. */
function become(args, env = process.env, atExit = (code) => process.exit(code)) {
  const child = spawn(process.execPath, args, { cwd: process.cwd(), stdio: 'inherit', env })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // Ctrl-C reaches the child from the terminal itself; other signals came to this process alone.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  }
  child.on('error', (error) => fail(`cannot start ${args[0]}: ${error.message}`))
  child.on('exit', (code, signal) => atExit(code === null ? 128 + (signal === 'SIGINT' ? 2 : 15) : code))
}

/** Tests that need NATS skip themselves without it; in CI a skip would hide a hole. @returns PATH with the server on it. */
async function pathWithNatsServer() {
  const from = (...names) => import(pathToFileURL(join(dist, 'engine', ...names)).href)
  const { findNatsServer } = await from('embedded', 'nats-install.js')
  const { createLog } = await from('base', 'log.js')
  const found = await findNatsServer({ cacheDirectory: join(root, '.cache'), mayFetch: true, log: createLog('warn', 'setup') })
  if (!('reason' in found)) return [dirname(found.command), process.env.PATH].filter((entry) => entry !== '.').join(delimiter)
  if (process.env.CI) fail(`no nats-server, and in CI no test may be skipped for that: ${found.reason}`)
  say(`no nats-server, so the tests that need it are skipped: ${found.reason}`)
  return process.env.PATH
}

async function test(words) {
  const PATH = await pathWithNatsServer()
  const files = filesBelow(join(dist, 'test'), '.test.js').filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  if (files.length === 0) fail(`no test file has ${words.join(' or ')} in its name`)
  const options = ['--test', `--test-concurrency=${TEST_FILES_AT_ONCE}`, `--test-timeout=${TEST_TIMEOUT_MS}`, '--test-reporter=spec']
  become([...options, ...files.sort()], { ...process.env, PATH, [RUN_MARK]: String(process.pid) }, endLeftBehind)
}

/** Processes of this run by what they inherited in their environment; where there is no /proc, none. */
function processesOfRun() {
  if (!existsSync('/proc/self/environ')) return []
  const mark = `\0${RUN_MARK}=${process.pid}\0`
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    try {
      const marked = `\0${readFileSync(`/proc/${name}/environ`, 'latin1')}`.includes(mark)
      return marked ? [{ pid: Number(name), line: readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').join(' ') }] : []
    } catch {
      return [] // it has ended, or is another user's
    }
  })
}

/** A process that outlives its test is a fault of that test, and whoever reads our output to its end would wait for it. */
function endLeftBehind(code) {
  const lastMs = Date.now() + LEFT_BEHIND_MS
  const look = () => {
    const left = processesOfRun()
    if (left.length > 0 && Date.now() < lastMs) return void setTimeout(look, 200)
    for (const { pid, line } of left) {
      say(`process ${pid} outlived the tests, so it was killed and the run has failed: ${line.slice(0, 200)}`)
      try {
        process.kill(pid, 'SIGKILL')
      } catch {} // ended meanwhile
    }
    process.exit(left.length > 0 && code === 0 ? 1 : code)
  }
  look()
}

const main = join(dist, 'engine', 'main.js')
const COMMANDS = {
  build: () => {},
  demo: (words) => become([main, 'demo', ...words]),
  start: (words) => become([main, 'all', ...words]),
  faults: (words) => become([main, 'faults', ...words]),
  rotation: (words) => become([main, 'rotation', ...words]),
  scale: (words) => become([main, 'scale', ...words]),
  fanout: (words) => become([main, 'fanout', ...words]),
  flood: (words) => become([main, 'flood', ...words]),
  conservation: (words) => become([main, 'conservation', ...words]),
  outages: (words) => become([main, 'outages', ...words]),
  soak: (words) => become([join(dist, 'test', 'system', 'soak.js'), ...words]),
  bench: (words) => become([join(dist, 'native-bench', 'main.js'), ...words]),
  test,
}

const [command, ...words] = process.argv.slice(2)
if (!Object.prototype.hasOwnProperty.call(COMMANDS, command || '')) {
  say(`usage: node engine/setup.mjs <${Object.keys(COMMANDS).join('|')}> [arguments]`)
  process.exit(2)
}
checkNode()
install()
const took = build()
if (command === 'build') say(`compiled into dist/ in ${took}`)
COMMANDS[command](words)
