/**
 * What one configuration key is: how its text is read, what it allows, and how it prints. The constructors below are the
 * kinds of value; keys.ts lists the keys.
 */
import type { Range } from './limits.ts'

export interface Key<T> {
  readonly unit: string
  readonly default: T
  /** How the default prints where it depends on the machine. */
  readonly defaultText?: string
  /** What is allowed, in words. */
  readonly allowed: string
  readonly why: string
  /** Never printed, never taken from a committed file or a flag. */
  readonly secret: boolean
  /** Text of an environment variable or flag → value of the right type, or anything that `accepts` refuses. */
  fromText(text: string): unknown
  accepts(value: unknown): value is T
}

interface Options {
  readonly unit?: string
  readonly defaultText?: string
}

const isText = (value: unknown): value is string => typeof value === 'string'

export function text(
  byDefault: string,
  why: string,
  options: Options & { pattern?: RegExp; allowed?: string } = {},
): Key<string> {
  const { pattern } = options
  return {
    unit: options.unit ?? '',
    default: byDefault,
    ...(options.defaultText === undefined ? {} : { defaultText: options.defaultText }),
    allowed: options.allowed ?? 'text',
    why,
    secret: false,
    fromText: (raw) => raw,
    accepts: (value): value is string => isText(value) && (pattern === undefined || pattern.test(value)),
  }
}

/** Text that never shows; also readable from the file that `<VARIABLE>_FILE` names. */
export function secret(why: string): Key<string> {
  return { ...text('', why, { allowed: 'text; empty = none' }), secret: true }
}

/** Empty = none. Credentials inside are masked when printed. */
export function url(schemes: readonly string[], why: string, byDefault = ''): Key<string> {
  const accepts = (value: unknown): value is string => {
    if (value === '') return true
    if (!isText(value) || !URL.canParse(value)) return false
    return schemes.includes(new URL(value).protocol.slice(0, -1))
  }
  return { ...text(byDefault, why, { allowed: `a URL (${schemes.join(', ')}); empty = none` }), accepts }
}

const BYTES_TEXT = /^(\d+)\s*(KiB|MiB|GiB|TiB)$/
const BYTES_POWER: Readonly<Record<string, number>> = { KiB: 10, MiB: 20, GiB: 30, TiB: 40 }

/** `8MiB` → 8388608; anything else unchanged. */
function bytesOf(raw: unknown): unknown {
  const match = isText(raw) ? BYTES_TEXT.exec(raw) : null
  return match ? Number(match[1]) * 2 ** (BYTES_POWER[match[2] as string] as number) : raw
}

export interface NumberOptions extends Options {
  readonly powerOfTwo?: boolean
  /** Only these values; the range still has to hold them. */
  readonly choices?: readonly number[]
}

export function integer(byDefault: number, range: Range, why: string, options: NumberOptions = {}): Key<number> {
  const { powerOfTwo = false, choices, unit = '' } = options
  const limits = choices ? choices.join(', ') : `${range.min} … ${range.max}`
  const kind = powerOfTwo ? 'a power of two, ' : choices ? '' : 'a whole number, '
  return {
    unit,
    default: byDefault,
    ...(options.defaultText === undefined ? {} : { defaultText: options.defaultText }),
    allowed: `${kind}${limits}`,
    why,
    secret: false,
    fromText: (raw) => (/^-?\d{1,16}$/.test(raw.trim()) ? Number(raw) : unit === 'bytes' ? bytesOf(raw.trim()) : raw),
    accepts: (value): value is number =>
      Number.isSafeInteger(value) &&
      within(value as number, range) &&
      (!powerOfTwo || Number.isInteger(Math.log2(value as number))) &&
      (choices === undefined || choices.includes(value as number)),
  }
}

export function number(byDefault: number, range: Range, why: string, options: Options = {}): Key<number> {
  return {
    unit: options.unit ?? '',
    default: byDefault,
    allowed: `a number, ${range.min} … ${range.max}`,
    why,
    secret: false,
    fromText: (raw) => (/^-?\d+(\.\d+)?$/.test(raw.trim()) ? Number(raw) : raw),
    accepts: (value): value is number => typeof value === 'number' && within(value, range),
  }
}

function within(value: number, range: Range): boolean {
  return value >= range.min && value <= range.max
}

const TRUTH: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  '1': true,
  false: false,
  no: false,
  off: false,
  '0': false,
}

export function flag(byDefault: boolean, why: string): Key<boolean> {
  return {
    unit: '',
    default: byDefault,
    allowed: 'true, false',
    why,
    secret: false,
    fromText: (raw) => TRUTH[raw.trim().toLowerCase()] ?? raw,
    accepts: (value): value is boolean => typeof value === 'boolean',
  }
}

export function choice<const Word extends string>(byDefault: Word, words: readonly Word[], why: string): Key<Word> {
  return {
    unit: '',
    default: byDefault,
    allowed: words.join(', '),
    why,
    secret: false,
    fromText: (raw) => raw.trim(),
    accepts: (value): value is Word => (words as readonly unknown[]).includes(value),
  }
}

const splitList = (raw: string): string[] =>
  raw
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')

export function list(
  byDefault: readonly string[],
  pattern: RegExp,
  allowed: string,
  why: string,
): Key<readonly string[]> {
  return {
    unit: '',
    default: byDefault,
    allowed,
    why,
    secret: false,
    fromText: splitList,
    accepts: (value): value is readonly string[] =>
      Array.isArray(value) &&
      value.every((item) => isText(item) && pattern.test(item)) &&
      new Set(value).size === value.length,
  }
}

export function choices<const Word extends string>(
  byDefault: readonly Word[],
  words: readonly Word[],
  why: string,
): Key<readonly Word[]> {
  return {
    unit: '',
    default: byDefault,
    allowed: `a list without repeats of: ${words.join(', ')}`,
    why,
    secret: false,
    fromText: splitList,
    accepts: (value): value is readonly Word[] =>
      Array.isArray(value) &&
      value.every((item) => (words as readonly unknown[]).includes(item)) &&
      new Set(value).size === value.length,
  }
}

/** {a, b} below `prefix` → {'prefix.a', 'prefix.b'}. */
export function below<const Prefix extends string, Table extends Record<string, Key<unknown>>>(
  prefix: Prefix,
  table: Table,
) {
  return Object.fromEntries(Object.entries(table).map(([name, key]) => [`${prefix}.${name}`, key])) as {
    [Name in keyof Table & string as `${Prefix}.${Name}`]: Table[Name]
  }
}
