// @ts-check
/** Questions to the gateway over HTTP, with the key where it asks for one. */

const KEY = 'marketprism.key'
const TIMEOUT_MS = 15_000

/** What the gateway said instead of an answer. */
export class Refusal extends Error {
  /** @param {number} status 0: no answer at all @param {string} code @param {string} message */
  constructor(status, code, message) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** @type {string | null} */
let key = null
try {
  key = sessionStorage.getItem(KEY)
} catch {
  // storage is switched off: the key lives as long as the document
}

export const keyOf = () => key

/** @param {string} text */
export function keepKey(text) {
  key = text
  try {
    sessionStorage.setItem(KEY, text)
  } catch {
    // see above
  }
}

/** Told when an answer was 401 or 403: the key is missing or not good. @type {(message: string) => void} */
let onKeyWanted = () => {}
/** @param {(message: string) => void} told */
export const whenKeyWanted = (told) => {
  onKeyWanted = told
}

/** @param {string} message */
export const wantKey = (message) => onKeyWanted(message)

/**
 * @param {string} path @param {Record<string, string | number | undefined>} [query] @param {AbortSignal} [signal]
 * @returns {Promise<any>} @throws {Refusal}
 */
export async function ask(path, query = {}, signal) {
  const url = new URL(path, location.origin)
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value))
  const timeout = AbortSignal.timeout(TIMEOUT_MS)
  let response
  try {
    response = await fetch(url, {
      headers: key === null ? {} : { authorization: `Bearer ${key}` },
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    })
  } catch (error) {
    if (signal?.aborted) throw error
    throw new Refusal(0, 'no_answer', 'The gateway does not answer.')
  }
  const body = await response.json().catch(() => ({}))
  if (response.ok) return body
  const { code = 'error', message = `HTTP ${response.status}` } = body.error ?? {}
  if (response.status === 401 || response.status === 403) onKeyWanted(message)
  throw new Refusal(response.status, code, message)
}
