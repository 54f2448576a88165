/** The configuration of an engine that runs against simulated venues. */
import type { Config } from '../../base/config.ts'
import type { Run } from '../../base/run.ts'
import type { Bases, MarketPlans } from './venue.ts'

/** The run's own, with these venues, this directory and these markets in it; all others are off. */
export function demoConfig(
  run: Run,
  directory: string,
  urls: Readonly<Record<string, Bases>>,
  markets: MarketPlans,
): Config {
  const { config, effective } = run
  const exchanges = Object.entries(config.exchanges).map(([exchange, each]) => [
    exchange,
    Object.fromEntries(
      Object.entries(each).map(([name, market]) => {
        const key = `${exchange}.${name}`
        const bases = urls[key]
        const plan = markets[key]
        if (bases === undefined || plan === undefined) return [name, { ...market, enabled: false }]
        const { count: _all, ...keys } = plan
        const { ws: wsUrl, rest: restUrl } = bases
        return [name, { ...market, ...keys, enabled: true, instruments: ['*'], wsUrl, restUrl, proxy: '' }]
      }),
    ),
  ])
  const portOf = (key: 'observe' | 'serve'): number =>
    effective.origins.get(`${key}.port`)?.layer === 'default' ? 0 : config[key].port
  return {
    ...config,
    data: { directory },
    spool: { ...config.spool, directory: '' },
    observe: { ...config.observe, port: portOf('observe') },
    serve: { ...config.serve, port: portOf('serve') },
    exchanges: Object.fromEntries(exchanges),
  } as Config
}
