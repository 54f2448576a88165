/**
 * The effective configuration, layer over layer: defaults of the key table, config/base.yaml, development.yaml or
 * production.yaml (by MARKETPRISM_ENV), local.yaml, environment variables, flags. All mistakes are collected and reported
 * at once, each with the key, the value, where it stands and what is allowed. This is the only file that reads
 * `process.env`.
 */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { YAMLMap } from 'yaml'
import { isMap, isScalar, LineCounter, parseDocument } from 'yaml'
import { assert } from './assert.ts'
import { EXIT_CONFIG, Fault } from './fault.ts'
import type { Key } from './key.ts'
import type { Config, KeyPath } from './keys.ts'
import { KEYS } from './keys.ts'
import { nearest } from './nearest.ts'
import { RELATIONS } from './relations.ts'

export type { Config, KeyPath } from './keys.ts'

export type Layer = 'default' | 'file' | 'environment' | 'flag'

/** Where a value came from, e.g. layer `file`, place `config/local.yaml line 3`. */
export interface Origin {
  readonly layer: Layer
  readonly place: string
}

export interface Effective {
  readonly config: Config
  readonly values: ReadonlyMap<KeyPath, unknown>
  readonly origins: ReadonlyMap<KeyPath, Origin>
  readonly environment: Environment
  /** The same sources read again, as they are then. @throws Fault CONFIG_INVALID */
  reread(): Effective
}

export const ENVIRONMENTS = ['development', 'production'] as const
export type Environment = (typeof ENVIRONMENTS)[number]
export type Variables = Readonly<Record<string, string | undefined>>

export interface ConfigSources {
  readonly variables?: Variables
  /** `key=value` in order of appearance; the label is how the person wrote the flag. */
  readonly flags?: readonly { readonly text: string; readonly label: string }[]
  /** Directory of the YAML files. */
  readonly directory?: string
}

const PREFIX = 'MARKETPRISM_'
/** Variables that are not keys. */
export const OTHER_VARIABLES: Readonly<Record<string, string>> = {
  MARKETPRISM_ENV: 'development (default) or production: which file of config/ is read after base.yaml',
  MARKETPRISM_CONFIG_DIRECTORY: 'directory of the YAML files; default: config/ here, else the one of the package',
  MARKETPRISM_RECORDINGS:
    'directory of recordings for tests and benches; without it those that need real data are skipped',
}

const TABLE = KEYS as Readonly<Record<string, Key<unknown>>>
export const KEY_PATHS = Object.keys(KEYS) as readonly KeyPath[]
export const keyAt = (path: KeyPath): Key<unknown> => TABLE[path] as Key<unknown>

/** `spool.segmentBytes` → `MARKETPRISM_SPOOL_SEGMENT_BYTES`. */
export function variableOf(path: string): string {
  return PREFIX + path.replace(/[A-Z]/g, '_$&').replaceAll('.', '_').toUpperCase()
}

const PATH_BY_VARIABLE: ReadonlyMap<string, KeyPath> = new Map(KEY_PATHS.map((path) => [variableOf(path), path]))

/** `publisher.min_depth_levels` and `publisher.minDepthLevels` are the same key. */
const canonical = (path: string): string => path.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())

const withoutCredentials = (text: string): string => text.replace(/(\/\/)[^/@\s]+@/g, '$1***@')

/** A value as it may be shown: secrets and credentials in URLs never are. */
export function shown(path: KeyPath, value: unknown): string {
  if (keyAt(path).secret) return value === '' ? '' : '***'
  const text = Array.isArray(value) ? value.join(',') : String(value)
  return withoutCredentials(text)
}

class Layers {
  readonly values = new Map<KeyPath, unknown>()
  readonly origins = new Map<KeyPath, Origin>()
  readonly problems: string[] = []

  /** Takes a value for `path`, or notes why it cannot be. */
  put(path: string, raw: unknown, origin: Origin): void {
    const key = TABLE[path]
    if (key === undefined) {
      this.problems.push(unknownKey(path, raw, origin))
      return
    }
    const known = path as KeyPath
    const value = typeof raw === 'string' && (origin.layer !== 'file' || key.unit === 'bytes') ? key.fromText(raw) : raw
    if (!key.accepts(value)) {
      const unit = key.unit === '' ? '' : key.unit === 'bytes' ? ' bytes, also written 8MiB' : ` ${key.unit}`
      this.problems.push(`${path} = ${quoted(known, raw)} (${origin.place}): allowed is ${key.allowed}${unit}`)
      return
    }
    this.values.set(known, value)
    this.origins.set(known, origin)
  }
}

function quoted(path: KeyPath, raw: unknown): string {
  const value = keyAt(path).secret ? '***' : withoutCredentials(JSON.stringify(raw) ?? String(raw))
  return value.length > 100 ? `${value.slice(0, 100)}…` : value
}

function unknownKey(path: string, raw: unknown, origin: Origin): string {
  const value = (JSON.stringify(raw) ?? String(raw)).slice(0, 60)
  const below = (section: string): string[] =>
    KEY_PATHS.filter((known) => known.startsWith(`${section}.`)).map((known) => known.slice(section.length + 1))
  const own = below(path)
  if (own.length > 0)
    return `${path} = ${value} (${origin.place}) is a section and takes no value; below it: ${own.join(', ')}`
  const section = path.split('.').slice(0, -1).join('.')
  const siblings = below(section)
  const guess = nearest(path, KEY_PATHS)
  const allowed =
    siblings.length > 0 ? `; ${section} has ${siblings.join(', ')}` : '; `marketprism config` lists all keys'
  return `unknown key ${path} = ${value} (${origin.place})${guess ? `, did you mean ${guess}?` : ''}${allowed}`
}

/** Secrets stay out of committed files and out of the process list. */
const takesSecrets = (file: string): boolean => file === 'local.yaml'

function readYaml(layers: Layers, directory: string, file: string): void {
  const path = join(directory, file)
  if (!existsSync(path)) return
  const lines = new LineCounter()
  const document = parseDocument(readFileSync(path, 'utf8'), {
    lineCounter: lines,
    uniqueKeys: false,
    prettyErrors: false,
  })
  for (const error of document.errors) {
    layers.problems.push(`${path} line ${lines.linePos(error.pos[0]).line}: not YAML: ${error.message}`)
  }
  if (document.errors.length > 0 || document.contents === null) return
  if (!isMap(document.contents)) {
    layers.problems.push(`${path}: a mapping of keys is expected`)
    return
  }
  const seen = new Map<string, string>()
  const walk = (map: YAMLMap, prefix: string): void => {
    for (const pair of map.items) {
      const name = isScalar(pair.key) ? String(pair.key.value) : String(pair.key)
      const key = canonical(prefix === '' ? name : `${prefix}.${name}`)
      const at = isScalar(pair.key) && pair.key.range ? ` line ${lines.linePos(pair.key.range[0]).line}` : ''
      if (isMap(pair.value) && TABLE[key] === undefined) walk(pair.value, key)
      else if (isEmptySection(key, pair.value)) continue
      else
        leaf(
          key,
          `${path}${at}`,
          isScalar(pair.value) ? pair.value.value : (pair.value as { toJSON(): unknown } | null)?.toJSON(),
        )
    }
  }
  const leaf = (key: string, place: string, value: unknown): void => {
    const before = seen.get(key)
    seen.set(key, place)
    if (before !== undefined) layers.problems.push(`${key} stands twice: ${before} and ${place}; keep one`)
    else if (TABLE[key]?.secret && !takesSecrets(file)) layers.problems.push(secretMisplaced(key, place))
    else layers.put(key, value, { layer: 'file', place })
  }
  walk(document.contents, '')
}

/** `nats:` with every line below it commented out. */
function isEmptySection(key: string, value: unknown): boolean {
  const empty = value === null || (isScalar(value) && value.value === null)
  return empty && KEY_PATHS.some((path) => path.startsWith(`${key}.`))
}

const secretMisplaced = (key: string, place: string): string =>
  `${key} is a secret and must not stand there (${place}): set ${variableOf(key)}, or ${variableOf(key)}_FILE to the path of a file that holds it`

function readVariables(layers: Layers, variables: Variables): void {
  for (const [name, raw] of Object.entries(variables)) {
    if (!name.startsWith(PREFIX) || raw === undefined || name in OTHER_VARIABLES) continue
    const path = PATH_BY_VARIABLE.get(name)
    const secretPath = name.endsWith('_FILE') ? PATH_BY_VARIABLE.get(name.slice(0, -'_FILE'.length)) : undefined
    const place = `environment ${name}`
    if (path !== undefined) layers.put(path, raw, { layer: 'environment', place })
    else if (secretPath === undefined || !keyAt(secretPath).secret) layers.problems.push(unknownVariable(name, raw))
    else if (variables[variableOf(secretPath)] === undefined) readSecret(layers, secretPath, raw, place)
    else layers.problems.push(`${secretPath} is set twice: ${variableOf(secretPath)} and ${name}; keep one`)
  }
}

/** The value of a misspelt password must not reach a log either. */
function unknownVariable(name: string, raw: string): string {
  const guess = nearest(name, [...PATH_BY_VARIABLE.keys(), ...Object.keys(OTHER_VARIABLES)])
  const path = guess === null ? undefined : PATH_BY_VARIABLE.get(guess)
  const hidden = (path !== undefined && keyAt(path).secret) || /PASS|TOKEN|SECRET|CRED/.test(name)
  const value = hidden ? '***' : JSON.stringify(withoutCredentials(raw.slice(0, 60)))
  return `unknown variable ${name} = ${value}${guess ? `, did you mean ${guess}?` : '; `marketprism config` lists all'}`
}

function readSecret(layers: Layers, path: KeyPath, file: string, place: string): void {
  try {
    layers.put(path, readFileSync(file, 'utf8').trimEnd(), { layer: 'environment', place: `${place} = ${file}` })
  } catch (error) {
    layers.problems.push(
      `${path}: cannot read ${file} (${place}): ${(error as NodeJS.ErrnoException).code ?? 'error'}; name a readable file`,
    )
  }
}

function readFlags(layers: Layers, flags: NonNullable<ConfigSources['flags']>): void {
  for (const { text, label } of flags) {
    const at = text.indexOf('=')
    const key = canonical(text.slice(0, at).trim())
    if (at < 1) layers.problems.push(`${label}: --set takes key=value, e.g. --set workers.count=2`)
    else if (TABLE[key]?.secret) layers.problems.push(secretMisplaced(key, `flag --set ${key}`))
    else layers.put(key, text.slice(at + 1), { layer: 'flag', place: `flag ${label}` })
  }
}

function nest(values: ReadonlyMap<KeyPath, unknown>): Config {
  const root: Record<string, unknown> = {}
  for (const [path, value] of values) {
    const names = path.split('.')
    const last = names.pop() as string
    let at = root
    for (const name of names) {
      at[name] ??= {}
      at = at[name] as Record<string, unknown>
    }
    at[last] = value
  }
  return deepFrozen(root) as Config
}

function deepFrozen(value: unknown): unknown {
  if (value === null || typeof value !== 'object') return value
  Object.values(value).forEach(deepFrozen)
  return Object.freeze(value)
}

/** config/ in the working directory if it has a base.yaml, else the one shipped with the package. */
function defaultDirectory(): string {
  if (existsSync(join('config', 'base.yaml'))) return 'config'
  let at = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(at, 'config', 'base.yaml')) && dirname(at) !== at) at = dirname(at)
  return join(at, 'config')
}

/** @throws Fault CONFIG_INVALID (exit 78) with one line a mistake. */
export function loadConfig(sources: ConfigSources = {}): Effective {
  const variables = sources.variables ?? process.env
  const layers = new Layers()
  for (const path of KEY_PATHS) {
    assert(keyAt(path).accepts(keyAt(path).default), `default of ${path} is not allowed by its own key`)
    layers.put(path, keyAt(path).default, { layer: 'default', place: 'default' })
  }
  const environment = variables.MARKETPRISM_ENV ?? 'development'
  const directory = sources.directory ?? variables.MARKETPRISM_CONFIG_DIRECTORY ?? defaultDirectory()
  if (!existsSync(join(directory, 'base.yaml'))) {
    layers.problems.push(
      `no base.yaml in ${resolve(directory)}: set MARKETPRISM_CONFIG_DIRECTORY to the directory of the YAML files`,
    )
  }
  if (!(ENVIRONMENTS as readonly string[]).includes(environment)) {
    layers.problems.push(`MARKETPRISM_ENV = ${JSON.stringify(environment)}: allowed is ${ENVIRONMENTS.join(', ')}`)
  } else {
    for (const file of ['base.yaml', `${environment}.yaml`, 'local.yaml']) readYaml(layers, directory, file)
  }
  readVariables(layers, variables)
  readFlags(layers, sources.flags ?? [])
  const config = nest(layers.values)
  if (layers.problems.length === 0) layers.problems.push(...brokenRelations(config, layers))
  if (layers.problems.length > 0)
    throw new Fault('CONFIG_INVALID', layers.problems.map((line) => `config: ${line}`).join('\n'), EXIT_CONFIG)
  return {
    config,
    values: layers.values,
    origins: layers.origins,
    environment: environment as Environment,
    reread: () => loadConfig(sources),
  }
}

function brokenRelations(config: Config, layers: Layers): string[] {
  return RELATIONS.filter((relation) => !relation.holds(config)).map((relation) => {
    const values = relation.keys.map(
      (path) => `${path} = ${shown(path, layers.values.get(path))} (${layers.origins.get(path)?.place})`,
    )
    return `${values.join(', ')}: ${relation.allowed}`
  })
}
