import type { Clock } from '../engine/base/clock.ts'
import type { Fault } from '../engine/base/fault.ts'
import { createLog } from '../engine/base/log.ts'
import { freshSeed, type Random } from '../engine/base/random.ts'
import { isOpen } from '../engine/sinks/gate.ts'
import { NatsLink } from '../engine/sinks/nats.ts'
import { CLAIM_DEFAULT, ProducerClaim } from '../engine/sinks/producer-claim.ts'
import { lockProducer } from '../engine/spool/lock.ts'
import type { BlockSinkSettings } from './block-sink.ts'

/**
 * Nobody else delivers under this name: no process of this machine to the same servers, and none on any machine to the same
 * NATS. Both are given up when the process ends, however it ends.
 * @param onTaken somebody else has the name, found out later: the process has to end
 * @throws Fault `PRODUCER_IN_USE`
 */
export async function holdProducer(
  producer: string,
  settings: BlockSinkSettings,
  clock: Clock,
  random: Random,
  onTaken: (fault: Fault) => void,
): Promise<{ release(): Promise<void> }> {
  const since = new Date(clock.nowMs()).toISOString()
  const lock = await lockProducer(producer, targetOf(settings), since)
  // who delivers says already when NATS is away
  const log = createLog('silent', 'producer')
  const link =
    settings.nats === undefined ? undefined : new NatsLink(settings.nats, 'marketprism producer', random, log)
  const release = async (): Promise<void> => {
    await link?.close()
    await lock.release()
  }
  if (link === undefined) return { release }
  // a server that was away a moment ago is not waited for: nothing is collected meanwhile
  const connectMsMax = isOpen(settings.gates ?? []) ? CLAIM_DEFAULT.connectMsMax : 0
  const instance = `${process.pid}-${freshSeed()}`
  const claim = new ProducerClaim(link, producer, instance, since, { ...CLAIM_DEFAULT, connectMsMax })
  claim.onTaken = onTaken
  link.start()
  try {
    await claim.settle()
  } catch (error) {
    await release()
    throw error
  }
  return { release }
}

/** The same text for the same place, as far as that can be seen from here. */
function targetOf({ blocks, nats }: BlockSinkSettings): string {
  const isDirect = blocks.to === 'clickhouse'
  const place = isDirect ? `${blocks.clickhouse.url} ${blocks.clickhouse.database}` : (nats?.url ?? '')
  return place.replace('//localhost', '//127.0.0.1')
}
