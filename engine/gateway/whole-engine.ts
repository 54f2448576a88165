import type { ChangeAnswer, EngineLink, EngineStatus, InstrumentChange, InstrumentName } from './engine-link.ts'
import type { Peers } from './peers.ts'

/** The process of the gateway and all others that are known, as one engine. */
export class WholeEngine implements EngineLink {
  readonly #own: EngineLink
  readonly #peers: Peers
  readonly #hasCollector: boolean

  /** @param hasCollector whether one runs in the process of the gateway */
  constructor(own: EngineLink, peers: Peers, hasCollector: boolean) {
    this.#own = own
    this.#peers = peers
    this.#hasCollector = hasCollector
  }

  status: EngineLink['status'] = async () => {
    const [own, others] = await Promise.all([this.#own.status(), this.#peers.statuses()])
    return [...own, ...others]
  }

  collected: EngineLink['collected'] = async () => {
    const [own, others] = await Promise.all([this.#own.collected(), this.#peers.collected()])
    return [...own, ...others]
  }

  plan: EngineLink['plan'] = async () => {
    const [own, others] = await Promise.all([this.#own.plan(), this.#peers.plan()])
    return [...own, ...others]
  }

  config: EngineLink['config'] = () => this.#own.config()
  wantBook: EngineLink['wantBook'] = (name) => this.#own.wantBook(name)
  pressure: EngineLink['pressure'] = () => (this.#hasCollector ? this.#own.pressure() : this.#peers.pressure())

  /** The collector beside us takes what is of its markets, others the rest. */
  change: EngineLink['change'] = async ({ add, remove }) => {
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
