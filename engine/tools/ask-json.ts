import { Agent, fetch } from 'undici'
import { HOST_REFUSED } from '../gateway/security/addresses.ts'

const ASK_MS_MAX = 3_000
/** Who answers is the question, not whether his certificate is good. */
const ANYBODY = new Agent({ connect: { rejectUnauthorized: false } })

export interface JsonAnswer {
  readonly status: number
  readonly body: unknown
  readonly ms: number
}

/** @returns undefined when nobody answers in JSON. */
export async function askJson(url: string): Promise<JsonAnswer | undefined> {
  const startMs = performance.now()
  try {
    const answer = await fetch(url, { dispatcher: ANYBODY, signal: AbortSignal.timeout(ASK_MS_MAX) })
    const body: unknown = await answer.json()
    return { status: answer.status, body, ms: performance.now() - startMs }
  } catch {
    return undefined
  }
}

/** A gateway says its processes, or no in the form of its errors. */
export function isGateway(answer: JsonAnswer | undefined): answer is JsonAnswer {
  const body = answer?.body
  return typeof body === 'object' && body !== null && ('processes' in body || 'error' in body)
}

/** Whether a gateway is there that does not want to be called so: it says that to everything, whatever is asked. */
export function refusesName(answer: JsonAnswer): boolean {
  const { error } = (answer.body ?? {}) as { error?: { code?: unknown } }
  return answer.status === HOST_REFUSED.status && error?.code === HOST_REFUSED.code
}
