/** Where a request comes from, and where it believes to be. */
import type { IncomingHttpHeaders } from 'node:http'
import { isIPv6 } from 'node:net'

/** The answer to who calls us by a name that is not ours (Misdirected Request). */
export const HOST_REFUSED = { status: 421, code: 'host_not_allowed' } as const

const LOOPBACK_NAME = /^(localhost|.+\.localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1)$/

/** Whether a name or address is of this machine and reaches no other. */
export function isLoopback(host: string): boolean {
  return LOOPBACK_NAME.test(host.toLowerCase())
}

/** Whether no resolver is asked where it leads: an address, and the one name that browsers know by heart. */
export function isLoopbackForAll(name: string): boolean {
  return isLoopback(name) && !name.toLowerCase().endsWith('.localhost')
}

/**
 * The address of a client. Behind a proxy that we trust it is the last that the proxy wrote; whatever stands before it the
 * client may have written itself.
 */
export function clientAddress(
  remote: string | undefined,
  headers: IncomingHttpHeaders,
  isBehindProxy: boolean,
): string {
  const forwarded = isBehindProxy ? headers['x-forwarded-for'] : undefined
  const list = Array.isArray(forwarded) ? forwarded.join(',') : forwarded
  const address = list?.split(',').at(-1)?.trim() || (remote ?? '')
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/, '').slice(0, 64)
}

/** Whom a limit is for: who has one IPv6 address has 2^64 of them. */
export function neighbourhood(address: string): string {
  if (!isIPv6(address)) return address
  const [head = '', tail] = address.split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - before.length - after.length }, () => '0')
  return `${[...before, ...zeros, ...after].slice(0, 4).join(':')}::/64`
}

/** `Host: [::1]:9480` → `::1`; undefined when that is no host. */
export function hostName(host: string | undefined): string | undefined {
  const [, bracketed, plain] = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?$/.exec(host ?? '') ?? []
  return (bracketed ?? plain)?.toLowerCase()
}

/** Whether the page that asks is ours: same host and port. Behind a proxy that ends TLS the scheme differs. */
export function isSameOrigin(origin: string, host: string | undefined): boolean {
  if (host === undefined || !URL.canParse(origin)) return false
  const url = new URL(origin)
  return (
    (url.protocol === 'http:' || url.protocol === 'https:') && url.host === new URL(`${url.protocol}//${host}`).host
  )
}
