import { assert } from '../base/assert.ts'

/**
 * Spreads names over numbered bins so that the answer depends on the names alone and hardly moves when one is added.
 *
 * Rendezvous hashing with a cap: each name ranks all bins by a hash of (name, bin); names take turns in an order that
 * is itself a hash, and each takes its best-ranked bin that has room. Without the cap adding a name moves nobody, but two
 * names over two bins would share one bin half of the time. With it, a newcomer can push on at most a few.
 */
export function spread(names: readonly string[], binCount: number, perBinMax: number): number[] {
  assert(binCount >= 1 && perBinMax >= 1, `${binCount} bins of ${perBinMax}`)
  assert(binCount * perBinMax >= names.length, `${names.length} names do not fit ${binCount} bins of ${perBinMax}`)
  const share = names.length / binCount
  // a tenth of slack: bins need not be equal, they need to stay
  const cap = Math.min(perBinMax, Math.ceil(share) + Math.floor(share / 10))
  const filled = new Uint32Array(binCount)
  const bins: number[] = new Array(names.length)
  const turns = names.map((name, index) => ({ name, index, turn: hash32(name) }))
  turns.sort((a, b) => a.turn - b.turn || (a.name < b.name ? -1 : 1))
  let emptyCount = binCount
  turns.forEach(({ name, index }, turn) => {
    // the last names go where nobody is, so that no bin stays empty while there are names enough
    const bin = bestBin(name, filled, names.length - turn <= emptyCount ? 1 : cap)
    if (filled[bin] === 0) emptyCount--
    filled[bin] = (filled[bin] as number) + 1
    bins[index] = bin
  })
  return bins
}

function bestBin(name: string, filled: Uint32Array, cap: number): number {
  let best = -1
  let bestRank = -1
  for (let bin = 0; bin < filled.length; bin++) {
    if ((filled[bin] as number) >= cap) continue
    const rank = hash32(`${name}|${bin}`)
    if (rank > bestRank) {
      bestRank = rank
      best = bin
    }
  }
  assert(best >= 0, 'every bin is full')
  return best
}

/** FNV-1a over the characters, finished as murmur3 does, so that names that differ in the last digit differ everywhere. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
