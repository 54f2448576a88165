import { EXIT_CONFIG, Fault } from '../../base/fault.ts'
import { isLoopback } from './addresses.ts'

/** What decides whether the gateway may listen where it is told to. */
export interface Exposure {
  readonly host: string
  readonly hasKeys: boolean
  readonly hasTls: boolean
  readonly behindTlsProxy: boolean
  /** the explicit override */
  readonly exposed: boolean
}

/** Whether only this machine can reach the gateway. Behind a proxy others can, whatever it listens on. */
export function isLocalOnly({ host, behindTlsProxy }: Pick<Exposure, 'host' | 'behindTlsProxy'>): boolean {
  return isLoopback(host) && !behindTlsProxy
}

/** @throws Fault (exit 78) when outsiders could reach a gateway that asks for no key, or that sends keys in the clear */
export function assertServable(exposure: Exposure): void {
  if (isLocalOnly(exposure) || exposure.exposed) return
  const { host, hasKeys, hasTls, behindTlsProxy } = exposure
  const missing = [
    ...(hasKeys ? [] : ['keys (serve.keysFile, from `marketprism keys create`)']),
    ...(hasTls || behindTlsProxy ? [] : ['TLS (serve.tlsCertFile and serve.tlsKeyFile, or serve.behindTlsProxy=true)']),
  ]
  if (missing.length === 0) return
  const where = behindTlsProxy ? 'behind a proxy' : `on ${host}`
  throw new Fault(
    'SERVE_EXPOSED',
    `the gateway ${where} could be reached by others and needs ${missing.join(' and ')}; or listen on 127.0.0.1, or say serve.exposed=true`,
    EXIT_CONFIG,
  )
}
