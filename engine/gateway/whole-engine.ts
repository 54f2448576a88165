import type { Clock } from '../base/clock.ts'
import type { ChangeAnswer, EngineLink, EngineStatus, InstrumentChange, InstrumentName } from './engine-link.ts'
import type { Peers } from './peers.ts'
import { Recent } from './recent.ts'

/** Pages ask for a status once a second. */
const STATUS_GOOD_MS = 500
const LISTS_GOOD_MS = 1_000

/**
 * The process of the gateway and all others that are known, as one engine. What the own process says of itself costs its
 * main thread, which reads the sockets, a millisecond: however many ask, it is asked twice a second at most.
 */
export class WholeEngine implements EngineLink {
  readonly #own: EngineLink
  readonly #peers: Peers
  readonly #hasCollector: boolean
  readonly #status: Recent<Awaited<ReturnType<EngineLink['status']>>>
  readonly #collected: Recent<Awaited<ReturnType<EngineLink['collected']>>>
  readonly #plan: Recent<Awaited<ReturnType<EngineLink['plan']>>>
  readonly #config: Recent<Awaited<ReturnType<EngineLink['config']>>>

  /** @param hasCollector whether one runs in the process of the gateway */
  constructor(own: EngineLink, peers: Peers, hasCollector: boolean, clock: Clock) {
    this.#own = own
    this.#peers = peers
    this.#hasCollector = hasCollector
    this.#status = new Recent(STATUS_GOOD_MS, clock)
    this.#collected = new Recent(LISTS_GOOD_MS, clock)
    this.#plan = new Recent(LISTS_GOOD_MS, clock)
    this.#config = new Recent(LISTS_GOOD_MS, clock)
  }

  status: EngineLink['status'] = () =>
    both(
      this.#status.get(() => this.#own.status()),
      this.#peers.statuses(),
    )
  collected: EngineLink['collected'] = () =>
    this.#collected.get(() => both(this.#own.collected(), this.#peers.collected()))
  plan: EngineLink['plan'] = () => this.#plan.get(() => both(this.#own.plan(), this.#peers.plan()))
  config: EngineLink['config'] = () => this.#config.get(() => this.#own.config())
  wantBook: EngineLink['wantBook'] = (name) => this.#own.wantBook(name)
  pressure: EngineLink['pressure'] = () => (this.#hasCollector ? this.#own.pressure() : this.#peers.pressure())

  /** The collector beside us takes what is of its markets, others the rest. */
  change: EngineLink['change'] = (change) =>
    this.#change(change).finally(() => {
      for (const said of [this.#status, this.#collected, this.#plan]) said.forget()
    })

  async #change({ add, remove }: InstrumentChange): Promise<ChangeAnswer> {
    if (!this.#hasCollector) return this.#peers.change({ add, remove })
    const [statuses, peerCount] = [await this.#own.status(), (await this.#peers.statuses()).length]
    const isOwn = (name: InstrumentName): boolean => peerCount === 0 || hasMarket(statuses, name)
    const isOther = (name: InstrumentName): boolean => !isOwn(name)
    const answers = await Promise.all([
      some(add.filter(isOwn), remove.filter(isOwn), (change) => this.#own.change(change)),
      some(add.filter(isOther), remove.filter(isOther), (change) => this.#peers.change(change)),
    ])
    return {
      added: answers.flatMap(({ added }) => added),
      removed: answers.flatMap(({ removed }) => removed),
      refused: answers.flatMap(({ refused }) => refused),
    }
  }
}

async function both<Item>(own: Promise<readonly Item[]>, others: Promise<readonly Item[]>): Promise<Item[]> {
  return (await Promise.all([own, others])).flat() as Item[]
}

const NOTHING: ChangeAnswer = { added: [], removed: [], refused: [] }

async function some(
  add: readonly InstrumentName[],
  remove: readonly InstrumentName[],
  make: (change: InstrumentChange) => Promise<ChangeAnswer>,
): Promise<ChangeAnswer> {
  return add.length + remove.length === 0 ? NOTHING : make({ add, remove })
}

function hasMarket(statuses: readonly EngineStatus[], { exchange, market }: InstrumentName): boolean {
  return statuses.some(({ collector }) =>
    collector?.connections.some((connection) => connection.exchange === exchange && connection.market === market),
  )
}
