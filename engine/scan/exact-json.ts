/**
 * JSON for rare frames, with every number left as the text that the venue wrote: `1.0002e6`, `225046781992378368`. A
 * double would round the one and lose digits of the other.
 *
 * Arithmetic: one pass of a regular expression and `JSON.parse`: 3 µs a frame of 500 bytes. Not for the hot kinds.
 */
// a number that JSON would refuse (a leading zero) falls apart, one in the place of a key stays: JSON.parse refuses both
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?!\s*:)/g
const QUOTE = 34

/** A JSON value whose numbers are text. */
export type ExactJson = string | boolean | null | readonly ExactJson[] | { readonly [key: string]: ExactJson }
export type ExactRecord = { readonly [key: string]: ExactJson }

/** @returns undefined when the bytes are no JSON. */
export function parseExact(bytes: Uint8Array, offset: number, length: number): ExactJson | undefined {
  // a copy: the bytes may be shared memory, which no decoder takes
  const text = Buffer.from(bytes.slice(offset, offset + length)).toString('utf8')
  try {
    return JSON.parse(
      text.replace(STRING_OR_NUMBER, (token) => (token.charCodeAt(0) === QUOTE ? token : `"${token}"`)),
    ) as ExactJson
  } catch {
    return undefined
  }
}

export function recordOf(value: ExactJson | undefined): ExactRecord | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as ExactRecord) : undefined
}

export function listOf(value: ExactJson | undefined): readonly ExactJson[] | undefined {
  return Array.isArray(value) ? value : undefined
}

/** A number or word as text; null where there is none, or an empty one: absent is not zero. */
export function textOf(value: ExactJson | undefined): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

/** Milliseconds since the epoch as text → ns; 0n where there is none. */
export function nsOfMs(value: ExactJson | undefined): bigint {
  return typeof value === 'string' && /^\d{1,15}$/.test(value) ? BigInt(value) * 1_000_000n : 0n
}
