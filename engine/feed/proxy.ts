import { EventEmitter } from 'node:events'
import type { Agent as HttpAgent, ClientRequest } from 'node:http'
import { HttpsProxyAgent } from 'https-proxy-agent'
import { SocksProxyAgent } from 'socks-proxy-agent'
import { Agent, buildConnector, type Dispatcher, ProxyAgent } from 'undici'
import { EXIT_CONFIG, Fault } from '../base/fault.ts'

/** Ways out of the house: SOCKS and HTTP CONNECT, for sockets (an http.Agent) and for REST (an undici dispatcher). */

type ProxyKind = 'socks' | 'http'

function proxyKind(proxy: string): ProxyKind {
  const scheme = URL.canParse(proxy) ? new URL(proxy).protocol : ''
  if (['socks:', 'socks4:', 'socks4a:', 'socks5:', 'socks5h:'].includes(scheme)) return 'socks'
  if (scheme === 'http:' || scheme === 'https:') return 'http'
  throw new Fault(
    'PROXY_URL',
    `proxy ${hidePassword(proxy)}: expected socks5://host:port, socks5h://host:port or http://host:port`,
    EXIT_CONFIG,
  )
}

/** For sockets. @returns undefined when `proxy` is empty: straight out */
export function socketAgent(proxy: string): HttpAgent | undefined {
  if (proxy === '') return undefined
  return proxyKind(proxy) === 'socks' ? new SocksProxyAgent(proxy) : new HttpsProxyAgent(proxy)
}

/** For REST, straight out when `proxy` is empty; `options` are those of the pool it makes for each origin. */
export function restDispatcher(proxy: string | undefined, options: Agent.Options): Dispatcher {
  if (proxy === undefined || proxy === '') return new Agent(options)
  if (proxyKind(proxy) === 'http') return new ProxyAgent({ ...options, uri: proxy, proxyTunnel: true })
  return new Agent({ ...options, connect: socksConnector(proxy) })
}

/** undici's own SOCKS agent calls itself experimental and says so on stderr; the one used for sockets does both. */
function socksConnector(proxy: string): buildConnector.connector {
  const agent = new SocksProxyAgent(proxy)
  const startTls = buildConnector({})
  return (options, callback) => {
    const port = options.port === '' ? (options.protocol === 'https:' ? 443 : 80) : Number(options.port)
    // the agent announces the proxy on the request it serves; here nobody listens
    const request = new EventEmitter() as ClientRequest
    agent.connect(request, { host: options.hostname, port, secureEndpoint: false }).then(
      (socket) => {
        if (options.protocol === 'https:') startTls({ ...options, httpSocket: socket }, callback)
        else callback(null, socket)
      },
      (error: Error) => callback(error, null),
    )
  }
}

export function hidePassword(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//…@')
}
