import { randomBytes } from 'node:crypto'
import { appendFileSync, readFileSync } from 'node:fs'
import Table from 'cli-table3'
import { Clock } from '../base/clock.ts'
import { EXIT_USAGE, Fault } from '../base/fault.ts'
import type { Run } from '../base/run.ts'
import { hashOfKey, type KeyRecord, parseKeys } from '../gateway/security/keys.ts'
import type { Scope } from '../gateway/security/principal.ts'

/** `marketprism keys`: who may ask the gateway. */
export interface KeysOptions {
  readonly action: 'create' | 'list'
  readonly scopes: readonly Scope[]
  /** how long it is good; undefined: until its line is taken out */
  readonly days: number | undefined
  readonly id: string | undefined
  readonly requestsPerSecond: number | undefined
  /** put the line into serve.keysFile */
  readonly add: boolean
  readonly json: boolean
}

const ID_BYTES = 4
const KEY_BYTES = 32
const DAY_MS = 86_400_000

export function runKeys(options: KeysOptions, { config }: Run): void {
  const { keysFile } = config.serve
  if (options.action === 'list') return list(keysFile, options.json)
  create(keysFile, options)
}

export const newKey = (id: string): string => `marketprism_${id}_${randomBytes(KEY_BYTES).toString('base64url')}`

/** The key is told here and nowhere else: the file has its hash. */
function create(keysFile: string, { scopes, days, id, requestsPerSecond, add, json }: KeysOptions): void {
  const name = id ?? randomBytes(ID_BYTES).toString('hex')
  const key = newKey(name)
  const expires = days === undefined ? {} : { expires: new Date(new Clock().nowMs() + days * DAY_MS).toISOString() }
  const quota = requestsPerSecond === undefined ? {} : { requestsPerSecond }
  const line = JSON.stringify({ id: name, sha256: hashOfKey(key), scopes, ...expires, ...quota })
  parseKeys(line, 'this key') // an id that the file would not take
  if (add) append(keysFile, name, line)
  if (json) return print(JSON.stringify({ key, line, file: add ? keysFile : null }))
  print(`key    ${key}`)
  print(add ? `added  to ${keysFile}` : `line   ${line}`)
  process.stderr.write(
    add
      ? 'marketprism: keep the key, it is not shown again\n'
      : 'marketprism: keep the key, it is not shown again; put the line into the file of serve.keysFile\n',
  )
}

function append(file: string, id: string, line: string): void {
  if (file === '') throw new Fault('NO_KEYS_FILE', '--add needs serve.keysFile: --set serve.keysFile=PATH', EXIT_USAGE)
  const before = readOrEmpty(file)
  if (parseKeys(before, file).some((record) => record.id === id))
    throw new Fault('KEY_EXISTS', `${file} has a key ${id}: choose another --id, or take its line out`, EXIT_USAGE)
  appendFileSync(file, `${before === '' || before.endsWith('\n') ? '' : '\n'}${line}\n`, { mode: 0o600 })
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}

function list(file: string, json: boolean): void {
  if (file === '') throw new Fault('NO_KEYS_FILE', 'there is no serve.keysFile: --set serve.keysFile=PATH', EXIT_USAGE)
  const records = parseKeys(readOrEmpty(file), file)
  const nowMs = new Clock().nowMs()
  if (json) return print(JSON.stringify({ file, keys: records.map((record) => shownKey(record, nowMs)) }))
  const table = new Table({
    head: ['id', 'scopes', 'state', 'expires', 'requests/s'],
    style: { head: [], border: [], compact: true },
  })
  for (const record of records) {
    const { id, scopes, state, expires, requestsPerSecond } = shownKey(record, nowMs)
    table.push([id, scopes.join(', '), state, expires ?? 'never', requestsPerSecond ?? 'as all'])
  }
  print(`${file}: ${records.length} keys`)
  if (records.length > 0) print(String(table))
}

function shownKey({ id, scopes, expiresMs, requestsPerSecond }: KeyRecord, nowMs: number) {
  return {
    id,
    scopes: [...scopes],
    state: expiresMs !== undefined && expiresMs <= nowMs ? 'expired' : 'good',
    expires: expiresMs === undefined ? null : new Date(expiresMs).toISOString(),
    requestsPerSecond: requestsPerSecond ?? null,
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
